/** The owner's policy as a record: who wrote it and which version it is. What it says: `src/policy`. */
import { bytes, type Infer, message, required, uint53 } from '../codec/protobuf.ts';
import { MAX_POLICY_LENGTH } from '../policy/document.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

const codec = message({
  serviceId: required(1, peerId()),
  sequence: required(2, uint53()),
  /** JSON. */
  document: required(3, bytes({ max: MAX_POLICY_LENGTH })),
});

export type PolicyRecord = Infer<typeof codec>;

export const POLICY: RecordKind<PolicyRecord> = {
  name: 'policy',
  codec,
  maxLength: MAX_POLICY_LENGTH + 1024,
};

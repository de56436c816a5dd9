/**
 * The owner's policy as a record: who wrote it and which version it is. What it says is for others
 * to read; here it is bytes.
 */
import { bytes, type Infer, message, required, uint53 } from '../codec/protobuf.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** Bytes of the largest policy document. */
export const MAX_POLICY_LENGTH = 256 * 1024;

const codec = message({
  serviceId: required(1, peerId()),
  sequence: required(2, uint53()),
  document: required(3, bytes({ max: MAX_POLICY_LENGTH })),
});

export type PolicyRecord = Infer<typeof codec>;

export const POLICY: RecordKind<PolicyRecord> = {
  name: 'policy',
  codec,
  maxLength: MAX_POLICY_LENGTH + 1024,
};

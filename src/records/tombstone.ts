/** Tombstones: a signer's word that there is no record under a key any more. */
import { type Infer, message, required, string, uint53 } from '../codec/protobuf.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

const codec = message({
  serviceId: required(1, peerId()),
  /** The key in the DHT of what has ended. */
  key: required(2, string({ min: 1, max: 512 })),
  /** Above that of every version of the record. */
  sequence: required(3, uint53()),
});

export type Tombstone = Infer<typeof codec>;

export const TOMBSTONE: RecordKind<Tombstone> = { name: 'tombstone', codec, maxLength: 1024 };

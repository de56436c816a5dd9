/** Endpoint records: where a member can be reached on the underlay, signed by the member itself. */

import { formatIp, parseIp } from '../codec/ip.ts';
import { ownMultiaddrs } from '../codec/multiaddr.ts';
import {
  bytes,
  type Infer,
  message,
  refine,
  repeated,
  required,
  uint53,
} from '../codec/protobuf.ts';
import type { RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

/** Seconds that a record may last from when it is stored. */
export const MAX_ENDPOINT_LIFETIME = 86_400;

const codec = message({
  serviceId: required(1, peerId()),
  peerId: required(2, peerId()),
  sequence: required(3, uint53()),
  /** Seconds since 1970; the record means nothing from then on. */
  notAfter: required(4, uint53()),
  /** libp2p addresses of the control plane, best first. */
  multiaddrs: ownMultiaddrs(5),
  /** Candidates: addresses of its own, best first, then those at which super-peers see it. */
  underlay: repeated(6, refine(bytes({ min: 4, max: 16 }), { parse: formatIp, format: parseIp }), {
    max: 8,
  }),
});

export type Endpoint = Infer<typeof codec>;

export const ENDPOINT: RecordKind<Endpoint> = { name: 'endpoint', codec, maxLength: 4096 };

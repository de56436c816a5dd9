/** Address plans for tests that are about something else. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { AddressPlan } from '../../../src/records/address-plan.ts';
import { RANGE_UNITS } from '../../../src/records/address-range.ts';

/** By which each of these super-peers may give every address of 100.64.0.0/16. */
export function planFor(superPeers: readonly Ed25519PeerId[]): AddressPlan {
  const range = { first: 0, count: RANGE_UNITS };
  return new AddressPlan({
    ipv4Prefix: { network: '100.64.0.0', length: 16 },
    admitters: superPeers.map((peerId) => ({ peerId, range })),
    retired: [],
  });
}

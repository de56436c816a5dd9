/** Which members a member stays connected to. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { dialled } from '../codec/multiaddr.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import type { Contact } from './tier.ts';

/** A member keeps connections to a few others for the sake of tier 2; exchanges open more. */
const MAX_CONTACTS = 8;

/** The members that come next in the order of PeerIDs, so that each is kept by as many others. */
export function contacts(self: Ed25519PeerId, members: readonly Listed[]): Contact[] {
  const others = members.filter((each) => !each.peerId.equals(self));
  const sorted = others.toSorted((a, b) => (a.peerId.toString() < b.peerId.toString() ? -1 : 1));
  const after = sorted.findIndex((each) => each.peerId.toString() > self.toString());
  const start = Math.max(after, 0);
  return [...sorted.slice(start), ...sorted.slice(0, start)]
    .slice(0, MAX_CONTACTS)
    .map(({ peerId, multiaddrs }) => ({
      peerId,
      multiaddrs: multiaddrs.map((at) => dialled(at, peerId)),
    }));
}

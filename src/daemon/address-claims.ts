/**
 * Which of several members with one virtual address has it: the one with the oldest lease, at equal times the one with
 * the lowest PeerID. Every node decides the same, and after a restart again (`docs/addresses.md`).
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Member } from '../overlay/membership.ts';
import { type Credential, heldSince } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';

/** Two members claim one address. */
export interface AddressConflict {
  readonly ipv4: string;
  /** The member that has the address. */
  readonly holder: Ed25519PeerId;
  /** The one that is no peer to anybody. */
  readonly refused: Ed25519PeerId;
}

export interface Settled {
  /** The members that may be peers, each with addresses of its own. */
  readonly members: readonly Member[];
  readonly conflicts: readonly AddressConflict[];
}

/** @param self the credential of this node, whose address is no peer's, whoever has the older lease */
export function settleAddresses(listed: readonly Member[], self: Opened<Credential>): Settled {
  const own = self.value;
  const claims = new Map<string, Credential[]>([[own.ipv4, [own]]]);
  for (const { credential } of listed) {
    if (credential.value.peerId.equals(own.peerId)) continue;
    const { ipv4 } = credential.value;
    claims.set(ipv4, [...(claims.get(ipv4) ?? []), credential.value]);
  }
  const refused = new Set<string>();
  const conflicts: AddressConflict[] = [];
  for (const [ipv4, [first, ...others]] of claims) {
    if (first === undefined || others.length === 0) continue;
    const holder = others.reduce(older, first);
    for (const { peerId } of [first, ...others]) {
      const loses = !peerId.equals(holder.peerId);
      if (loses) conflicts.push({ ipv4, holder: holder.peerId, refused: peerId });
      if (loses || ipv4 === own.ipv4) refused.add(peerId.toString());
    }
  }
  refused.delete(own.peerId.toString());
  return { members: listed.filter(({ peerId }) => !refused.has(peerId.toString())), conflicts };
}

function older(a: Credential, b: Credential): Credential {
  const [since, other] = [heldSince(a), heldSince(b)];
  if (since !== other) return since < other ? a : b;
  return a.peerId.toString() < b.peerId.toString() ? a : b;
}

/**
 * What the super-peers of a service say of its members, and which of it counts: by super-peer, by
 * bucket of the shard, by member.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { TcpMultiaddr } from '../codec/multiaddr.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { bucketOf, SHARD_BUCKETS } from '../records/membership.ts';

/** What one super-peer says of one member. */
export interface Claim {
  readonly peerId: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  readonly session: number;
  /** Absent when it says that the member departed. */
  readonly present:
    | { readonly credential: Opened<Credential>; readonly multiaddrs: readonly TcpMultiaddr[] }
    | undefined;
}

/** A member of the service, as its directory lists it. */
export interface Member {
  readonly peerId: Ed25519PeerId;
  readonly vmid: string;
  readonly roles: readonly string[];
  readonly ipv4: string;
  readonly ipv6: string;
  /** CIDRs that it announces. */
  readonly subnets: readonly string[];
  readonly multiaddrs: readonly TcpMultiaddr[];
  /** End of its credential, in seconds since 1970. */
  readonly notAfter: number;
  readonly credential: Opened<Credential>;
}

/** A member as super-peers know it. */
export interface PlacedMember extends Member {
  /** The super-peer that it is attached to or was admitted by. */
  readonly superPeer: Ed25519PeerId;
}

/** Where the claims on a member stand. */
export interface Place {
  readonly name: string;
  readonly bucket: number;
}

export function placeOf(peer: Ed25519PeerId): Place {
  return { name: peer.toString(), bucket: bucketOf(peer) };
}

export class Claims {
  readonly #bySuperPeer = new Map<string, Map<string, Claim>[]>();

  /** The claims of one super-peer in one bucket, newest last; what is put there is kept. */
  of(superPeer: Ed25519PeerId, bucket: number): Map<string, Claim> {
    const name = superPeer.toString();
    const buckets =
      this.#bySuperPeer.get(name) ??
      Array.from({ length: SHARD_BUCKETS }, () => new Map<string, Claim>());
    this.#bySuperPeer.set(name, buckets);
    const claims = buckets[bucket];
    if (claims === undefined) throw new RangeError(`no bucket ${bucket}`);
    return claims;
  }

  all(): Claim[] {
    return [...this.#bySuperPeer.values()].flatMap((buckets) =>
      buckets.flatMap((claims) => [...claims.values()]),
    );
  }

  /** Everybody of whom anything is said. */
  places(): Place[] {
    const places = new Map<string, Place>();
    for (const buckets of this.#bySuperPeer.values()) {
      for (const [bucket, claims] of buckets.entries()) {
        for (const name of claims.keys()) places.set(name, { name, bucket });
      }
    }
    return [...places.values()];
  }

  /** The highest number of an attachment in the claims on a member that hold; 0 if there is none. */
  newestSession({ name, bucket }: Place, holds: (claim: Claim) => boolean): number {
    const claims = [...this.#bySuperPeer.values()].map((buckets) => buckets[bucket]?.get(name));
    return Math.max(0, ...claims.map((claim) => (claim && holds(claim) ? claim.session : 0)));
  }

  /** @returns the member as the claim that counts most tells it, among those that hold */
  best(
    { name, bucket }: Place,
    superPeers: readonly Ed25519PeerId[],
    holds: (claim: Claim) => boolean,
  ): PlacedMember | undefined {
    let best: Claim | undefined;
    for (const superPeer of superPeers) {
      const claim = this.#bySuperPeer.get(superPeer.toString())?.[bucket]?.get(name);
      if (claim && holds(claim) && (!best || outweighs(claim, best))) best = claim;
    }
    return best && memberOf(best);
  }
}

/** At one session a departure counts more; of two presences the newer credential. */
function outweighs(a: Claim, b: Claim): boolean {
  if (a.session !== b.session) return a.session > b.session;
  if (a.present === undefined || b.present === undefined) return a.present === undefined;
  return a.present.credential.value.notBefore > b.present.credential.value.notBefore;
}

function memberOf({ present, superPeer }: Claim): PlacedMember | undefined {
  if (present === undefined) return undefined;
  const { credential, multiaddrs } = present;
  const { peerId, vmid, roles, ipv4, ipv6, subnets, notAfter } = credential.value;
  const attributes = { peerId, vmid, roles, ipv4, ipv6, subnets };
  return { ...attributes, multiaddrs, superPeer, notAfter, credential };
}

/**
 * What makes two versions of a member differ: nothing, where it is attached, a credential that was
 * only renewed, or something that others act on.
 */
export type Difference = 'none' | 'place' | 'credential' | 'facts';

export function difference(a: PlacedMember, b: PlacedMember): Difference {
  const facts = ({ vmid, roles, ipv4, ipv6, subnets, multiaddrs, credential }: Member): string =>
    JSON.stringify([vmid, roles, credential.value.vouched, ipv4, ipv6, subnets, multiaddrs]);
  if (facts(a) !== facts(b)) return 'facts';
  if (Buffer.compare(a.credential.bytes, b.credential.bytes) !== 0) return 'credential';
  return a.superPeer.equals(b.superPeer) ? 'none' : 'place';
}

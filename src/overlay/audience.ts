/** Whom the records that are spread concern: everybody in a service, or the super-peers of one. */
import type { Ed25519PeerId, PeerId } from '@libp2p/interface';
import type { Gate, Target } from './gate.ts';
import { type Held, isOf } from './record-store.ts';
import {
  DESCRIPTOR_RECORD,
  MEMBERSHIP_RECORD,
  REVOCATION_RECORD,
  recordKey,
  type StoredKind,
} from './stored-kinds.ts';

/** Whom records concern. */
export interface Audience {
  /** Whom to push a record to. @param old what it takes the place of */
  targets(record: Held, old?: Held): readonly Target[];
  /** Whether `peer` may learn of the records of a service. */
  concerns(service: Ed25519PeerId, peer: PeerId): boolean;
  /** Whether a record may come from a peer, by the names in its key: the service first. */
  takes(kind: StoredKind<unknown>, names: readonly string[]): boolean;
}

export interface EverybodyOptions {
  /** Peers that a record is pushed on to, drawn anew each time; all of them, as on a super-peer, if left out. */
  readonly fanout?: number | undefined;
  /** From 0 to 1, 1 excluded. */
  readonly random?: () => number;
  /** Whether a revocation list counts whose issuer has this PeerID, as text; for a store that takes any. */
  readonly heeds?: (issuer: string) => boolean;
}

/**
 * Everybody who passed the gate of a service. They bring its own records, and revocation lists of those who may
 * issue some: what any member could sign would fill every store of the service, and at its super-peers bar others.
 */
export function everybodyIn(
  gate: Pick<Gate, 'overlayId' | 'peers'>,
  { fanout = Number.POSITIVE_INFINITY, random = Math.random, heeds }: EverybodyOptions = {},
): Audience {
  return {
    targets: () => draw(gate.peers(), fanout, random),
    concerns: (service) => service.equals(gate.overlayId),
    takes: (kind, [service, issuer = '']) =>
      service === gate.overlayId.toString() &&
      (kind !== REVOCATION_RECORD || (heeds?.(issuer) ?? true)),
  };
}

/**
 * The super-peers of each record's service, in tier 1. They bring what they store of any.
 *
 * A membership shard comes from its own super-peer alone: there is a new one every moment, and if all
 * passed each on, n super-peers would send it n² times. Who misses one gets it in a sync.
 */
export function superPeersOf(
  self: Ed25519PeerId,
  addresses: (service: Ed25519PeerId) => readonly { peerId: Ed25519PeerId; target: Target }[],
): Audience {
  const passesOn = ({ kind, key, service }: Held): boolean =>
    kind !== MEMBERSHIP_RECORD || key.startsWith(`${recordKey(kind, service, self)}/`);
  return {
    targets: (record, old) => {
      if (!passesOn(record)) return [];
      const named = addresses(record.service);
      const isNamed = (peer: PeerId): boolean => named.some(({ peerId }) => peerId.equals(peer));
      // A super-peer that a descriptor strikes off is to hear of that, too.
      const struckOff = admittersIn(old).filter((each) => !isNamed(each) && !each.equals(self));
      return [...named.map(({ target }) => target), ...struckOff];
    },
    concerns: (service, peer) => addresses(service).some(({ peerId }) => peerId.equals(peer)),
    takes: () => true,
  };
}

/** @returns the super-peers that a descriptor names; none of what is no descriptor */
function admittersIn(held: Held | undefined): Ed25519PeerId[] {
  if (held?.entry === undefined || !isOf(DESCRIPTOR_RECORD, held.entry)) return [];
  return held.entry.opened.value.admitters.map(({ peerId }) => peerId);
}

/** @returns at most `count` of a list, any of them with the same chance */
export function draw<T>(list: readonly T[], count: number, random: () => number): T[] {
  if (count >= list.length) return [...list];
  const left = [...list];
  const drawn: T[] = [];
  while (drawn.length < count) {
    drawn.push(...left.splice(Math.floor(random() * left.length), 1));
  }
  return drawn;
}

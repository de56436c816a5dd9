/**
 * What a directory knows, held against what is published: the directory may be an old copy, put back from a backup.
 *
 * ```
 * own state ──┐   policy       the one with the higher sequence
 *             ├─▶ revocations  the union of all lists
 * published ──┘   descriptor   the one of the higher epoch, then sequence. Its secrets are not in it: where they are
 *                              not in the directory either, the next descriptor begins an epoch above all
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { compareVersions, isSameEpoch, type ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { PolicyRecord } from '../records/policy-record.ts';
import type { Revocation, RevocationList, RevokedTicket } from '../records/revocation.ts';
import type { OwnerState } from './state.ts';

/** What super-peers hold of one service, signed by its owner. */
export interface Published {
  readonly descriptors: readonly Opened<ServiceDescriptor>[];
  readonly policies: readonly Opened<PolicyRecord>[];
  readonly revocations: readonly Opened<RevocationList>[];
}

/** What an act knows that asks no super-peer. */
export const NOTHING_PUBLISHED: Published = { descriptors: [], policies: [], revocations: [] };

/** What the owner's list holds. */
export interface Revoked {
  readonly revocations: readonly Revocation[];
  readonly tickets: readonly RevokedTicket[];
}

/** The highest that was ever signed, as far as is known. */
export interface Floors {
  readonly descriptor: number;
  readonly epoch: number;
  readonly policy: number;
  readonly revocations: number;
}

export interface Review {
  /** With the newest policy, and the newest descriptor whose secrets are here. */
  readonly state: OwnerState;
  /** The newest descriptor, where the directory lacks its secrets: the directory is an old copy. */
  readonly behind: Opened<ServiceDescriptor> | undefined;
  /** Whether no list that is known holds all of `revoked`: one is to be signed. */
  readonly incomplete: boolean;
  /** The union of the own list and of those published. */
  readonly revoked: Revoked;
  readonly floors: Floors;
  /** The highest epoch that a super-peer told of; 0 when none did. */
  readonly publishedEpoch: number;
}

export function review(own: OwnerState, published: Published): Review {
  const descriptors = [own.descriptor, ...published.descriptors];
  const lists = defined([own.revocations, ...published.revocations]);
  const policies = defined([own.policy, ...published.policies]);
  const isOwn = ({ value }: Opened<ServiceDescriptor>): boolean =>
    sameSecrets(value, own.descriptor.value);
  // Also one of the same epoch that means another, whichever has the higher sequence: nodes keep the published one.
  const behind = newestOf(
    published.descriptors.filter(
      (each) => !isOwn(each) && each.value.epoch >= own.descriptor.value.epoch,
    ),
  );
  const newest = newestOf(descriptors.filter(isOwn)) ?? own.descriptor;
  const revoked = union(lists);
  const newestList = lists.find((list) => !lists.some((each) => newer(each, list)));
  const whole = newestList !== undefined && holds(newestList, revoked);
  return {
    state: withNewest(own, {
      policy: policies.reduce<typeof own.policy>((a, b) => (newer(b, a) ? b : a), undefined),
      descriptor: newest,
      revocations: whole ? newestList : (own.revocations ?? newestList),
    }),
    incomplete: newestList !== undefined && !whole,
    behind,
    revoked,
    floors: {
      descriptor: highest(descriptors.map(({ value }) => value.sequence)),
      epoch: highest(descriptors.map(({ value }) => value.epoch)),
      policy: highest(policies.map(({ value }) => value.sequence)),
      revocations: highest(lists.map(({ value }) => value.sequence)),
    },
    publishedEpoch: highest(published.descriptors.map(({ value }) => value.epoch)),
  };
}

/**
 * @param floor the highest sequence that is known
 * @returns a higher one, and not below the time in milliseconds: an owner that cannot ask goes on above what it signed
 */
export const nextSequence = (floor: number): number => Math.max(floor + 1, Date.now());

const highest = (numbers: readonly number[]): number => Math.max(0, ...numbers);

const defined = <T>(all: readonly (T | undefined)[]): T[] =>
  all.filter((each): each is T => each !== undefined);

const names = ({ admitters }: ServiceDescriptor, id: Ed25519PeerId): boolean =>
  admitters.some(({ peerId }) => peerId.equals(id));

/** The order of all stores: by sequence; of two with the same, the one whose bytes are greater. */
function newer<T extends { readonly sequence: number }>(
  a: Opened<T>,
  b: Opened<T> | undefined,
): boolean {
  if (b === undefined) return true;
  if (a.value.sequence !== b.value.sequence) return a.value.sequence > b.value.sequence;
  return Buffer.compare(a.bytes, b.bytes) > 0;
}

function newerDescriptor(a: Opened<ServiceDescriptor>, b: Opened<ServiceDescriptor>): boolean {
  const order = compareVersions(a.value, b.value);
  return order === 0 ? Buffer.compare(a.bytes, b.bytes) > 0 : order > 0;
}

const newestOf = (
  all: readonly Opened<ServiceDescriptor>[],
): Opened<ServiceDescriptor> | undefined =>
  all.reduce<Opened<ServiceDescriptor> | undefined>(
    (a, b) => (a === undefined || newerDescriptor(b, a) ? b : a),
    undefined,
  );

/** Secrets change with the epoch only. Two copies that began an epoch each call it the same. */
const sameSecrets = (a: ServiceDescriptor, b: ServiceDescriptor): boolean =>
  a.epoch === b.epoch && isSameEpoch(a, b);

/** @returns `own` itself where nothing is newer */
function withNewest(
  own: OwnerState,
  newest: Pick<OwnerState, 'descriptor' | 'policy' | 'revocations'>,
): OwnerState {
  const { descriptor, policy, revocations } = newest;
  if (descriptor !== own.descriptor) {
    // Of super-peers that were struck off since, no card is needed.
    const cards = own.cards.filter(({ peerId }) => names(descriptor.value, peerId));
    return { ...own, ...newest, cards };
  }
  if (policy === own.policy && revocations === own.revocations) return own;
  return { ...own, ...newest };
}

function union(lists: readonly Opened<RevocationList>[]): Revoked {
  const revocations = new Map<string, Revocation>();
  const tickets = new Map<string, RevokedTicket>();
  // The newest last, whose order stays.
  for (const { value } of lists.toSorted((a, b) => (newer(a, b) ? 1 : -1))) {
    for (const each of value.revocations) revocations.set(revocationKey(each), each);
    for (const each of value.tickets) tickets.set(hex(each.id), each);
  }
  return { revocations: [...revocations.values()], tickets: [...tickets.values()] };
}

/** Whether a list has all of the union already, so that none need be signed. */
const holds = ({ value }: Opened<RevocationList>, { revocations, tickets }: Revoked): boolean =>
  value.revocations.length === revocations.length && value.tickets.length === tickets.length;

/** What two entries for the same thing have in common. */
export const revocationKey = ({ peerId, serial }: Revocation): string =>
  `${peerId} ${serial === undefined ? '' : hex(serial)}`;

const hex = (raw: Uint8Array): string => Buffer.from(raw).toString('hex');

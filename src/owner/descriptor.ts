/** The next descriptor of a service: other super-peers, a new epoch, new secrets. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { type AdmissionSecrets, makeAdmissionSecrets, sealSecrets } from '../admission/sealed.ts';
import { makeServiceSecret } from '../admission/secret.ts';
import {
  type Admitter,
  DESCRIPTOR,
  epochIdOf,
  openDescriptor,
  type RetiredRange,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { type Opened, seal } from '../records/envelope.ts';
import { openCard, type SuperPeerCard } from '../records/super-peer-card.ts';
import { makeAuthority } from './authority.ts';
import { OwnerError } from './errors.ts';
import { changedPlaces, type Place } from './ranges.ts';
import { nextSequence, type Review } from './review.ts';
import type { OwnerState } from './state.ts';

export interface DescriptorChange {
  /** Super-peers to be named, or named anew with a newer card. */
  readonly add?: readonly Opened<SuperPeerCard>[];
  /** Super-peers that shall admit no more; what they signed counts no more either. */
  readonly remove?: readonly Ed25519PeerId[];
  /** Whether every member must get a new credential and new keys. */
  readonly newEpoch?: boolean;
  /** Whether the service's secret is replaced, and the epoch with it; members renew all the same. */
  readonly newSecret?: boolean;
  /** Whether the renewal secret is replaced too: nobody renews, every member is admitted anew with the new secret. */
  readonly admitAnew?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * @returns the state with the next descriptor, above all that is published. Where the directory lacks the secrets of
 *   what is published, with a new epoch and a new service secret, since the one it has may have been replaced
 * @throws OwnerError `ERR_NOT_ADMITTER`, `ERR_NO_SUPER_PEER`, `ERR_TOO_MANY_SUPER_PEERS`, `ERR_NO_ADDRESS_RANGE`,
 *   `ERR_OWNER_CARD`
 */
export async function nextDescriptor(
  { state, behind, floors }: Review,
  change: DescriptorChange,
): Promise<OwnerState> {
  const { admitAnew = false } = change;
  const newSecret = change.newSecret || admitAnew || behind !== undefined;
  const newEpoch = change.newEpoch || newSecret;
  const before = (behind ?? state.descriptor).value;
  const { attributePublicKey, ...terms } = before;
  const secret = newSecret ? makeServiceSecret() : state.secret;
  const previous = admitAnew ? undefined : state.admissionSecrets;
  const { serviceId } = terms;
  const forOverlay = attributePublicKey === undefined;
  const made = newEpoch
    ? await newEpochSecrets({ serviceId, secret, forOverlay, ...withPrevious(previous, change) })
    : { admissionSecrets: state.admissionSecrets, attributePublicKey };
  const { places, retired, cards } = renamed(before, state.cards, change);
  const epoch = newEpoch ? floors.epoch + 1 : terms.epoch;
  const admitters = await sealToAll(places, cards, {
    ...{ serviceId, secrets: made.admissionSecrets },
    sealed: newEpoch ? [] : terms.admitters,
  });
  const sequence = nextSequence(floors.descriptor);
  const next = { ...terms, sequence, epoch, admitters, retired };
  const { admissionSecrets } = made;
  const descriptor = await signDescriptor(
    { key: state.key, admissionSecrets },
    { ...next, attributePublicKey: made.attributePublicKey },
  );
  const admittedAnew = admitAnew
    ? { since: Math.floor(Date.now() / 1000), epoch }
    : state.admittedAnew;
  return { ...state, secret, admissionSecrets, cards, descriptor, admittedAnew };
}

const withPrevious = (
  previous: AdmissionSecrets | undefined,
  { signal }: DescriptorChange,
): { previous?: AdmissionSecrets; signal?: AbortSignal } => ({
  ...(previous && { previous }),
  ...(signal && { signal }),
});

/**
 * Each epoch has an attribute authority of its own, so that a super-peer that was struck off, and keeps
 * the master key that it had, can make no key for a later epoch.
 */
export async function newEpochSecrets({
  forOverlay,
  ...options
}: Parameters<typeof makeAdmissionSecrets>[0] & { forOverlay: boolean }) {
  // The members of an overlay are super-peers, which read its list from tier 1.
  const authority = forOverlay ? undefined : await makeAuthority();
  const attributeMasterKey = authority?.masterKey;
  const admissionSecrets = await makeAdmissionSecrets({ ...options, attributeMasterKey });
  return { admissionSecrets, attributePublicKey: authority?.publicKey };
}

function renamed(
  before: ServiceDescriptor,
  known: OwnerState['cards'],
  { add = [], remove = [] }: DescriptorChange,
): { places: Place[]; retired: RetiredRange[]; cards: OwnerState['cards'] } {
  const cards = new Map(known.map((each) => [each.peerId.toString(), each]));
  for (const id of remove) cards.delete(id.toString());
  for (const { signer: peerId, bytes: card } of add) cards.set(peerId.toString(), { peerId, card });
  const now = Math.floor(Date.now() / 1000);
  const named = add.map(({ signer }) => signer);
  const { places, retired } = changedPlaces(before, named, remove, now);
  if (places.length > 0) {
    const needed = places.flatMap(({ peerId }) => cards.get(peerId.toString()) ?? []);
    return { places, retired, cards: needed };
  }
  throw new OwnerError(
    'ERR_NO_SUPER_PEER',
    'a service needs at least one super-peer to admit its VMs',
    'give the card of one with --super-peer',
  );
}

/**
 * @param with.sealed what holds the same secrets already
 * @throws OwnerError `ERR_OWNER_CARD`
 */
export function sealToAll(
  places: readonly Place[],
  cards: OwnerState['cards'],
  {
    serviceId,
    secrets,
    sealed,
  }: {
    readonly serviceId: Ed25519PeerId;
    readonly secrets: AdmissionSecrets;
    readonly sealed: readonly Admitter[];
  },
): Promise<Admitter[]> {
  return Promise.all(
    places.map(async ({ peerId, range }) => {
      const own = cards.find((each) => each.peerId.equals(peerId));
      const before = sealed.find((each) => each.peerId.equals(peerId));
      if (own === undefined && before !== undefined) return before;
      if (own === undefined) throw noCard(peerId);
      const { multiaddrs, sealingKey } = (await openCard(own.card)).value;
      const to = { serviceId, superPeer: peerId, sealingKey };
      return { peerId, multiaddrs, range, sealedSecrets: await sealSecrets(secrets, to) };
    }),
  );
}

/** @param descriptor of which the id of the epoch follows from the secrets */
export async function signDescriptor(
  { key, admissionSecrets }: Pick<OwnerState, 'key' | 'admissionSecrets'>,
  descriptor: Omit<ServiceDescriptor, 'epochId'>,
): Promise<Opened<ServiceDescriptor>> {
  const epochId = epochIdOf(descriptor.serviceId, admissionSecrets.epochPsk);
  return openDescriptor(await seal(DESCRIPTOR, { ...descriptor, epochId }, key));
}

const noCard = (id: Ed25519PeerId): OwnerError =>
  new OwnerError(
    'ERR_OWNER_CARD',
    `the published descriptor names super-peer ${id}, whose card this directory does not hold: it is an old copy`,
    'give its card with icvpn service update --super-peer, or take it out with --remove',
  );

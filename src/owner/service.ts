/**
 * What the owner of a service does: make its key and secrets, name the super-peers that may admit,
 * and sign that as the service's descriptor; later sign newer ones. The operator of a universal
 * overlay does the same: the overlay is a service whose members are super-peers.
 */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { makeAdmissionSecrets, sealSecrets } from '../admission/sealed.ts';
import { makeServiceSecret } from '../admission/secret.ts';
import type { Prefix } from '../codec/ip.ts';
import { type Bootstrap, superPeerAddresses } from '../records/bootstrap.ts';
import {
  type Admitter,
  DESCRIPTOR,
  epochIdOf,
  MAX_ADMITTERS,
  openDescriptor,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { type Opened, seal } from '../records/envelope.ts';
import { openCard, type SuperPeerCard } from '../records/super-peer-card.ts';
import { Ipv4Pool } from '../records/virtual-address.ts';
import { makeAuthority } from './authority.ts';
import {
  initOwner,
  OwnerError,
  type OwnerState,
  readDescriptor,
  readOwnerKey,
  readOwnerState,
  writeOwnerState,
} from './directory.ts';

export interface NewService {
  /** Where the owner's key and secrets are kept. Must not hold another service's. */
  readonly dir: string;
  readonly name: string;
  readonly superPeers: readonly Opened<SuperPeerCard>[];
  readonly ipv4Prefix: Prefix;
  /** Seconds. */
  readonly credentialLifetime: number;
  /** A secret that people chose; a machine-made one of at least 128 bits when left out. */
  readonly secret?: string;
  /** Whether the bootstrap data carries the descriptor, as super-peers of an overlay need it. */
  readonly descriptorInBootstrap: boolean;
  readonly signal: AbortSignal;
}

export interface ServiceUpdate {
  readonly dir: string;
  /** Super-peers to be named, or named anew with a newer card. */
  readonly add: readonly Opened<SuperPeerCard>[];
  /** Super-peers that shall admit no more; what they signed counts no more either. */
  readonly remove: readonly Ed25519PeerId[];
  /** Whether every member must get a new credential and new keys. */
  readonly newEpoch: boolean;
  /** Whether the service's secret is replaced, and the epoch with it; members renew all the same. */
  readonly newSecret: boolean;
  readonly descriptorInBootstrap: boolean;
  readonly signal: AbortSignal;
}

export interface SignedService {
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly bootstrap: Bootstrap;
}

/**
 * Makes a service: its key, its admission secrets, its first descriptor, its bootstrap data.
 *
 * @throws OwnerError ERR_SERVICE_EXISTS when the directory holds a service already
 * @throws Ipv4PoolError when the IPv4 prefix is too small
 */
export async function createService(options: NewService): Promise<SignedService> {
  const { dir, name, ipv4Prefix, credentialLifetime, signal } = options;
  new Ipv4Pool(ipv4Prefix, 0);
  const key = await generateKeyPair('Ed25519');
  const serviceId = peerIdFromPrivateKey(key);
  const secret = options.secret ?? makeServiceSecret();
  const admitters = options.superPeers.map(({ bytes }, slot) => ({ slot, card: bytes }));
  const { admissionSecrets, attributePublicKey } = await newEpochSecrets({
    ...{ serviceId, secret, signal },
    forOverlay: options.descriptorInBootstrap,
  });
  const state = { secret, admissionSecrets, admitters };
  const terms = {
    ...{ serviceId, name, sequence: 1, epoch: 1 },
    ...{ ipv4Prefix, credentialLifetime, attributePublicKey },
  };
  const descriptor = await sign(key, terms, state);
  await initOwner(dir, key);
  await writeOwnerState(dir, state, descriptor);
  return withBootstrap(descriptor, state, options.descriptorInBootstrap);
}

/** Signs a newer descriptor, to be published. @throws OwnerError */
export async function updateService(options: ServiceUpdate): Promise<SignedService> {
  const { dir, newSecret, signal } = options;
  const newEpoch = options.newEpoch || newSecret;
  const key = await readOwnerKey(dir);
  const old = await readOwnerState(dir);
  const { value: terms } = await readDescriptor(dir);
  const { serviceId } = terms;
  const previous = old.admissionSecrets;
  const secret = newSecret ? makeServiceSecret() : old.secret;
  const { admissionSecrets, attributePublicKey } = newEpoch
    ? await newEpochSecrets({
        ...{ serviceId, secret, previous, signal },
        forOverlay: options.descriptorInBootstrap,
      })
    : { admissionSecrets: previous, attributePublicKey: terms.attributePublicKey };
  const admitters = await renamed(old.admitters, options);
  const state = { secret, admissionSecrets, admitters };
  const next = { sequence: terms.sequence + 1, epoch: terms.epoch + (newEpoch ? 1 : 0) };
  const descriptor = await sign(key, { ...terms, ...next, attributePublicKey }, state);
  await writeOwnerState(dir, state, descriptor);
  return withBootstrap(descriptor, state, options.descriptorInBootstrap);
}

/**
 * Each epoch has an attribute authority of its own, so that a super-peer that was struck off, and keeps
 * the master key that it had, can make no key for a later epoch.
 */
async function newEpochSecrets({
  forOverlay,
  ...options
}: Parameters<typeof makeAdmissionSecrets>[0] & { forOverlay: boolean }) {
  // The members of an overlay are super-peers, which read its list from tier 1.
  const authority = forOverlay ? undefined : await makeAuthority();
  const attributeMasterKey = authority?.masterKey;
  const admissionSecrets = await makeAdmissionSecrets({ ...options, attributeMasterKey });
  return { admissionSecrets, attributePublicKey: authority?.publicKey };
}

/** A super-peer keeps its slot; a new one gets a slot that nobody had, while there is one. */
async function renamed(
  old: OwnerState['admitters'],
  { add, remove }: ServiceUpdate,
): Promise<OwnerState['admitters']> {
  const named = new Map<string, OwnerState['admitters'][number]>();
  for (const each of old) named.set((await openCard(each.card)).signer.toString(), each);
  let unused = Math.max(-1, ...old.map(({ slot }) => slot)) + 1;
  for (const id of remove) {
    if (named.delete(id.toString())) continue;
    throw new OwnerError(
      'ERR_NOT_ADMITTER',
      `${id} is not a super-peer of this service`,
      'give the PeerID of one that is',
    );
  }
  for (const { signer, bytes: card } of add) {
    const slot = named.get(signer.toString())?.slot ?? unused++;
    named.set(signer.toString(), { slot: slot < MAX_ADMITTERS ? slot : freeSlot(named), card });
  }
  return [...named.values()];
}

function freeSlot(named: ReadonlyMap<string, { slot: number }>): number {
  const taken = new Set([...named.values()].map(({ slot }) => slot));
  for (let slot = 0; slot < MAX_ADMITTERS; slot++) if (!taken.has(slot)) return slot;
  throw new OwnerError(
    'ERR_TOO_MANY_SUPER_PEERS',
    `a service names at most ${MAX_ADMITTERS} super-peers`,
    'remove one first',
  );
}

async function sign(
  key: Ed25519PrivateKey,
  terms: Omit<ServiceDescriptor, 'admitters' | 'epochId'>,
  state: OwnerState,
): Promise<Opened<ServiceDescriptor>> {
  if (state.admitters.length === 0) {
    throw new OwnerError(
      'ERR_NO_SUPER_PEER',
      'a service needs at least one super-peer to admit its VMs',
      'give the card of one with --super-peer',
    );
  }
  const { serviceId } = terms;
  const admitters = await Promise.all(
    state.admitters.map(async ({ slot, card }): Promise<Admitter> => {
      const { peerId, multiaddrs, sealingKey } = (await openCard(card)).value;
      const to = { serviceId, superPeer: peerId, sealingKey };
      return {
        peerId,
        multiaddrs,
        slot,
        sealedSecrets: await sealSecrets(state.admissionSecrets, to),
      };
    }),
  );
  const epochId = epochIdOf(serviceId, state.admissionSecrets.epochPsk);
  return openDescriptor(await seal(DESCRIPTOR, { ...terms, epochId, admitters }, key));
}

function withBootstrap(
  descriptor: Opened<ServiceDescriptor>,
  { secret }: OwnerState,
  descriptorInBootstrap: boolean,
): SignedService {
  const { serviceId, name } = descriptor.value;
  const bootstrap = {
    serviceId,
    name,
    superPeers: superPeerAddresses(descriptor.value),
    secret,
    descriptor: descriptorInBootstrap ? descriptor.bytes : undefined,
  };
  return { descriptor, bootstrap };
}

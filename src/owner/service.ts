/**
 * What the owner of a service does: make its key and secrets, name the super-peers that may admit,
 * and sign that as the service's descriptor; later sign newer ones. The operator of a universal
 * overlay does the same: the overlay is a service whose members are super-peers.
 */
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { makeServiceSecret } from '../admission/secret.ts';
import type { Prefix } from '../codec/ip.ts';
import { checkIpv4Prefix } from '../records/address-range.ts';
import { type Bootstrap, superPeerAddresses } from '../records/bootstrap.ts';
import { parseServiceName, type ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { SuperPeerCard } from '../records/super-peer-card.ts';
import { type ActOptions, act } from './act.ts';
import {
  type DescriptorChange,
  newEpochSecrets,
  nextDescriptor,
  sealToAll,
  signDescriptor,
} from './descriptor.ts';
import { OwnerDirectory } from './directory.ts';
import { OwnerError } from './errors.ts';
import { newBootstrap, replacedBootstrap } from './files.ts';
import { withRanges } from './ranges.ts';
import { nextSequence } from './review.ts';
import type { OwnerState } from './state.ts';

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
  /** Whether this is a universal overlay: its bootstrap data carries the descriptor, which super-peers need. */
  readonly overlay?: boolean;
  /** File to write the bootstrap data to, which must not exist. */
  readonly bootstrapFile?: string;
  readonly signal: AbortSignal;
}

export interface ServiceUpdate extends ActOptions, DescriptorChange {
  /** File to write the bootstrap data to. One that is there must hold bootstrap data of this service. */
  readonly bootstrapFile?: string;
  readonly signal: AbortSignal;
}

export interface SignedService {
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly bootstrap: Bootstrap;
  /** Whether the directory was an old copy, so that the service has a new secret. */
  readonly recovered: boolean;
}

/**
 * Makes a service: its key, its admission secrets, its first descriptor, its bootstrap data.
 *
 * @throws OwnerError ERR_SERVICE_EXISTS when the directory holds a service already; ERR_FILE_EXISTS
 * @throws Ipv4PoolError when the IPv4 prefix is too small; TextError for a name that cannot be shown
 */
export async function createService(options: NewService): Promise<SignedService> {
  const { dir, name, ipv4Prefix, credentialLifetime, overlay = false, signal } = options;
  parseServiceName(name);
  checkIpv4Prefix(ipv4Prefix);
  const key = await generateKeyPair('Ed25519');
  const serviceId = peerIdFromPrivateKey(key);
  const secret = options.secret ?? makeServiceSecret();
  const cards = options.superPeers.map(({ signer: peerId, bytes: card }) => ({ peerId, card }));
  if (cards.length === 0) throw noSuperPeer();
  const made = await newEpochSecrets({ serviceId, secret, signal, forOverlay: overlay });
  const { admissionSecrets, attributePublicKey } = made;
  const places = withRanges(ipv4Prefix, cards);
  const to = { serviceId, secrets: admissionSecrets, sealed: [] };
  const descriptor = await signDescriptor(
    { key, admissionSecrets },
    {
      ...{ serviceId, name, sequence: nextSequence(0), epoch: 1 },
      ...{ ipv4Prefix, credentialLifetime, attributePublicKey, retired: [] },
      admitters: await sealToAll(places, cards, to),
    },
  );
  const state: OwnerState = {
    ...{ key, secret, admissionSecrets, cards, descriptor },
    ...{ policy: undefined, revocations: undefined, tickets: [], admittedAnew: undefined },
  };
  const bootstrap = bootstrapOf(state);
  const file = options.bootstrapFile && newBootstrap(options.bootstrapFile, bootstrap);
  const purpose = 'icvpn service create';
  await OwnerDirectory.create(dir, { state, purpose, signal, ...(file && { file }) });
  return { descriptor, bootstrap, recovered: false };
}

/** Signs a newer descriptor, to be published. @throws OwnerError */
export function updateService(options: ServiceUpdate): Promise<SignedService> {
  const { bootstrapFile: path } = options;
  return act('icvpn service update', options, async (view) => {
    const state = await nextDescriptor(view, options);
    const bootstrap = bootstrapOf(state);
    const file = path === undefined ? undefined : await replacedBootstrap(path, bootstrap);
    const { descriptor } = state;
    return { state, file, result: { descriptor, bootstrap, recovered: view.behind !== undefined } };
  });
}

/** What VMs, or an overlay's super-peers, need to join. */
export function bootstrapOf({ descriptor, secret }: OwnerState): Bootstrap {
  const { serviceId, name, attributePublicKey, ipv4Prefix } = descriptor.value;
  return {
    ...{ serviceId, name, secret },
    ...(attributePublicKey && { ipv4Prefix }),
    superPeers: superPeerAddresses(descriptor.value),
    // A service without an attribute authority is an overlay, whose super-peers have no DHT yet to ask.
    descriptor: attributePublicKey === undefined ? descriptor.bytes : undefined,
  };
}

const noSuperPeer = (): OwnerError =>
  new OwnerError(
    'ERR_NO_SUPER_PEER',
    'a service needs at least one super-peer to admit its VMs',
    'give the card of one with --super-peer',
  );

/**
 * What the owner of a service does: make its key and secrets, name the super-peers that may admit,
 * and sign that as the service's descriptor. The operator of a universal overlay does the same: the
 * overlay is a service whose members are super-peers.
 *
 * ```
 * owner's directory   cache/          owner-key, admission-secrets (encrypted at rest)
 *                     descriptor      the newest signed descriptor
 * ```
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { makeAdmissionSecrets, sealSecrets } from '../admission/sealed.ts';
import { makeServiceSecret } from '../admission/secret.ts';
import type { Prefix } from '../codec/ip.ts';
import { IcvpnError } from '../errors.ts';
import { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import { type Bootstrap, superPeerAddresses } from '../records/bootstrap.ts';
import { DESCRIPTOR, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, seal } from '../records/envelope.ts';
import type { SuperPeerCard } from '../records/super-peer-card.ts';
import { Ipv4Pool } from '../records/virtual-address.ts';

export class OwnerError extends IcvpnError {}

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

export interface CreatedService {
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly bootstrap: Bootstrap;
}

/**
 * Makes a service: its key, its admission secrets, its first descriptor, its bootstrap data.
 *
 * @throws OwnerError ERR_SERVICE_EXISTS when the directory holds a service already
 * @throws Ipv4PoolError when the IPv4 prefix is too small
 */
export async function createService(options: NewService): Promise<CreatedService> {
  const { dir, name, superPeers, ipv4Prefix } = options;
  if (superPeers.length === 0) {
    throw new OwnerError(
      'ERR_NO_SUPER_PEER',
      'a service needs at least one super-peer to admit its VMs',
      'give the card of one with --super-peer',
    );
  }
  new Ipv4Pool(ipv4Prefix, 0);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await using cache = await ownerCache(dir);
  if ((await cache.names()).includes('owner-key')) {
    throw new OwnerError(
      'ERR_SERVICE_EXISTS',
      `${dir} holds a service already`,
      'give another --dir; overwriting the key would orphan that service',
    );
  }
  const key = await generateKeyPair('Ed25519');
  const serviceId = peerIdFromPrivateKey(key);
  const secret = options.secret ?? makeServiceSecret();
  const secrets = await makeAdmissionSecrets({ serviceId, secret, signal: options.signal });
  const admitters = await Promise.all(
    superPeers.map(async ({ value: card }, slot) => ({
      peerId: card.peerId,
      multiaddrs: card.multiaddrs,
      slot,
      sealedSecrets: await sealSecrets(secrets, {
        serviceId,
        superPeer: card.peerId,
        sealingKey: card.sealingKey,
      }),
    })),
  );
  const descriptor = await signDescriptor(key, {
    serviceId,
    name,
    sequence: 1,
    epoch: 1,
    ipv4Prefix,
    credentialLifetime: options.credentialLifetime,
    admitters,
  });
  await cache.put('owner-key', privateKeyToProtobuf(key));
  await writeFile(descriptorPath(dir), descriptor.bytes, { mode: 0o644 });
  const bootstrap = {
    serviceId,
    name,
    superPeers: superPeerAddresses({ admitters }),
    secret,
    descriptor: options.descriptorInBootstrap ? descriptor.bytes : undefined,
  };
  return { descriptor, bootstrap };
}

/** The newest descriptor that the owner of `dir` signed. */
export async function readDescriptor(dir: string): Promise<Opened<ServiceDescriptor>> {
  return openDescriptor(Uint8Array.from(await readFile(descriptorPath(dir))));
}

/** The owner's key. @throws OwnerError ERR_NO_SERVICE */
export async function readOwnerKey(dir: string): Promise<Ed25519PrivateKey> {
  await using cache = await ownerCache(dir);
  const raw = await cache.get('owner-key');
  const key = raw && privateKeyFromProtobuf(raw);
  raw?.fill(0);
  if (key?.type !== 'Ed25519') {
    throw new OwnerError(
      'ERR_NO_SERVICE',
      `${dir} holds no service`,
      'give the --dir that the service was created with',
    );
  }
  return key;
}

const descriptorPath = (dir: string): string => join(dir, 'descriptor');
const ownerCache = (dir: string): Promise<SecureCache> => SecureCache.open(join(dir, 'cache'));

async function signDescriptor(
  key: Ed25519PrivateKey,
  value: ServiceDescriptor,
): Promise<Opened<ServiceDescriptor>> {
  return openDescriptor(await seal(DESCRIPTOR, value, key));
}

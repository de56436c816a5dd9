/**
 * The directory of a service's owner, on the owner's own machine.
 *
 * ```
 * <dir>/              0700
 *   cache/            encrypted at rest: owner-key; service: secret, admission secrets, cards, slots
 *   descriptor        the newest signed descriptor
 *   revocations       the newest signed revocation list
 * ```
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { ADMISSION_SECRETS } from '../admission/sealed.ts';
import {
  bytes,
  type Infer,
  message,
  repeated,
  required,
  string,
  uint32,
} from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import { MAX_ADMITTERS, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { SUPER_PEER_CARD } from '../records/super-peer-card.ts';

export class OwnerError extends IcvpnError {}

const admitter = message({
  slot: required(1, uint32({ max: MAX_ADMITTERS - 1 })),
  /** The super-peer's card, as a signed envelope. */
  card: required(2, bytes({ max: SUPER_PEER_CARD.maxLength })),
});

const secretState = message({
  secret: required(1, string({ min: 1, max: 1024 })),
  admissionSecrets: required(2, ADMISSION_SECRETS),
  admitters: repeated(3, admitter, { max: MAX_ADMITTERS }),
});

/** What the owner must keep to sign the next descriptor. */
export type OwnerState = Infer<typeof secretState>;

const descriptorPath = (dir: string): string => join(dir, 'descriptor');
const openCache = (dir: string): Promise<SecureCache> => SecureCache.open(join(dir, 'cache'));

/** Makes the directory of a new service. @throws OwnerError ERR_SERVICE_EXISTS */
export async function initOwner(dir: string, key: Ed25519PrivateKey): Promise<void> {
  await mkdir(dir, { recursive: true, mode: 0o700 });
  await using cache = await openCache(dir);
  if ((await cache.names()).includes('owner-key')) {
    throw new OwnerError(
      'ERR_SERVICE_EXISTS',
      `${dir} holds a service already`,
      'give another --dir; overwriting the key would orphan that service',
    );
  }
  const raw = privateKeyToProtobuf(key);
  await cache.put('owner-key', raw);
  raw.fill(0);
}

/** @throws OwnerError ERR_NO_SERVICE */
export async function readOwnerKey(dir: string): Promise<Ed25519PrivateKey> {
  const raw = await readSecret(dir, 'owner-key');
  const key = privateKeyFromProtobuf(raw);
  raw.fill(0);
  if (key.type === 'Ed25519') return key;
  throw noService(dir);
}

/** @throws OwnerError ERR_NO_SERVICE */
export async function readOwnerState(dir: string): Promise<OwnerState> {
  const raw = await readSecret(dir, 'service');
  const state = secretState.decode(raw);
  raw.fill(0);
  return state;
}

/** Keeps the state and the descriptor that was made from it. */
export async function writeOwnerState(
  dir: string,
  state: OwnerState,
  descriptor: Opened<ServiceDescriptor>,
): Promise<void> {
  const raw = secretState.encode(state);
  await using cache = await openCache(dir);
  await cache.put('service', raw);
  raw.fill(0);
  await writeFile(descriptorPath(dir), descriptor.bytes, { mode: 0o644 });
}

/** The newest descriptor that the owner of `dir` signed. */
export async function readDescriptor(dir: string): Promise<Opened<ServiceDescriptor>> {
  return openDescriptor(Uint8Array.from(await readFile(descriptorPath(dir))));
}

async function readSecret(dir: string, name: string): Promise<Uint8Array> {
  await using cache = await openCache(dir);
  const raw = await cache.get(name);
  if (raw === undefined) throw noService(dir);
  return raw;
}

const noService = (dir: string): OwnerError =>
  new OwnerError(
    'ERR_NO_SERVICE',
    `${dir} holds no service`,
    'give the --dir that the service was created with',
  );

/**
 * A service's admission secrets: what a super-peer needs to admit to it, and how they reach it.
 *
 * The owner makes them once, and encrypts them to each super-peer named in the descriptor by HPKE
 * (RFC 9180, base mode): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. Sealed secrets can
 * therefore stand in a record that everybody reads.
 *
 * ```
 * sealed = enc (32 bytes) | ciphertext            info = "icvpn sealed secrets 1"
 *                                                 aad  = ServiceID | super-peer's PeerID
 * ```
 *
 * The service secret itself is not in it. A verifier lets its holder check guesses, not log in.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { Aes256Gcm, CipherSuite, DhkemX25519HkdfSha256, HkdfSha256 } from '@hpke/core';
import type { Ed25519PeerId } from '@libp2p/interface';
import {
  bytes,
  type Infer,
  message,
  optional,
  required,
  string,
  uint32,
} from '../codec/protobuf.ts';
import { SealedSecretsError } from './errors.ts';
import { DEFAULT_SCRYPT, scryptParameters, stretch } from './kdf.ts';
import { parseServiceSecret } from './secret.ts';
import { SrpEngine } from './srp/engine.ts';
import { GROUP_2048, SUITE_SRP_2048 } from './srp/group.ts';
import { keyModExp } from './srp/modexp.ts';

/** The identity (SRP's I) under which the service secret stands. */
export const SERVICE_IDENTITY = 'member';

export const SALT_LENGTH = 32;
const ENC_LENGTH = 32;
const INFO = Buffer.from('icvpn sealed secrets 1');

/** Their form on disk and inside the seal. */
export const ADMISSION_SECRETS = message({
  /** The SRP suite; see srp/group.ts. */
  suite: required(1, uint32()),
  /** SRP's I. */
  identity: required(2, string({ min: 1, max: 64 })),
  salt: required(3, bytes({ length: SALT_LENGTH })),
  verifier: required(4, bytes({ length: GROUP_2048.N.length })),
  /** How the secret was stretched; absent for machine-made secrets, which are not. */
  kdf: optional(5, scryptParameters),
  /** Shared by the members in this epoch; mixed into their pairwise keys. */
  epochPsk: required(6, bytes({ length: 32 })),
  /** Shared by the service's super-peers: seals the renewal state that members carry between them. */
  renewalSecret: required(7, bytes({ length: 32 })),
  /** Master key of the service's attribute authority in this epoch, where it has one. */
  attributeMasterKey: optional(8, bytes({ max: 2048 })),
});

export type AdmissionSecrets = Infer<typeof ADMISSION_SECRETS>;

/**
 * @param options.attributeMasterKey of this epoch's attribute authority, as icvpn/abe encodes it
 * @param options.previous the secrets of the epoch before: keeps its renewal secret, so that members
 * renew into the new epoch without the service secret. Without it every member is admitted anew.
 * @throws SecretTypoError
 */
export async function makeAdmissionSecrets(options: {
  serviceId: Ed25519PeerId;
  secret: string | Uint8Array;
  previous?: AdmissionSecrets;
  attributeMasterKey?: Uint8Array | undefined;
  signal?: AbortSignal;
}): Promise<AdmissionSecrets> {
  const parsed = parseServiceSecret(options.secret);
  const kdf = parsed.kind === 'human' ? DEFAULT_SCRYPT : undefined;
  const login = { identity: SERVICE_IDENTITY, salt: randomBytes(SALT_LENGTH) };
  const password = await stretch(parsed, login.salt, kdf);
  options.signal?.throwIfAborted();
  const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(GROUP_2048));
  const x = engine.x(login, password);
  try {
    return {
      suite: SUITE_SRP_2048.id,
      ...login,
      verifier: engine.verifier(x),
      kdf,
      epochPsk: randomBytes(32),
      renewalSecret: Uint8Array.from(options.previous?.renewalSecret ?? randomBytes(32)),
      attributeMasterKey: options.attributeMasterKey,
    };
  } finally {
    for (const each of [parsed.bytes, password, x]) each.fill(0);
  }
}

export interface SealingKey {
  /** X25519, 32 bytes. */
  readonly publicKey: Uint8Array;
  /** X25519, 32 bytes; to be overwritten by who has it. */
  readonly privateKey: Uint8Array;
}

/** @returns a new X25519 key pair for a super-peer's card */
export function generateSealingKey(): SealingKey {
  const { d, x } = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  if (d === undefined || x === undefined) throw new Error('X25519 key without coordinates');
  return { publicKey: Buffer.from(x, 'base64url'), privateKey: Buffer.from(d, 'base64url') };
}

function hpke(): CipherSuite {
  return new CipherSuite({
    kem: new DhkemX25519HkdfSha256(),
    kdf: new HkdfSha256(),
    aead: new Aes256Gcm(),
  });
}

/** Web Crypto wants bytes that own their memory. */
const owned = (part: Uint8Array): ArrayBuffer => new Uint8Array(part).buffer;

function additionalData(serviceId: Ed25519PeerId, superPeer: Ed25519PeerId): ArrayBuffer {
  // Both have a fixed length, so that joined they are not ambiguous.
  return owned(Buffer.concat([serviceId.toMultihash().bytes, superPeer.toMultihash().bytes]));
}

/** @returns the secrets, encrypted so that only `superPeer` can open them and for this service only */
export async function sealSecrets(
  secrets: AdmissionSecrets,
  to: { serviceId: Ed25519PeerId; superPeer: Ed25519PeerId; sealingKey: Uint8Array },
): Promise<Uint8Array> {
  const suite = hpke();
  const recipientPublicKey = await suite.kem.importKey('raw', owned(to.sealingKey), true);
  const plain = ADMISSION_SECRETS.encode(secrets);
  const { ct, enc } = await suite.seal(
    { recipientPublicKey, info: owned(INFO) },
    owned(plain),
    additionalData(to.serviceId, to.superPeer),
  );
  plain.fill(0);
  return Buffer.concat([Buffer.from(enc), Buffer.from(ct)]);
}

/** @throws SealedSecretsError when they were sealed to another super-peer or for another service */
export async function openSealedSecrets(
  sealed: Uint8Array,
  by: { serviceId: Ed25519PeerId; superPeer: Ed25519PeerId; sealingPrivateKey: Uint8Array },
): Promise<AdmissionSecrets> {
  const suite = hpke();
  let plain: Uint8Array;
  try {
    const recipientKey = await suite.kem.importKey('raw', owned(by.sealingPrivateKey), false);
    plain = new Uint8Array(
      await suite.open(
        { recipientKey, enc: owned(sealed.subarray(0, ENC_LENGTH)), info: owned(INFO) },
        owned(sealed.subarray(ENC_LENGTH)),
        additionalData(by.serviceId, by.superPeer),
      ),
    );
  } catch (cause) {
    throw new SealedSecretsError(
      `the admission secrets of ${by.serviceId} are not sealed to ${by.superPeer}`,
      { cause },
    );
  }
  try {
    return ADMISSION_SECRETS.decode(plain);
  } catch (cause) {
    throw new SealedSecretsError('the sealed admission secrets are damaged', { cause });
  } finally {
    plain.fill(0);
  }
}

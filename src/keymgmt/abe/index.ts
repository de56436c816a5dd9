/**
 * @packageDocumentation
 *
 * Ciphertext-policy attribute-based encryption: an authority gives out keys for attributes, anybody
 * encrypts under a policy, and exactly the keys whose attributes satisfy the policy decrypt. The scheme
 * is TKN20 (ia.cr/2019/966) on BLS12-381, secure against chosen ciphertexts, in the formats of CIRCL
 * v1.6.4 and later (github.com/cloudflare/circl, abe/cpabe/tkn20).
 *
 * @example
 *
 * ```ts
 * import { decrypt, encrypt, generateKey, initAbe, setup } from 'icvpn/abe';
 *
 * await initAbe();
 * const { publicKey, masterKey } = setup();
 * const key = generateKey(masterKey, { ServiceID: 'shop', role: 'db' });
 * const secret = new TextEncoder().encode('10.0.0.7');
 * const ciphertext = encrypt(publicKey, 'ServiceID: shop and not role: guest', secret);
 * console.log(new TextDecoder().decode(decrypt(key, ciphertext))); // 10.0.0.7
 * ```
 *
 * What it does not give: authenticity (anybody can encrypt), secrecy from the authority, secrecy of the
 * policy, security against quantum computers. `docs/abe.md` says more.
 */
import { randomFillSync } from 'node:crypto';
import { decodeCiphertext, encryptCca, openCiphertext } from './cca.ts';
import {
  decodeDecryptionKey,
  decodeMasterSecret,
  decodePublicParameters,
  encodeDecryptionKey,
  encodeMasterSecret,
  encodePublicParameters,
} from './codec.ts';
import { forgetCombs } from './comb.ts';
import {
  BK_LABEL,
  MAX_ATTRIBUTES,
  MAX_LABEL_LENGTH,
  MAX_PLAINTEXT_BYTES,
  MAX_VALUE_LENGTH,
} from './constants.ts';
import { AbeArgumentError } from './errors.ts';
import { scalarFromInt, wipe } from './groups.ts';
import type { DecryptionKey, MasterSecret, PublicParameters } from './kem.ts';
import * as keygen from './keygen.ts';
import { wipeScratch } from './mcl.ts';
import { type Attribute, type Policy, parsePolicy, satisfy } from './policy.ts';
import { isWord } from './policy-syntax.ts';
import { hashValue, type RandomBytes } from './sampling.ts';

export {
  MAX_ATTRIBUTES,
  MAX_LABEL_LENGTH,
  MAX_PLAINTEXT_BYTES,
  MAX_POLICY_DEPTH,
  MAX_POLICY_LEAVES,
  MAX_VALUE_LENGTH,
} from './constants.ts';
export * from './errors.ts';
export { initAbe } from './mcl.ts';
export { decodePolicy, encodePolicy, formatPolicy, type Policy, parsePolicy } from './policy.ts';
export type { RandomBytes } from './sampling.ts';

/** What everybody may know of an authority, and all that is needed to encrypt. */
export type PublicKey = PublicParameters;

/** What an authority must keep: it makes keys and thereby opens every ciphertext. */
export type MasterKey = MasterSecret;

/** What one holder of attributes keeps. */
export type AttributeKey = DecryptionKey;

/**
 * Label to value. Both are made of A-Z, a-z, 0-9 and "_" and are none of the words `and`, `or`, `not`;
 * labels have up to 64 characters, values up to 256.
 */
export type Attributes = Readonly<Record<string, string>> | ReadonlyMap<string, string>;

/** `length` bytes from the operating system's generator. */
const systemRandom: RandomBytes = (length) => randomFillSync(new Uint8Array(length));

function wiping<Result>(work: () => Result): Result {
  try {
    return work();
  } finally {
    wipeScratch();
  }
}

function checkWord(what: string, word: string, most: number): void {
  if (word.length > most || !isWord(word)) {
    throw new AbeArgumentError(
      `${what} ${JSON.stringify(word.slice(0, most))} is not 1 to ${most} letters, digits or "_", or is a keyword`,
    );
  }
}

function hashAttributes(attributes: Attributes): Map<string, Attribute> {
  const entries = attributes instanceof Map ? [...attributes] : Object.entries(attributes);
  if (entries.length < 1 || entries.length > MAX_ATTRIBUTES) {
    throw new AbeArgumentError(`${entries.length} attributes; 1 to ${MAX_ATTRIBUTES} are allowed`);
  }
  const hashed = new Map<string, Attribute>();
  for (const [label, value] of entries) {
    checkWord('label', label, MAX_LABEL_LENGTH);
    checkWord('value', value, MAX_VALUE_LENGTH);
    hashed.set(label, { scalar: hashValue(value), wildcard: false });
  }
  return hashed;
}

/**
 * Makes a new authority.
 *
 * @param random the source of all secrets; anything but the default is for tests
 * @throws AbeEngineError (ERR_ABE_ENGINE) before `initAbe`, as everything below
 */
export function setup(random: RandomBytes = systemRandom): {
  publicKey: PublicKey;
  masterKey: MasterKey;
} {
  return wiping(() => {
    const { public: publicKey, secret: masterKey } = keygen.setup(random);
    return { publicKey, masterKey };
  });
}

/**
 * Makes a key for a set of attributes. Keys of different holders do not combine.
 *
 * @throws AbeArgumentError (ERR_ABE_ARGUMENT) for no or too many attributes, or a bad label or value
 */
export function generateKey(
  masterKey: MasterKey,
  attributes: Attributes,
  random: RandomBytes = systemRandom,
): AttributeKey {
  const all = hashAttributes(attributes).set(BK_LABEL, {
    scalar: scalarFromInt(0),
    wildcard: true,
  });
  return wiping(() => keygen.generateKey(masterKey, all, random));
}

/**
 * Encrypts under a policy, which stands in clear in the ciphertext.
 *
 * @param plaintext up to `MAX_PLAINTEXT_BYTES`; the ciphertext shows its length
 * @throws AbePolicyError (ERR_ABE_POLICY) for a policy that does not parse
 * @throws AbeArgumentError (ERR_ABE_ARGUMENT) for a plaintext too long
 */
export function encrypt(
  publicKey: PublicKey,
  policy: Policy | string,
  plaintext: Uint8Array,
  random: RandomBytes = systemRandom,
): Uint8Array {
  if (plaintext.length > MAX_PLAINTEXT_BYTES) {
    throw new AbeArgumentError(`the plaintext has more than ${MAX_PLAINTEXT_BYTES} bytes`);
  }
  const parsed = typeof policy === 'string' ? parsePolicy(policy) : policy;
  return wiping(() => encryptCca(publicKey, parsed, plaintext, random));
}

/**
 * @throws AbeFormatError (ERR_ABE_FORMAT) for bytes that are no ciphertext
 * @throws AbeUnsatisfiedError (ERR_ABE_UNSATISFIED) if the key's attributes do not satisfy the policy
 * @throws AbeDecryptError (ERR_ABE_DECRYPT) if ciphertext or key were altered or have different
 * authorities
 */
export function decrypt(key: AttributeKey, ciphertext: Uint8Array): Uint8Array {
  return wiping(() => openCiphertext(key, decodeCiphertext(ciphertext)));
}

/**
 * The policy that a ciphertext claims; only decrypting proves it.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function policyOf(ciphertext: Uint8Array): Policy {
  return decodeCiphertext(ciphertext).policy;
}

/**
 * Whether a key with these attributes decrypts what is encrypted under `policy`. An attribute that is
 * absent satisfies neither `a: x` nor `not a: x`.
 *
 * @throws AbeArgumentError (ERR_ABE_ARGUMENT), AbePolicyError (ERR_ABE_POLICY)
 */
export function satisfies(policy: Policy | string, attributes: Attributes): boolean {
  const parsed = typeof policy === 'string' ? parsePolicy(policy) : policy;
  return satisfy(parsed, hashAttributes(attributes)) !== undefined;
}

/** 3,282 bytes. */
export const encodePublicKey: (key: PublicKey) => Uint8Array = encodePublicParameters;
/** @throws AbeFormatError (ERR_ABE_FORMAT) for anything but what `encodePublicKey` writes */
export const decodePublicKey: (bytes: Uint8Array) => PublicKey = decodePublicParameters;

/** 1,136 bytes, secret: the caller overwrites them. */
export function encodeMasterKey(key: MasterKey): Uint8Array {
  return wiping(() => encodeMasterSecret(key));
}
/** @throws AbeFormatError (ERR_ABE_FORMAT) for anything but what `encodeMasterKey` writes */
export function decodeMasterKey(bytes: Uint8Array): MasterKey {
  return wiping(() => decodeMasterSecret(bytes));
}

/** Secret: the caller overwrites them. */
export const encodeAttributeKey: (key: AttributeKey) => Uint8Array = encodeDecryptionKey;
/** @throws AbeFormatError (ERR_ABE_FORMAT) for anything but what `encodeAttributeKey` writes */
export const decodeAttributeKey: (bytes: Uint8Array) => AttributeKey = decodeDecryptionKey;

/** Overwrites a master key. It cannot be used afterwards. */
export function wipeMasterKey({ prfKey, ...matrices }: MasterKey): void {
  prfKey.fill(0);
  for (const secret of Object.values(matrices)) wipe(...secret.entries);
}

/** Overwrites an attribute key. It cannot be used afterwards. */
export function wipeAttributeKey({ parts, k1, k2 }: AttributeKey): void {
  wipe(...k1.entries, ...k2.entries);
  for (const { k3, k3wild } of parts.values()) {
    forgetCombs(k3);
    wipe(...k3.entries, ...(k3wild?.entries ?? []));
  }
}

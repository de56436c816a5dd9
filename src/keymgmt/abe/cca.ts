import { timingSafeEqual } from 'node:crypto';
import { blake2b256, blake2xb } from './blake2xb.ts';
import { concat, prefixed, Reader } from './bytes.ts';
import { decodeHeader, encodeHeader } from './codec.ts';
import { CIPHERTEXT_VERSION, HASH_BYTES, MAX_PLAINTEXT_BYTES, SEED_BYTES } from './constants.ts';
import { AbeDecryptError, AbeFormatError } from './errors.ts';
import type { ShareSecret } from './formula.ts';
import { type Gt, gtToBytes, scalarReduce } from './groups.ts';
import {
  type DecryptionKey,
  decapsulate,
  encapsulate,
  type Header,
  type PublicParameters,
} from './kem.ts';
import { decodePolicy, encodePolicy, type Policy, withBonehKatzLeaf } from './policy.ts';
import type { RandomBytes } from './sampling.ts';

/**
 * Security against chosen ciphertexts, by the transform of Boneh and Katz (ia.cr/2004/261) as Yamada,
 * Attrapadung, Hanaoka and Kunihiro carry it over to attribute-based encryption (PKC 2011): a random
 * seed gives an id and a MAC key; the encryption is under `policy and (internal label: id)`; the seed is
 * in the plaintext; the MAC is over everything but the id.
 *
 *     ciphertext = "v1.3.8" lp(id) lp32(body) lp(tag)
 *     body       = lp32(header) lp32(envelope)                        lp32: u32 length
 *     header     = lp(policy, without the internal leaf) ...          codec.ts
 *     envelope   = (seed || plaintext) xor BLAKE2Xb(key BLAKE2b-256(shared key))
 *     tag        = BLAKE2b-256(MAC key, body)
 *
 * Before v1.3.8 there was no version and lp32 was lp. Such ciphertexts still open.
 */
export interface Ciphertext {
  readonly policy: Policy;
  readonly header: Header;
  readonly id: Uint8Array;
  readonly body: Uint8Array;
  readonly envelope: Uint8Array;
  readonly tag: Uint8Array;
}

const ascii = new TextEncoder();
const VERSION = ascii.encode(CIPHERTEXT_VERSION);

function expandSeed(seed: Uint8Array): { id: Uint8Array; macKey: Uint8Array } {
  return {
    id: blake2b256(undefined, ascii.encode('id computation hash'), seed),
    macKey: blake2b256(undefined, ascii.encode('key computation hash'), seed),
  };
}

function xorStream(shared: Gt, data: Uint8Array): Uint8Array {
  const bytes = gtToBytes(shared);
  const key = blake2b256(undefined, bytes);
  const stream = blake2xb(key, new Uint8Array(0)).read(data.length);
  bytes.fill(0);
  key.fill(0);
  return stream.map((byte, i) => byte ^ (data[i] ?? 0));
}

/** @param share see `encapsulate` */
export function encryptCca(
  parameters: PublicParameters,
  policy: Policy,
  plaintext: Uint8Array,
  random: RandomBytes,
  share?: ShareSecret,
): Uint8Array {
  const seed = random(SEED_BYTES);
  const { id, macKey } = expandSeed(seed);
  const extended = withBonehKatzLeaf(policy, scalarReduce(id));
  const { header, key } = encapsulate(parameters, extended, random, share);
  const opened = concat(seed, plaintext);
  const envelope = xorStream(key, opened);
  const body = concat(
    prefixed(concat(prefixed(encodePolicy(policy)), encodeHeader(header)), 4),
    prefixed(envelope, 4),
  );
  const tag = blake2b256(macKey, body);
  for (const secret of [seed, macKey, opened, key.raw]) secret.fill(0);
  return concat(VERSION, prefixed(id), prefixed(body, 4), prefixed(tag));
}

/**
 * Parses a ciphertext; what it says is not yet authenticated.
 *
 * @throws AbeFormatError (ERR_ABE_FORMAT)
 */
export function decodeCiphertext(bytes: Uint8Array): Ciphertext {
  const outer = new Reader(bytes, 'ciphertext');
  const versioned = VERSION.every((byte, i) => bytes[i] === byte);
  if (versioned) outer.take(VERSION.length);
  const width = versioned ? 4 : 2;
  const id = outer.prefixed();
  const body = outer.prefixed(width);
  const tag = outer.prefixed();
  outer.end();
  if (id.length !== HASH_BYTES || tag.length !== HASH_BYTES) {
    throw new AbeFormatError('ciphertext: id or tag of the wrong length');
  }
  const inner = new Reader(body, 'ciphertext');
  const headerBytes = inner.prefixed(width);
  const envelope = inner.prefixed(width);
  inner.end();
  if (envelope.length < SEED_BYTES || envelope.length > SEED_BYTES + MAX_PLAINTEXT_BYTES) {
    throw new AbeFormatError('ciphertext: envelope too short or too long');
  }
  const header = new Reader(headerBytes, 'ciphertext header');
  const policy = decodePolicy(header.prefixed());
  const extended = withBonehKatzLeaf(policy, scalarReduce(id));
  return { policy, header: decodeHeader(header, extended), id, body, envelope, tag };
}

/**
 * @param leaves see `decapsulate`
 * @throws AbeUnsatisfiedError (ERR_ABE_UNSATISFIED), AbeDecryptError (ERR_ABE_DECRYPT)
 */
export function openCiphertext(
  key: DecryptionKey,
  { policy, header, id, body, envelope, tag }: Ciphertext,
  leaves?: readonly number[],
): Uint8Array {
  const shared = decapsulate(withBonehKatzLeaf(policy, scalarReduce(id)), header, key, leaves);
  const opened = xorStream(shared, envelope);
  const seed = opened.subarray(0, SEED_BYTES);
  const expected = expandSeed(seed);
  // Both are compared in any case, so that nobody learns which one failed.
  const sameId = timingSafeEqual(expected.id, id);
  const sameTag = timingSafeEqual(blake2b256(expected.macKey, body), tag);
  const plaintext = opened.slice(SEED_BYTES);
  for (const secret of [opened, expected.macKey, shared.raw]) secret.fill(0);
  if (sameId && sameTag) return plaintext;
  plaintext.fill(0);
  throw new AbeDecryptError();
}

/**
 * Modular exponentiation in OpenSSL, which treats Diffie-Hellman exponents as secret and computes
 * in constant time (BN_FLG_CONSTTIME). BigInt and JavaScript libraries do not; measuring them gave
 * away SRP passwords (Braga, Fouque, Sabt: PARASITE, CCS 2021).
 *
 * There are two ways to it in node:crypto, and each has its place:
 *
 *              to make          per call     for
 *   dhModExp     240 ms (*)     0.3 ms       the workers of a super-peer
 *   keyModExp    nothing        0.7 ms       a VM, which is admitted once
 *
 *   (*) OpenSSL proves the prime safe, on the thread that asks
 */
import {
  createDiffieHellman,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';
import type { SrpGroup } from './group.ts';

/**
 * base^exponent mod N. `base` is of N's length and from 2 to N-2, `exponent` is not zero.
 *
 * @returns exactly as many bytes as N has
 * @throws RangeError for a base or exponent that is not so, also when the result would be 1
 */
export type ModExp = (base: Uint8Array, exponent: Uint8Array) => Uint8Array;

/** Slow to make, fast to use. Not reentrant, which a synchronous function need not be. */
export function dhModExp(group: SrpGroup): ModExp {
  const dh = createDiffieHellman(group.N, group.g);
  return (base, exponent) => {
    checkBase(group, base);
    return computed(group, () => {
      dh.setPrivateKey(exponent);
      return dh.computeSecret(base);
    });
  };
}

/** Made at once, slower to use: OpenSSL computes a public key, which nobody needs, at each import. */
export function keyModExp(group: SrpGroup): ModExp {
  const parameters = sequence(DH_OID, sequence(integer(group.N), integer(Uint8Array.of(group.g))));
  return (base, exponent) => {
    checkBase(group, base);
    return computed(group, () => {
      const secret = sequence(integer(Uint8Array.of(0)), parameters, der(0x04, integer(exponent)));
      let privateKey: KeyObject;
      try {
        privateKey = createPrivateKey({ key: secret, format: 'der', type: 'pkcs8' });
      } finally {
        secret.fill(0);
      }
      const point = sequence(parameters, der(0x03, Uint8Array.of(0), integer(base)));
      const publicKey = createPublicKey({ key: point, format: 'der', type: 'spki' });
      return diffieHellman({ privateKey, publicKey });
    });
  };
}

function checkBase(group: SrpGroup, base: Uint8Array): void {
  if (!inRange(group, base)) throw new RangeError('base is not from 2 to N-2');
}

/** Some OpenSSL versions give an empty result instead of an error where the result would be 1. */
function computed(group: SrpGroup, run: () => Uint8Array): Uint8Array {
  let result: Uint8Array;
  try {
    result = run();
  } catch (cause) {
    throw new RangeError('exponentiation refused', { cause });
  }
  if (result.length !== group.N.length) throw new RangeError('exponentiation gave no result');
  return result;
}

/** Whether `value` has N's length and is from 2 to N-2. Values that are public, so not in constant time. */
export function inRange(group: SrpGroup, value: Uint8Array): boolean {
  if (value.length !== group.N.length) return false;
  const low = value.subarray(0, -1).every((byte) => byte === 0);
  if (low && (value.at(-1) ?? 0) < 2) return false;
  // N is odd, so N-1 differs in the last byte only.
  const order = Buffer.compare(value.subarray(0, -1), group.N.subarray(0, -1));
  return order === 0 ? (value.at(-1) ?? 0) + 1 < (group.N.at(-1) ?? 0) : order < 0;
}

const DH_OID = Buffer.from('06092a864886f70d010301', 'hex');

/** PKCS #3 keys in DER (X.690): the only form in which node:crypto takes DH keys of any group. */
function der(tag: number, ...parts: Uint8Array[]): Buffer {
  const length = parts.reduce((sum, part) => sum + part.length, 0);
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  const out = Buffer.alloc(header.length + length);
  out.set(header);
  let at = header.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const sequence = (...parts: Uint8Array[]): Buffer => der(0x30, ...parts);

function integer(value: Uint8Array): Buffer {
  const first = value.findIndex((byte) => byte !== 0);
  const digits = first < 0 ? Uint8Array.of(0) : value.subarray(first);
  return (digits[0] ?? 0) < 0x80 ? der(0x02, digits) : der(0x02, Uint8Array.of(0), digits);
}

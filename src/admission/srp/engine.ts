/**
 * SRP-6a (Wu 2002; RFC 5054 section 2.6; the proofs of RFC 2945 section 3).
 *
 * ```
 *   x = H(s | H(I ":" P))      v = g^x            k = H(N | g) or H(N | PAD(g))
 *   A = g^a                    B = kv + g^b       u = H(PAD(A) | PAD(B))
 *   client S = (B - k g^x)^(a + ux)               server S = (A v^u)^b
 *   K  = H(PAD(S))
 *   M1 = H(H(N) xor H(g) | H(I) | s | A | B | K)  M2 = H(A | M1 | K)
 * ```
 *
 * Pure and synchronous: exponentiation and randomness come from outside. All group elements are
 * exactly as long as N. Exponentiation with secret exponents is OpenSSL's; the few additions and
 * products modulo N are BigInt's.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { SrpSuite } from './group.ts';
import { inRange, type ModExp } from './modexp.ts';

/** Length of a and b, in bytes. */
export const EXPONENT_LENGTH = 32;

/** A value from the other end that SRP forbids. `value` names it. */
export class SrpValueError extends RangeError {
  constructor(value: 'A' | 'B' | 'u' | 'S') {
    super(`${value} is not allowed in SRP`);
  }
}

export interface SrpSession {
  /** The session key K: a hash length of bytes, to be overwritten by who has it. */
  readonly key: Uint8Array;
  /** The client's proof M1. */
  readonly M1: Uint8Array;
  /** The server's proof M2. */
  readonly M2: Uint8Array;
}

/** Who logs in, and the salt of the verifier: both enter the proof M1. */
export interface SrpLogin {
  readonly identity: string;
  readonly salt: Uint8Array;
}

export class SrpEngine {
  readonly #modExp: ModExp;
  readonly #suite: SrpSuite;
  readonly #g: Uint8Array;
  readonly #N: bigint;
  readonly #groupDigest: Uint8Array;
  /** The multiplier. */
  readonly k: Uint8Array;

  constructor(suite: SrpSuite, modExp: ModExp) {
    const { N, g } = suite.group;
    this.#suite = suite;
    this.#modExp = modExp;
    this.#N = toBigInt(N);
    this.#g = toBytes(BigInt(g), N.length);
    const byte = Uint8Array.of(g);
    this.k = this.#hash(N, suite.multiplier === 'rfc5054' ? this.#g : byte);
    const hashOfG = this.#hash(byte);
    this.#groupDigest = this.#hash(N).map((each, i) => each ^ (hashOfG[i] ?? 0));
  }

  /** @param secret the password P, or what a slow hash made of it */
  x(login: SrpLogin, secret: Uint8Array): Uint8Array {
    return this.#hash(login.salt, this.#hash(Buffer.from(`${login.identity}:`), secret));
  }

  /** v = g^x */
  verifier(x: Uint8Array): Uint8Array {
    return this.#modExp(this.#g, x);
  }

  /** A = g^a */
  clientPublic(a: Uint8Array): Uint8Array {
    checkExponent(a);
    return this.#modExp(this.#g, a);
  }

  /** B = kv + g^b. @throws SrpValueError when that is zero: draw another b */
  serverPublic(verifier: Uint8Array, b: Uint8Array): Uint8Array {
    checkExponent(b);
    const gb = toBigInt(this.#modExp(this.#g, b));
    const B = this.#bytes((toBigInt(this.k) * toBigInt(verifier) + gb) % this.#N);
    if (!inRange(this.#suite.group, B)) throw new SrpValueError('B');
    return B;
  }

  /** @throws SrpValueError for a B that a server keeping to the protocol never sends */
  clientSession(
    login: SrpLogin,
    own: { a: Uint8Array; A: Uint8Array; x: Uint8Array },
    B: Uint8Array,
  ): SrpSession {
    const S = this.clientPremaster(own, B);
    return this.#session(login, own.A, B, S);
  }

  /**
   * @returns undefined when M1 does not prove the secret, so that no M2 exists to be sent
   * @throws SrpValueError for an A that SRP forbids
   */
  serverSession(
    login: SrpLogin,
    own: { verifier: Uint8Array; b: Uint8Array; B: Uint8Array },
    A: Uint8Array,
    M1: Uint8Array,
  ): SrpSession | undefined {
    const S = this.serverPremaster(own, A);
    const session = this.#session(login, A, own.B, S);
    if (M1.length === session.M1.length && timingSafeEqual(M1, session.M1)) return session;
    session.key.fill(0);
    return undefined;
  }

  /** S on the client's side, to be overwritten by the caller. @throws SrpValueError */
  clientPremaster(own: { a: Uint8Array; A: Uint8Array; x: Uint8Array }, B: Uint8Array): Uint8Array {
    checkExponent(own.a);
    if (!inRange(this.#suite.group, B)) throw new SrpValueError('B');
    const gx = this.#modExp(this.#g, own.x);
    const mask = (toBigInt(this.k) * toBigInt(gx)) % this.#N;
    const base = this.#bytes((toBigInt(B) + this.#N - mask) % this.#N);
    const u = toBigInt(this.#usableScrambler(own.A, B));
    const exponent = toBytes(toBigInt(own.a) + u * toBigInt(own.x), own.x.length * 2 + 1);
    try {
      return this.#power('B', base, exponent);
    } finally {
      for (const secret of [gx, base, exponent]) secret.fill(0);
    }
  }

  /** S on the server's side, to be overwritten by the caller. @throws SrpValueError */
  serverPremaster(own: { verifier: Uint8Array; b: Uint8Array; B: Uint8Array }, A: Uint8Array) {
    checkExponent(own.b);
    if (!inRange(this.#suite.group, A)) throw new SrpValueError('A');
    const vu = this.#modExp(own.verifier, this.#usableScrambler(A, own.B));
    const base = this.#bytes((toBigInt(A) * toBigInt(vu)) % this.#N);
    try {
      return this.#power('S', base, own.b);
    } finally {
      for (const secret of [vu, base]) secret.fill(0);
    }
  }

  /** u = H(PAD(A) | PAD(B)) */
  scrambler(A: Uint8Array, B: Uint8Array): Uint8Array {
    return this.#hash(A, B);
  }

  /** SRP's text demands that a client stops when u is zero; so does the server here. */
  #usableScrambler(A: Uint8Array, B: Uint8Array): Uint8Array {
    const u = this.scrambler(A, B);
    if (u.every((byte) => byte === 0)) throw new SrpValueError('u');
    return u;
  }

  #power(value: 'B' | 'S', base: Uint8Array, exponent: Uint8Array): Uint8Array {
    if (!inRange(this.#suite.group, base)) throw new SrpValueError(value);
    return this.#modExp(base, exponent);
  }

  #session(login: SrpLogin, A: Uint8Array, B: Uint8Array, S: Uint8Array): SrpSession {
    const key = this.#hash(S);
    S.fill(0);
    const identity = this.#hash(Buffer.from(login.identity));
    const M1 = this.#hash(this.#groupDigest, identity, login.salt, A, B, key);
    return { key, M1, M2: this.#hash(A, M1, key) };
  }

  #bytes(value: bigint): Uint8Array {
    return toBytes(value, this.#suite.group.N.length);
  }

  #hash(...parts: Uint8Array[]): Uint8Array {
    const state = createHash(this.#suite.group.hash);
    for (const part of parts) state.update(part);
    return state.digest();
  }
}

function checkExponent(exponent: Uint8Array): void {
  if (exponent.length !== EXPONENT_LENGTH) {
    throw new RangeError(`an exponent has ${EXPONENT_LENGTH} bytes, not ${exponent.length}`);
  }
}

function toBigInt(value: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(value).toString('hex')}`);
}

function toBytes(value: bigint, length: number): Uint8Array {
  return Buffer.from(value.toString(16).padStart(length * 2, '0'), 'hex');
}

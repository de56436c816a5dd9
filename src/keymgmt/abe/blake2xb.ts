import { _BLAKE2b } from '@noble/hashes/blake2.js';
import { HASH_BYTES } from './constants.ts';

/**
 * BLAKE2Xb, the extendable-output form of BLAKE2b (Aumasson, Neves, Wilcox-O'Hearn, Winnerlein,
 * "BLAKE2X", 2016, section 2), on top of the BLAKE2b of @noble/hashes.
 *
 *     H0    = BLAKE2b(key, message)                     with the output's length in the parameters
 *     B(i)  = BLAKE2b(H0), 64 bytes                     with node offset i, fan-out and depth 0
 *     out   = B(0) || B(1) || ...
 */

const BLOCK_BYTES = 64;

/** The length that stands for "not known in advance". */
export const XOF_LENGTH_UNKNOWN = 0xffff_ffff;

/** BLAKE2b whose parameter block (RFC 7693 section 2.5, BLAKE2 section 2.8) is changed by an xor. */
class ParameterisedBlake2b extends _BLAKE2b {
  constructor(key: Uint8Array | undefined, change: readonly number[]) {
    super(key === undefined || key.length === 0 ? {} : { key });
    // A key waits in the buffer: nothing has been compressed, so the state is still the parameters.
    const [a, b, c, d, e, ...rest] = this.get();
    const [ca = 0, cb = 0, cc = 0, cd = 0, ce = 0] = change;
    const [f, g, h, i, j, k, l, m, n, o, p] = rest;
    this.set(a ^ ca, b ^ cb, c ^ cc, d ^ cd, e ^ ce, f, g, h, i, j, k, l, m, n, o, p);
  }
}

/** A stream of pseudorandom bytes. */
export interface Xof {
  /** The next `length` bytes. */
  read(length: number): Uint8Array;
}

/**
 * BLAKE2Xb of `message` under `key` (0 to 64 bytes).
 *
 * @param outputBytes the length that is bound into the output, a multiple of 64, or
 * `XOF_LENGTH_UNKNOWN`; for any other value the last block of BLAKE2Xb would differ
 */
export function blake2xb(
  key: Uint8Array,
  message: Uint8Array,
  outputBytes: number = XOF_LENGTH_UNKNOWN,
): Xof {
  const root = new ParameterisedBlake2b(key, [0, 0, 0, outputBytes]).update(message).digest();
  let block = new Uint8Array(0);
  let used = 0;
  let node = 0;
  return {
    read(length) {
      const out = new Uint8Array(length);
      for (let at = 0; at < length; ) {
        if (used === block.length) {
          block.fill(0);
          // Words of the parameter block: no fan-out and depth, leaf length 64, this node's
          // offset, the output's length, inner length 64.
          const change = [0x0101_0000, BLOCK_BYTES, node, outputBytes, BLOCK_BYTES << 8];
          block = new ParameterisedBlake2b(undefined, change).update(root).digest();
          used = 0;
          node += 1;
        }
        const some = block.subarray(used, used + length - at);
        out.set(some, at);
        at += some.length;
        used += some.length;
      }
      return out;
    },
  };
}

/** BLAKE2b with 32 bytes of output over the concatenated `parts` (RFC 7693). */
export function blake2b256(
  key: Uint8Array | undefined,
  ...parts: readonly Uint8Array[]
): Uint8Array {
  const hash = new _BLAKE2b(key === undefined ? { dkLen: HASH_BYTES } : { dkLen: HASH_BYTES, key });
  for (const part of parts) hash.update(part);
  return hash.digest();
}

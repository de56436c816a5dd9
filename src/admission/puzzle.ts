/**
 * A puzzle that costs who asks for admission some computing, and the super-peer one hash: find n with
 * at least `bits` leading zero bits in SHA-256(seed | n). (Juels and Brainard:
 * Client Puzzles, NDSS 1999.)
 *
 * The seed is random and good for the one stream it was sent on. Beside the Noise connection that
 * the stream needs anyway, its 32 bytes are no state worth saving, and no answer can be used twice.
 */
import { hash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';

export const SEED_LENGTH = 32;
export const ANSWER_LENGTH = 8;

/** Harder puzzles than this are not solved: 2^22 hashes are some seconds. */
export const MAX_BITS = 22;

/** Hashes between two turns of the event loop: about a millisecond. */
const SLICE = 1024;

export interface Puzzle {
  readonly seed: Uint8Array;
  readonly bits: number;
}

export function solves(puzzle: Puzzle, answer: Uint8Array): boolean {
  const digest = hash('sha256', Buffer.concat([puzzle.seed, answer]), 'buffer');
  let zeros = 0;
  for (const byte of digest) {
    zeros += Math.clz32(byte) - 24;
    if (byte !== 0) break;
  }
  return zeros >= puzzle.bits;
}

/** @returns the answer, 8 bytes, after about 2^bits hashes */
export async function solve(puzzle: Puzzle, signal: AbortSignal): Promise<Uint8Array> {
  const answer = Buffer.alloc(ANSWER_LENGTH);
  for (let n = 0; ; n++) {
    answer.writeBigUInt64BE(BigInt(n));
    if (solves(puzzle, answer)) return Uint8Array.from(answer);
    if (n % SLICE === SLICE - 1) {
      await setImmediate();
      signal.throwIfAborted();
    }
  }
}

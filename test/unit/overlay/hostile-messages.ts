/** Messages that a peer may send which means no good, made of such as nodes send. */
import { encodeLength } from '../../../src/wire/message-parser.ts';

/** Ends of what a number may be: 0, 1, 2^31, 2^32-1, 2^53-1, 2^53, 2^64-1, and one without end. */
const NUMBERS = [
  [0],
  [1],
  [0x80, 0x80, 0x80, 0x80, 0x08],
  [0xff, 0xff, 0xff, 0xff, 0x0f],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f],
  [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
  [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
  Array.from({ length: 12 }, () => 0x80),
].map((each) => Uint8Array.from(each));

const TEXTS = [
  '',
  '\u001b]0;owned\u0007\u001b[2J',
  'a\nforged line\r\n',
  '\u0000',
  '/ip4/999.1.1.1/tcp/99999',
  '/ip4/127.0.0.1/tcp/1/p2p/QmNobody',
  '../../../etc/passwd',
  '__proto__',
  '\ud800',
  '\u202eetxt',
  'x'.repeat(5_000),
].map((each) => Buffer.from(each));

interface Varint {
  readonly value: number;
  readonly end: number;
}

function varint(bytes: Uint8Array, at: number): Varint | undefined {
  let value = 0;
  for (let i = 0; i < 10; i++) {
    const byte = bytes[at + i];
    if (byte === undefined) return undefined;
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}

/** The same fields, of which some hold something else; those that may be messages are gone into. */
export function distort(bytes: Uint8Array, random: () => number, depth = 0): Uint8Array {
  const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];
  const out: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const tag = varint(bytes, at);
    const wire = tag && tag.value % 8;
    if (tag === undefined || (wire !== 0 && wire !== 2))
      return Buffer.concat([...out, bytes.subarray(at)]);
    const head = bytes.subarray(at, tag.end);
    const first = varint(bytes, tag.end);
    if (first === undefined) return Buffer.concat([...out, bytes.subarray(at)]);
    at = wire === 0 ? first.end : first.end + first.value;
    let body: Uint8Array = bytes.subarray(first.end, at);
    const chance = random();
    if (wire === 0) {
      const number = chance < 0.3 ? pick(NUMBERS) : undefined;
      out.push(head, number ?? bytes.subarray(tag.end, first.end));
      continue;
    }
    if (chance < 0.2) body = pick(TEXTS) ?? body;
    else if (chance < 0.3) body = body.map((byte) => (random() < 0.1 ? byte ^ 0x55 : byte));
    else if (chance < 0.8 && depth < 5) body = distort(body, random, depth + 1);
    out.push(head, encodeLength(body.length), body);
    if (chance > 0.97) out.push(head, encodeLength(body.length), body);
  }
  return Buffer.concat(out);
}

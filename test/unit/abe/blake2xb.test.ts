import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { blake2b } from '@noble/hashes/blake2.js';
import { blake2b256, blake2xb } from '../../../src/keymgmt/abe/blake2xb.ts';

const text = new TextEncoder();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const upTo = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => i);

describe('ABE hashing', () => {
  it('BLAKE2b: the vector of RFC 7693 appendix A', () => {
    assert.equal(
      hex(blake2b(text.encode('abc'))),
      'ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1' +
        '7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923',
    );
  });

  it('BLAKE2b of 32 bytes, over its parts, with and without a key', () => {
    assert.equal(
      hex(blake2b256(undefined, text.encode('a'), text.encode('bc'))),
      'bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319',
    );
    const key = upTo(32);
    const want = blake2b(upTo(300), { dkLen: 32, key });
    assert.deepEqual(blake2b256(key, upTo(300).subarray(0, 129), upTo(300).subarray(129)), want);
  });

  // blake2-kat.json of the BLAKE2 reference: message 00..ff, no key or key 00..3f, outputs of 64, 128,
  // 192 and 256 bytes, here as the SHA-256 over all four.
  it('BLAKE2Xb: the known answers of the BLAKE2 reference', () => {
    const all = (key: Uint8Array): string => {
      const sum = createHash('sha256');
      for (const n of [64, 128, 192, 256]) sum.update(blake2xb(key, upTo(256), n).read(n));
      return sum.digest('hex');
    };
    assert.equal(
      all(new Uint8Array(0)),
      '25d56e195322ea32f579ce3203bc1380f9ee672395ac9d095fa144434f1a05f5',
    );
    assert.equal(all(upTo(64)), '931125f4c9b1578d6562781076fc028ac8df1d111985ce554c07acf2c338f3ef');
  });

  it('BLAKE2Xb: reading in pieces gives the same stream', () => {
    const whole = blake2xb(upTo(16), text.encode('x')).read(500);
    const pieces = blake2xb(upTo(16), text.encode('x'));
    const read = [1, 63, 64, 65, 200, 107].flatMap((n) => [...pieces.read(n)]);
    assert.deepEqual(Uint8Array.from(read), whole);
  });
});

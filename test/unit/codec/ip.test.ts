import assert from 'node:assert/strict';
import { BlockList, isIPv4, isIPv6 } from 'node:net';
import fc from 'fast-check';
import {
  AddressError,
  formatIp,
  formatPrefix,
  parseIp,
  parsePrefix,
  prefixContains,
} from '../../../src/codec/ip.ts';

const raw = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);

describe('IP addresses', () => {
  it('have one spelling that Node takes for the same family', () => {
    fc.assert(
      fc.property(raw, (bytes) => {
        const text = formatIp(bytes);
        assert.deepEqual(parseIp(text), bytes);
        assert.ok(bytes.length === 4 ? isIPv4(text) : isIPv6(text), text);
      }),
    );
  });

  it('in IPv6 are shortened as URLs are, however the zeros lie', () => {
    const byte = fc.oneof(fc.constant(0), fc.constant(0), fc.nat({ max: 255 }));
    fc.assert(
      fc.property(fc.array(byte, { minLength: 16, maxLength: 16 }), (bytes) => {
        const text = formatIp(Uint8Array.from(bytes));
        assert.equal(new URL(`http://[${text}]/`).hostname, `[${text}]`);
      }),
    );
  });

  it('lie in a prefix exactly when Node says so', () => {
    fc.assert(
      fc.property(raw, raw, fc.nat({ max: 128 }), fc.boolean(), (net, other, bits, near) => {
        const length = bits % (net.length * 8 + 1);
        const masked = net.map(
          (byte, i) => byte & ~(0xff >> Math.max(0, Math.min(8, length - i * 8))),
        );
        const prefix = parsePrefix(`${formatIp(masked)}/${length}`);
        const address = formatIp(near ? net : other);
        const list = new BlockList();
        const family = net.length === 4 ? 'ipv4' : 'ipv6';
        list.addSubnet(prefix.network, length, family);
        const same = parseIp(address).length === net.length;
        assert.equal(prefixContains(prefix, address), same && list.check(address, family));
        assert.equal(formatPrefix(prefix), `${formatIp(masked)}/${length}`);
      }),
    );
  });

  for (const text of ['', '1.2.3', '01.2.3.4', '1.2.3.4.5', '::1%eth0', '0x1.2.3.4', '1::2::3']) {
    it(`refuse "${text}"`, () => assert.throws(() => parseIp(text), AddressError));
  }

  for (const text of [
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.1/8',
    'fd00::1/64',
    '10.0.0.0/-1',
    '::/129',
  ]) {
    it(`refuse the prefix "${text}"`, () => assert.throws(() => parsePrefix(text), AddressError));
  }
});

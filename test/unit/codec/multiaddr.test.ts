import assert from 'node:assert/strict';
import { multiaddr } from '@multiformats/multiaddr';
import fc from 'fast-check';
import { AddressError } from '../../../src/codec/ip.ts';
import {
  dialled,
  ipOf,
  ipsOf,
  isTcpMultiaddr,
  listedMultiaddrs,
  MAX_MULTIADDRS,
  ownMultiaddrs,
  parseTcpMultiaddr,
  type TcpMultiaddr,
  tcpAddressOf,
} from '../../../src/codec/multiaddr.ts';
import {
  DecodeError,
  message,
  repeated,
  repeatedValid,
  required,
  string,
} from '../../../src/codec/protobuf.ts';
import { parsePeerId } from '../../../src/records/peer-id.ts';

const PEER = parsePeerId('12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN');

const ip = fc.oneof(
  fc.ipV4().map((each) => `/ip4/${each}`),
  fc.ipV6().map((each) => `/ip6/${each}`),
);
const host = fc.oneof(
  ip,
  fc
    .constantFrom('dns', 'dns4', 'dns6')
    .chain((kind) => fc.domain().map((each) => `/${kind}/${each}`)),
);
const address = fc
  .tuple(host, fc.nat(70_000))
  .map(([at, port]) => `${at}/tcp/${port}`)
  .filter(isTcpMultiaddr);

/** Two messages with the same bytes: addresses that are checked, and any text. */
const any = message({ list: repeated(1, string({ max: 300 }), { max: 20 }) });
const own = message({ list: ownMultiaddrs(1) });
const listed = message({ list: listedMultiaddrs(1) });

describe('addresses to dial', () => {
  for (const text of [
    '/ip4/192.0.2.1/tcp/4242',
    '/ip6/2001:db8::1/tcp/1',
    '/ip4/127.0.0.1/tcp/65535',
    '/dns4/sp1.example.com/tcp/4242',
    '/dns/localhost/tcp/4242',
  ]) {
    it(`are taken: ${text}`, () => assert.equal(parseTcpMultiaddr(text), text));
  }

  for (const text of [
    'garbage',
    '',
    '/',
    '192.0.2.1',
    '/ip4/192.0.2.1',
    '/ip4/192.0.2.1/tcp/0',
    '/ip4/192.0.2.1/tcp/65536',
    '/ip4/192.0.2.1/tcp/04242',
    '/ip4/192.0.2.1/udp/4242',
    '/ip4/192.0.2.1/tcp/4242/',
    '/ip4/192.0.2.1/tcp/4242/ws',
    `/ip4/192.0.2.1/tcp/4242/p2p/${PEER}`,
    '/ip4/192.0.2.256/tcp/4242',
    '/ip4/2001:db8::1/tcp/4242',
    '/ip4/0.0.0.0/tcp/4242',
    '/ip4/224.0.0.1/tcp/4242',
    '/ip4/255.255.255.255/tcp/4242',
    '/ip4/169.254.0.1/tcp/4242',
    '/ip6/::/tcp/4242',
    '/ip6/ff02::1/tcp/4242',
    '/ip6/fe80::1/tcp/4242',
    '/ip6/fe80::1%eth0/tcp/4242',
    '/ip6/2001:DB8::1/tcp/4242',
    '/ip6/2001:db8:0::1/tcp/4242',
    '/dns4/a..b/tcp/4242',
    '/dns4/-a.example/tcp/4242',
    '/dns4/a b/tcp/4242',
    '/dns4/a\u001b[31m/tcp/4242',
    `/dns4/${'x'.repeat(64)}.example/tcp/4242`,
    `/dns4/${'x.'.repeat(130)}example/tcp/4242`,
    '/unix/tmp/socket',
    '/dnsaddr/example.com/tcp/4242',
  ]) {
    it(`P27 are refused, typed: ${JSON.stringify(text).slice(0, 60)}`, () => {
      assert.throws(() => parseTcpMultiaddr(text), AddressError);
      assert.throws(() => own.decode(any.encode({ list: [text] })), DecodeError);
    });
  }

  it('P27 that were taken are always ones that libp2p dials, with the peer that must answer', () => {
    fc.assert(
      fc.property(address, (each) => {
        const target = dialled(each, PEER);
        assert.equal(target.toString(), `${each}/p2p/${PEER}`);
        assert.equal(tcpAddressOf(target), each);
        assert.deepEqual(ipsOf([each]), [ipOf(multiaddr(each)) ?? []].flat());
      }),
      { numRuns: 2_000 },
    );
  });

  it('P27 a list of a node’s own is whole or refused; of a list of others what is bad is left out', () => {
    const entry = fc.oneof(
      address,
      fc.string({ maxLength: 40 }).map((text) => `x${text}`),
    );
    fc.assert(
      fc.property(fc.array(entry, { maxLength: MAX_MULTIADDRS }), (list) => {
        const good: TcpMultiaddr[] = list.filter(isTcpMultiaddr);
        const bytes = any.encode({ list });
        assert.deepEqual(listed.decode(bytes).list, good);
        if (good.length === list.length) assert.deepEqual(own.decode(bytes).list, list);
        else assert.throws(() => own.decode(bytes), DecodeError);
      }),
    );
  });

  it('P27 bad entries count towards the limit of a list', () => {
    const list = Array(MAX_MULTIADDRS + 1).fill('x');
    assert.throws(() => listed.decode(any.encode({ list })), DecodeError);
    assert.deepEqual(listed.decode(any.encode({ list: list.slice(1) })).list, []);
  });

  it('P27 an entry that is cut off within a list takes no byte of the next', () => {
    const inner = message({ name: required(1, string({ max: 5 })) });
    const wide = message({ name: required(1, string({ max: 50 })) });
    const strange = message({ list: repeated(1, wide, { max: 9 }) });
    const lenient = message({ list: repeatedValid(1, inner, { max: 9 }) });
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 12 }), { maxLength: 9 }), (names) => {
        const bytes = strange.encode({ list: names.map((name) => ({ name })) });
        const fits = names.filter((name) => Buffer.byteLength(name) <= 5);
        assert.deepEqual(
          lenient.decode(bytes).list,
          fits.map((name) => ({ name })),
        );
      }),
    );
  });
});

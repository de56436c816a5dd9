import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ipsOf, MAX_MULTIADDRS, parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { ranked } from '../../../src/daemon/own-addresses.ts';
import { waysTo } from '../../../src/daemon/pair/ways.ts';
import { isUnderlay } from '../../../src/daemon/underlay.ts';
import { seenFirst } from '../../../src/overlay/seen-address.ts';

const itself = (each: string): string => each;
const at = (ip: string) => parseTcpMultiaddr(`/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}/tcp/4242`);

describe('the addresses that a machine tells', () => {
  const facts = {
    preferred: ['192.168.11.10', '10.0.2.15'],
    bridges: new Set(['172.17.0.1', '10.88.0.1', '192.168.122.1']),
  };

  it('P27 are first the one that super-peers are reached from, then the default route’s, and none of bridges', () => {
    const all = ['172.17.0.1', '10.0.2.15', '10.9.9.9', '192.168.122.1', '192.168.11.10'];
    assert.deepEqual(ranked(all, itself, facts), ['192.168.11.10', '10.0.2.15', '10.9.9.9']);
  });

  it('P27 keep the one that leads to others however many bridges there are before it', () => {
    const ip = fc.ipV4();
    fc.assert(
      fc.property(fc.uniqueArray(ip, { maxLength: 40 }), ip, (bridges, way) => {
        const told = ranked([...bridges, way], itself, {
          preferred: [way],
          bridges: new Set(bridges),
        });
        assert.equal(told.slice(0, MAX_MULTIADDRS)[0], way);
        assert.ok(told.length === 1 || bridges.includes(way));
      }),
    );
  });

  it('may be a bridge’s where the way to others is over it, or nothing else is there', () => {
    const bridges = new Set(['192.0.2.1']);
    assert.deepEqual(ranked(['192.0.2.1'], itself, { preferred: [], bridges }), ['192.0.2.1']);
    const all = ['192.0.2.1', '198.51.100.1'];
    const preferred = ['192.0.2.1'];
    assert.deepEqual(ranked(all, itself, { preferred, bridges }), all);
    assert.deepEqual(ranked([], itself, facts), []);
  });
});

describe('the addresses under which a super-peer lists a member', () => {
  it('P20 begin with the one that its connection comes from, at the port that it listens at', () => {
    const told = [at('10.0.0.5'), at('2001:db8::5')];
    const listed = seenFirst(told, '198.51.100.7', []);
    assert.deepEqual(ipsOf(listed), ['198.51.100.7', '10.0.0.5', '2001:db8::5']);
    assert.ok(listed[0]?.endsWith('/tcp/4242'));
    assert.deepEqual(seenFirst(told, '2001:db8::5', []), [told[1], told[0]]);
    assert.deepEqual(seenFirst(told, undefined, []), told);
  });

  it('P20 stay as told where the connection is from the same machine, or through the service’s own tunnel', () => {
    const told = [at('192.0.2.5')];
    for (const seen of ['127.0.0.1', '::1', 'fe80::1', '0.0.0.0', '100.64.3.4', 'garbage', '']) {
      const virtual = [{ network: '100.64.0.0', length: 16 }];
      assert.deepEqual(seenFirst(told, seen, virtual), told, seen);
    }
    assert.deepEqual(seenFirst([], '198.51.100.7', []), [], 'one that listens nowhere');
  });

  it('P27 are no more than there is room for, and none is lost but the last', () => {
    const told = Array.from({ length: MAX_MULTIADDRS }, (_, i) => at(`10.0.0.${i + 1}`));
    assert.deepEqual(seenFirst(told, '198.51.100.7', []), [
      at('198.51.100.7'),
      ...told.slice(0, -1),
    ]);
  });
});

describe('the ways to a peer', () => {
  const around = {
    ...{ own: ['10.0.2.15', '172.17.0.1'], observed: ['203.0.113.9'] },
    isUnderlay: (each: string) => isUnderlay(each, []),
    isBehindAnother: (each: string) => each === '10.77.0.1',
  };

  it('P20 are in the order told, and never at this machine itself', () => {
    assert.deepEqual(waysTo(['10.0.2.15', '192.168.12.10'], around), ['192.168.12.10']);
    assert.deepEqual(waysTo(['172.17.0.1', '10.0.2.15'], around), []);
    assert.deepEqual(waysTo(['198.51.100.1', '10.5.5.5'], around), ['198.51.100.1', '10.5.5.5']);
  });

  it('P20 are inside where the peer is seen behind the same NAT, if it tells anything else', () => {
    assert.deepEqual(waysTo(['203.0.113.9', '10.0.0.8'], around), ['10.0.0.8']);
    assert.deepEqual(waysTo(['203.0.113.9'], around), ['203.0.113.9']);
  });

  it('P20 are none behind another peer, nor what others cannot use, while there is one that is neither', () => {
    assert.deepEqual(waysTo(['10.77.0.1', '127.0.0.1', '192.0.2.3'], around), ['192.0.2.3']);
    assert.deepEqual(waysTo(['127.0.0.1'], around), ['127.0.0.1']);
    assert.deepEqual(waysTo([], around), []);
  });
});

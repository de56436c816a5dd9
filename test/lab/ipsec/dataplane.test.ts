import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { DataPlane } from '../../../src/ipsec/dataplane.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import { inside } from './inside.ts';

// +-- a ----------------+             +-- b ----------------+
// |  icvpn0 fd00:1::a   |             |  icvpn0 fd00:1::b   |
// |         10.90.0.10  |             |         10.90.0.11  |
// |  192.0.2.1  ========== ESP ==========  192.0.2.2        |
// |  2001:db8::1        |             |  2001:db8::2        |
// +---------------------+             +---------------------+

const PREFIXES = { ipv6: 'fd00:1::/64', ipv4: '10.90.0.0/16' };
const A = { id: 'a', virtualAddresses: { ipv6: 'fd00:1::a', ipv4: '10.90.0.10' } };
const B = { id: 'b', virtualAddresses: { ipv6: 'fd00:1::b', ipv4: '10.90.0.11' } };

function open(ns: Netns, { virtualAddresses }: typeof A, interfaceName = 'icvpn0', ifId = 77) {
  const options = { interfaceName, ifId, virtualAddresses, prefixes: PREFIXES };
  return inside(ns, () => DataPlane.open(options));
}

const keys = () => ({ key: randomBytes(32), salt: randomBytes(4) });

/** What the exchange does, started by a: fresh SPIs and keys for both directions, inbound first, who started it last. */
async function establish(
  planeA: DataPlane,
  planeB: DataPlane,
): Promise<{ toA: number; toB: number }> {
  const toA = await planeA.allocateSpi('b');
  const toB = await planeB.allocateSpi('a');
  const [keysToA, keysToB] = [keys(), keys()];
  await planeA.installInbound('b', toA, keysToA);
  await planeB.installInbound('a', toB, keysToB);
  await planeB.installOutbound('a', toA, keysToA);
  await planeA.installOutbound('b', toB, keysToB);
  return { toA, toB };
}

/** What the kernel holds, without what differs by itself from call to call. */
async function everything(ns: Netns): Promise<string> {
  const parts = [
    ns.ip('xfrm', 'state'),
    ns.ip('xfrm', 'policy'),
    ns.ip('-br', 'link'),
    ns.ip('-br', 'address'),
    ns.ip('route', 'show', 'table', 'all'),
    ns.ip('-6', 'route', 'show', 'table', 'all'),
    ns.run('cat', ['/proc/sys/net/core/xfrm_larval_drop']),
  ];
  // The underlay gets a link-local address when the kernel is done with it.
  const lines = (await Promise.all(parts)).join('\n---\n').split('\n');
  return lines
    .filter((line) => !line.includes('local fe80:'))
    .join('\n')
    .replace(/ fe80:\S+/g, '');
}

async function pair(): Promise<AsyncDisposable & { a: Netns; b: Netns; deviceA: string }> {
  await using stack = new AsyncDisposableStack();
  const a = stack.use(await createNetns('a'));
  const b = stack.use(await createNetns('b'));
  const { deviceA } = await connect(a, b, {
    addressesA: ['192.0.2.1/24', '2001:db8::1/64'],
    addressesB: ['192.0.2.2/24', '2001:db8::2/64'],
  });
  const owned = stack.move();
  return { a, b, deviceA, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const UNDERLAYS = {
  IPv4: { local: '192.0.2.1', remote: '192.0.2.2' },
  IPv6: { local: '2001:db8::1', remote: '2001:db8::2' },
};

describe('data plane', () => {
  for (const [name, underlay] of Object.entries(UNDERLAYS)) {
    it(`P17 carries both families over ${name}, on demand, with no packet in clear`, async () => {
      await using lab = await pair();
      const { a, b, deviceA } = lab;
      await using planeA = await open(a, A);
      await using planeB = await open(b, B);
      await planeA.addPeer(B, underlay);
      await planeB.addPeer(A, { local: underlay.remote, remote: underlay.local });

      const watch = ['-i', deviceA, '-Q', 'out', '-nl', '--immediate-mode', '-Z', 'root'];
      // Neighbour discovery and multicast listeners belong to the underlay itself.
      const notNeighbours = 'not arp and not ip6 multicast and not (icmp6 and ip6[40] >= 133)';
      await using capture = a.start('tcpdump', [...watch, notNeighbours]);
      await capture.said('listening on');

      const acquired = once(planeA, 'acquire');
      const first = a.run('ping', ['-c', '1', '-W', '10', B.virtualAddresses.ipv6]);
      assert.deepEqual(await acquired, ['b']);
      await establish(planeA, planeB);
      assert.match(await first, /1 received/);
      for (const address of Object.values(B.virtualAddresses)) {
        await a.run('ping', ['-c', '3', '-i', '0.01', '-W', '2', address]);
      }
      for (let packet = 0; packet < 7; packet++) {
        assert.match(await capture.line(), /ESP\(spi=0x[0-9a-f]+,seq=0x[0-9a-f]+\)/);
      }
      const counters = await planeA.counters();
      assert.deepEqual(
        counters
          .map(({ peerId, direction, packets }) => ({ peerId, direction, packets }))
          .sort((x, y) => x.direction.localeCompare(y.direction)),
        [
          { peerId: 'b', direction: 'in', packets: 7n },
          { peerId: 'b', direction: 'out', packets: 7n },
        ],
      );
    });
  }

  for (const family of ['ipv6', 'ipv4'] as const) {
    it(`P18 packets over ${family} wait for their SA, all of them, in order`, async () => {
      await using lab = await pair();
      const { a, b } = lab;
      await using planeA = await open(a, A);
      await using planeB = await open(b, B);
      await planeA.addPeer(B, UNDERLAYS.IPv4);
      await planeB.addPeer(A, { local: '192.0.2.2', remote: '192.0.2.1' });
      const child = new URL('udp-child.ts', import.meta.url);
      await using listener = b.node(child, ['listen', B.virtualAddresses[family]]);
      assert.equal(await listener.line(), 'ready');

      const acquired = once(planeA, 'acquire');
      await using sender = a.node(child, ['send', B.virtualAddresses[family], '50']);
      assert.deepEqual(await acquired, ['b']);
      assert.equal(await sender.line(), 'sent');
      await establish(planeA, planeB);
      for (let number = 0; number < 50; number++) {
        assert.equal(await listener.line(), String(number));
      }
    });
  }

  it('P18 packets wait again once the SA is gone, and the peer is asked for again', async () => {
    await using lab = await pair();
    const { a, b } = lab;
    await using planeA = await open(a, A);
    await using planeB = await open(b, B);
    await planeA.addPeer(B, UNDERLAYS.IPv4);
    await planeB.addPeer(A, { local: '192.0.2.2', remote: '192.0.2.1' });
    for (let round = 0; round < 3; round++) {
      const acquired = once(planeA, 'acquire');
      const ping = a.run('ping', ['-c', '1', '-W', '10', B.virtualAddresses.ipv4]);
      assert.deepEqual(await acquired, ['b']);
      const { toA, toB } = await establish(planeA, planeB);
      await ping;
      await planeA.removeSa('b', toB, 'out');
      await planeA.removeSa('b', toA, 'in');
      await planeB.removeSa('a', toB, 'in');
      await planeB.removeSa('a', toA, 'out');
    }
  });

  it('P18 where keys cannot be agreed on, the next packet asks again', async () => {
    await using lab = await pair();
    await using planeA = await open(lab.a, A);
    await planeA.addPeer(B, UNDERLAYS.IPv4);
    for (let round = 0; round < 3; round++) {
      const acquired = once(planeA, 'acquire');
      await lab.a.exec('ping', ['-c', '1', '-W', '0.1', B.virtualAddresses.ipv4]);
      assert.deepEqual(await acquired, ['b']);
      await planeA.rejectAcquire('b');
    }
  });

  it('leaves nothing behind after close, and nothing of others changed', async () => {
    await using lab = await pair();
    const { a, b } = lab;
    const foreign = ['192.0.2.1', 'dst', '192.0.2.9', 'proto', 'esp', 'spi', '0x999'];
    const crypto = ['aead', 'rfc4106(gcm(aes))', `0x${'11'.repeat(20)}`, '128'];
    await a.ip('xfrm', 'state', 'add', 'src', ...foreign, 'mode', 'tunnel', ...crypto);
    await a.ip('xfrm', 'policy', 'add', 'src', '10.7.0.0/16', 'dst', '10.8.0.0/16', 'dir', 'out');
    const before = await everything(a);
    {
      await using planeA = await open(a, A);
      await using planeB = await open(b, B);
      await planeA.addPeer(B, UNDERLAYS.IPv4);
      await planeB.addPeer(A, { local: '192.0.2.2', remote: '192.0.2.1' });
      await establish(planeA, planeB);
      await planeA.allocateSpi('b');
      // A peer that never answers: its larval state waits for 30 s.
      await planeA.addPeer(
        { id: 'c', virtualAddresses: { ipv6: 'fd00:1::c', ipv4: '10.90.0.12' } },
        { local: '192.0.2.1', remote: '192.0.2.3' },
      );
      const acquired = once(planeA, 'acquire');
      await a.exec('ping', ['-c', '1', '-W', '0.1', '10.90.0.12']);
      await acquired;
      assert.notEqual(await everything(a), before);
    }
    assert.equal(await everything(a), before);
  });
});

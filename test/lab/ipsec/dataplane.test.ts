import assert from 'node:assert/strict';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { XfrmClient, type XfrmEvent, XfrmMonitor } from '../../../src/ipsec/xfrm/index.ts';
import { inside } from './inside.ts';
import {
  A,
  B,
  establish,
  everything,
  openPlane,
  retire,
  twoPlanes,
  UNDERLAYS,
  underlay,
  xfrmStat,
} from './planes.ts';

describe('data plane', () => {
  for (const [name, way] of Object.entries(UNDERLAYS)) {
    it(`P17 carries both families over ${name}, on demand, with no packet in clear`, async () => {
      await using lab = await underlay();
      const { a, deviceA } = lab;
      await using planes = await twoPlanes(lab, way);
      const { planeA, planeB } = planes;

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

  it('P16 its SAs have extended sequence numbers and a window of 1,024, as ip xfrm shows them', async () => {
    await using lab = await underlay();
    await using planes = await twoPlanes(lab);
    await establish(planes.planeA, planes.planeB);
    for (const host of [lab.a, lab.b]) {
      const states = (await host.run('ip', ['-d', 'xfrm', 'state'])).split(/^(?=src )/m);
      assert.equal(states.length, 2);
      for (const state of states) {
        assert.match(state, /replay-window 0 .*flag .*esn/);
        assert.match(state, /replay_window 1024/);
      }
    }
  });

  it('P17 closing takes the policies out of the kernel before the states', async () => {
    await using lab = await underlay();
    await using planes = await twoPlanes(lab);
    await establish(planes.planeA, planes.planeB);
    const groups = ['state', 'policy'] as const;
    using monitor = inside(lab.a, () => new XfrmMonitor({ groups }));
    const events: XfrmEvent['type'][] = [];
    const states = new Promise<void>((resolve) => {
      monitor.on('event', ({ type }) => {
        events.push(type);
        if (events.filter((each) => each === 'state-delete').length === 2) resolve();
      });
    });
    await planes.planeA.close();
    await states;
    const deleted = events.filter((type) => type.endsWith('delete'));
    assert.ok(deleted.includes('policy-delete'));
    assert.ok(deleted.lastIndexOf('policy-delete') < deleted.indexOf('state-delete'));
  });

  for (const family of ['ipv6', 'ipv4'] as const) {
    it(`P18 packets over ${family} wait for their SA, all of them, in order`, async () => {
      await using lab = await underlay();
      const { a, b } = lab;
      await using planes = await twoPlanes(lab);
      const { planeA, planeB } = planes;
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
    await using lab = await underlay();
    const { a } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    for (let round = 0; round < 3; round++) {
      const acquired = once(planeA, 'acquire');
      const ping = a.run('ping', ['-c', '1', '-W', '10', B.virtualAddresses.ipv4]);
      assert.deepEqual(await acquired, ['b']);
      const spis = await establish(planeA, planeB);
      await ping;
      await retire(planeA, planeB, spis);
    }
  });

  it('P18 the gate is away while there is an SA, no packet lost as it goes, and back when there is none', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    using client = inside(a, () => new XfrmClient());
    const gates = async () =>
      (await client.policies()).filter(
        ({ direction, ifId }) => direction === 'out' && ifId === undefined,
      );
    assert.equal((await gates()).length, 2);
    const spis = await establish(planeA, planeB);
    {
      await using pings = a.start('ping', ['-i', '0.01', '-W', '2', B.virtualAddresses.ipv4]);
      while ((await gates()).length > 0) await delay(10);
      let sequence = 0;
      const next = async () => Number(/icmp_seq=(\d+)/.exec(await pings.line())?.[1] ?? 0);
      while (sequence < 300) {
        const seen = await next();
        if (seen > 0) assert.equal(seen, ++sequence);
      }
    }
    assert.deepEqual(await gates(), []);

    await retire(planeA, planeB, spis);
    assert.equal((await gates()).length, 2);
    const acquired = once(planeA, 'acquire');
    const waiting = a.run('ping', ['-c', '1', '-W', '10', B.virtualAddresses.ipv4]);
    await acquired;
    await establish(planeA, planeB);
    assert.match(await waiting, /1 received/);
  });

  it('P18 where keys cannot be agreed on, the next packet asks again', async () => {
    await using lab = await underlay();
    await using planeA = await openPlane(lab.a, A);
    await planeA.addPeer(B, UNDERLAYS.IPv4);
    for (let round = 0; round < 3; round++) {
      const acquired = once(planeA, 'acquire');
      await lab.a.exec('ping', ['-c', '1', '-W', '0.1', B.virtualAddresses.ipv4]);
      assert.deepEqual(await acquired, ['b']);
      await planeA.rejectAcquire('b');
    }
  });

  it('P7 what comes through the SA of one member with the address of another is dropped', async () => {
    await using lab = await underlay();
    const { a, b } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    const c = { id: 'c', virtualAddresses: { ipv6: 'fd00:1::c', ipv4: '10.90.0.12' } };
    await planeA.addPeer(c, UNDERLAYS.IPv4);
    await establish(planeA, planeB);
    // b, with a policy of its own making, says that it is c.
    await b.ip('address', 'add', '10.90.0.12/32', 'dev', 'lo');
    using client = inside(b, () => new XfrmClient());
    const out = (await client.policies()).find(
      ({ direction, ifId, selector }) =>
        direction === 'out' && ifId !== undefined && selector.source === '10.90.0.11/32',
    );
    assert.ok(out);
    const { selector, templates, ifId } = out;
    const forged = { ...selector, source: '10.90.0.12/32' };
    await client.addPolicy({ direction: 'out', selector: forged, templates, ifId });
    const drops = async () => /XfrmInTmplMismatch\s+(\d+)/.exec(await xfrmStat(a))?.[1];
    assert.equal(await drops(), '0');
    const ping = ['-c', '2', '-i', '0.01', '-W', '0.2', '-I'];
    const asC = await b.exec('ping', [...ping, '10.90.0.12', '10.90.0.10']);
    assert.match(asC.stdout, /2 packets transmitted, 0 received/);
    assert.equal(await drops(), '2');
    assert.match(await b.run('ping', [...ping, '10.90.0.11', '10.90.0.10']), /2 received/);
  });

  it('P26 the virtual address of a peer, or of this machine, is no other peer’s, whatever it is told', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB);
    const policies = () => a.run('ip', ['xfrm', 'policy']);
    const before = await policies();
    const [mine, its] = [A.virtualAddresses, B.virtualAddresses];
    const free = { ipv6: 'fd00:1::c', ipv4: '10.90.0.12' };
    for (const virtualAddresses of [
      { ...free, ipv4: its.ipv4 },
      { ...free, ipv6: 'FD00:1:0::b' },
      { ...free, ipv4: mine.ipv4 },
      its,
    ]) {
      const impostor = { id: 'c', virtualAddresses };
      const elsewhere = { ...UNDERLAYS.IPv4, remote: '192.0.2.3' };
      await assert.rejects(planeA.addPeer(impostor, elsewhere), { code: 'ERR_PEER_ADDRESS' });
      assert.equal(await policies(), before);
    }
    for (const address of Object.values(its)) {
      assert.match(
        await a.run('ping', ['-c', '2', '-i', '0.01', '-W', '10', address]),
        /2 received/,
      );
    }
    // The first one leaves: the second one may come in.
    const impostor = { id: 'c', virtualAddresses: its };
    await planeA.removePeer('b');
    await planeA.addPeer(impostor, UNDERLAYS.IPv4);
    await planeA.removePeer('c');
    await planeA.addPeer(B, UNDERLAYS.IPv4);
  });

  it('P18 packets wait while any service of a machine is up, whichever goes first', async () => {
    await using lab = await underlay();
    const { a } = lab;
    const dropped = () => a.run('cat', ['/proc/sys/net/core/xfrm_larval_drop']);
    const other = {
      ...{ interfaceName: 'icvpn1', ifId: 78 },
      prefixes: { ipv6: 'fd00:2::/64', ipv4: '10.91.0.0/16' },
    };
    const second = { virtualAddresses: { ipv6: 'fd00:2::a', ipv4: '10.91.0.10' } };
    const before = await everything(a);
    assert.equal(await dropped(), '1\n');
    for (const order of [
      [0, 1],
      [1, 0],
    ] as const) {
      const planes = [await openPlane(a, A), await openPlane(a, second, other)] as const;
      assert.equal(await dropped(), '0\n');
      await planes[order[0]].close();
      assert.equal(await dropped(), '0\n', `${order}`);
      await planes[order[1]].close();
      assert.equal(await everything(a), before);
    }
  });

  it('P13 a peer that chooses an SPI that another has at the same address takes nothing from that one', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    const { toB } = await establish(planeA, planeB);
    const virtualAddresses = { ipv6: 'fd00:1::c', ipv4: '10.90.0.12' };
    await planeA.addPeer({ id: 'c', virtualAddresses }, UNDERLAYS.IPv4);
    const keys = { key: new Uint8Array(32).fill(1), salt: new Uint8Array(4) };
    await assert.rejects(planeA.installOutbound('c', toB, keys), { code: 'ERR_XFRM_EXISTS' });
    // What a run that failed does.
    await planeA.removeSa('c', toB, 'out');
    await a.run('ping', ['-c', '1', '-W', '10', B.virtualAddresses.ipv4]);
    const out = (await planeA.counters()).filter(({ direction }) => direction === 'out');
    assert.deepEqual(
      out.map(({ peerId, spi }) => [peerId, spi]),
      [['b', toB]],
    );
  });

  it('leaves nothing behind after close, and nothing of others changed', async () => {
    await using lab = await underlay();
    const { a } = lab;
    const foreign = ['192.0.2.1', 'dst', '192.0.2.9', 'proto', 'esp', 'spi', '0x999'];
    const crypto = ['aead', 'rfc4106(gcm(aes))', `0x${'11'.repeat(20)}`, '128'];
    await a.ip('xfrm', 'state', 'add', 'src', ...foreign, 'mode', 'tunnel', ...crypto);
    await a.ip('xfrm', 'policy', 'add', 'src', '10.7.0.0/16', 'dst', '10.8.0.0/16', 'dir', 'out');
    const before = await everything(a);
    {
      await using planes = await twoPlanes(lab);
      const { planeA, planeB } = planes;
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

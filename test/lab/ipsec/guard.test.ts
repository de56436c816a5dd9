import assert from 'node:assert/strict';
import { on, once } from 'node:events';
import type { DataPlane } from '../../../src/ipsec/dataplane.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import type { TestProcess } from '../process.ts';
import { captureClear } from './clear-capture.ts';
import {
  A,
  B,
  establish,
  everything,
  foundation,
  openPlane,
  twoPlanes,
  underlay,
} from './planes.ts';

const FLOOD = new URL('flood-child.ts', import.meta.url);
const BOTH = Object.values(B.virtualAddresses);

/** Whatever is not held back has somewhere to go. */
async function addDefaults(a: Netns): Promise<void> {
  await a.ip('route', 'add', 'default', 'via', '192.0.2.2');
  await a.ip('-6', 'route', 'add', 'default', 'via', '2001:db8::2');
}

const pingArguments = (address: string, ...more: string[]) => [
  ...['-c', '3', '-i', '0.02', '-W', '0.3', ...more],
  address,
];

/** Waits until it has tried to send a hundred more. */
async function goOn(floods: readonly TestProcess[]): Promise<void> {
  for (const flood of floods) for (let line = 0; line < 2; line++) await flood.line();
}

describe('guard', function () {
  this.timeout(120_000);

  it('P32 no route, routing rule, mark or socket option takes a packet round the tunnel', async () => {
    await using lab = await underlay();
    const { a, deviceA } = lab;
    await addDefaults(a);
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB);
    await using capture = await captureClear(a, deviceA);
    for (const [family, gateway] of [
      ['-4', '192.0.2.2'],
      ['-6', '2001:db8::2'],
    ] as const) {
      await a.ip(family, 'route', 'add', 'default', 'via', gateway, 'table', '52');
      await a.ip(family, 'rule', 'add', 'pref', '5270', 'lookup', '52');
    }
    for (const address of BOTH) {
      assert.match(await a.run('ping', pingArguments(address)), /3 received/);
      await a.exec('ping', pingArguments(address, '-I', deviceA));
      await a.exec('ping', pingArguments(address, '-m', '7', '-I', deviceA));
    }
    await capture.none('another table, SO_BINDTODEVICE');
    assert.deepEqual(planeA.conflicts, []);
    const conflicts = on(planeA, 'conflicts', { signal: AbortSignal.timeout(60_000) });
    for (const family of ['-4', '-6']) {
      await a.ip(family, 'rule', 'add', 'pref', '5', 'lookup', '52');
    }
    for await (const [rules] of conflicts) if (rules.length === 2) break;
    assert.deepEqual(planeA.conflicts, ['5: from all lookup 52', '-6 5: from all lookup 52']);
    for (const address of BOTH) {
      assert.match((await a.exec('ping', pingArguments(address))).stdout, /0 received/);
    }
    // Also what only has a virtual address as its source.
    await a.exec('ping', pingArguments('192.0.2.2', '-I', A.virtualAddresses.ipv4));
    await a.exec('ping', pingArguments('2001:db8::2', '-I', A.virtualAddresses.ipv6));
    await capture.none('a rule above ours');
  });

  it('P32 a neighbour gets nothing in: not through the SA, and not past it', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using neighbour = await createNetns('n');
    await connect(a, neighbour, {
      addressesA: ['198.51.100.1/24', '2001:db8:9::1/64'],
      addressesB: ['198.51.100.2/24', '2001:db8:9::2/64'],
    });
    await a.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']);
    await a.run('sysctl', ['-qw', 'net.ipv4.conf.all.rp_filter=0']);
    await a.run('sysctl', ['-qw', 'net.ipv4.conf.to-n.rp_filter=0']);
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB);
    await neighbour.ip('route', 'add', '10.90.0.0/16', 'via', '198.51.100.1');
    await neighbour.ip('-6', 'route', 'add', 'fd00:1::/64', 'via', '2001:db8:9::1');
    const sent = async () => (await planeA.counters()).map(({ packets }) => packets);
    const echoes = async () => {
      const all = await a.run('cat', ['/proc/net/snmp6', '/proc/net/snmp']);
      const [, names = '', values = ''] = /^(Icmp: In.*)\n(Icmp: .*)$/m.exec(all) ?? [];
      const ipv4 = values.split(' ')[names.split(' ').indexOf('InEchos')];
      return [ipv4, /Icmp6InEchos\s+(\d+)/.exec(all)?.[1]];
    };
    const before = [await sent(), await echoes()];
    const say = async (as: typeof A, to: typeof A) => {
      for (const family of ['ipv4', 'ipv6'] as const) {
        const own = as.virtualAddresses[family];
        await neighbour.ip('address', 'add', own, 'dev', 'lo');
        await neighbour.exec('ping', pingArguments(to.virtualAddresses[family], '-I', own));
        await neighbour.ip('address', 'delete', own, 'dev', 'lo');
      }
    };
    await say(A, B); // through a's SA, as a
    await say(B, A); // to a, as b
    // To a's own address on this network, as b: no virtual address is asked for, one is claimed.
    await say(B, { ...A, virtualAddresses: { ipv4: '198.51.100.1', ipv6: '2001:db8:9::1' } });
    for (const address of Object.values(A.virtualAddresses)) {
      await neighbour.exec('ping', pingArguments(address)); // as itself
    }
    for (const address of BOTH) await neighbour.exec('ping', pingArguments(address));
    assert.deepEqual([await sent(), await echoes()], before);
    // The counters do count.
    for (const address of ['198.51.100.1', '2001:db8:9::1']) {
      assert.match(await neighbour.run('ping', pingArguments(address)), /3 received/);
    }
    assert.notDeepEqual(await echoes(), before[1]);
  });

  it('P17 sockets that go on sending send nothing in clear: stop, start, end; the guard stays for them', async () => {
    await using lab = await underlay();
    const { a, deviceA } = lab;
    await addDefaults(a);
    const before = await everything(a);
    const first = await openPlane(a, A);
    await using capture = await captureClear(a, deviceA);
    await using stack = new AsyncDisposableStack();
    const floods = (['ipv4', 'ipv6'] as const).map((family) =>
      stack.use(a.node(FLOOD, [A.virtualAddresses[family], B.virtualAddresses[family]])),
    );
    await goOn(floods);
    assert.deepEqual(await first.close({ keepGuard: true }), { kept: true, sockets: 1 });
    await goOn(floods);
    await capture.none('a stop');
    const again = await openPlane(a, A);
    await again.addPeer(B, { local: '192.0.2.1', remote: '192.0.2.2' });
    await goOn(floods);
    await capture.none('a start');
    assert.deepEqual(await again.close(), { kept: true, sockets: 1 });
    await goOn(floods);
    await capture.none('the end');
    await stack.disposeAsync();
    const last = await openPlane(a, A);
    assert.deepEqual(await last.close(), { kept: false, sockets: 0 });
    assert.equal(await everything(a), before);
  });

  it('P31 what others change of interface, addresses, routes, rules and nftables is put back', async () => {
    await using lab = await underlay();
    const { a, deviceA } = lab;
    await addDefaults(a);
    await using planes = await twoPlanes(lab);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB);
    const intended = await sorted(a);
    await using capture = await captureClear(a, deviceA);
    const table = String((77 | 0x8000_0000) >>> 0);
    const changes: readonly (readonly [what: string, ...command: string[]])[] = [
      ['the interface down', 'ip', 'link', 'set', 'icvpn0', 'down'],
      ['the interface deleted', 'ip', 'link', 'delete', 'icvpn0'],
      ['an IPv4 address deleted', 'ip', 'address', 'delete', '10.90.0.10/32', 'dev', 'icvpn0'],
      ['addresses flushed', 'ip', 'address', 'flush', 'dev', 'icvpn0'],
      ['a route deleted', 'ip', 'route', 'delete', '10.90.0.0/16', 'table', table],
      ['a table flushed', 'ip', '-6', 'route', 'flush', 'table', table],
      ['a refusal deleted', 'ip', '-6', 'rule', 'delete', 'pref', '75'],
      ['a rule deleted', 'ip', 'rule', 'delete', 'pref', '72'],
      ['the interface under another name', 'ip', 'link', 'set', 'icvpn0', 'down', 'name', 'x0'],
      ['nftables flushed', 'nft', 'flush', 'ruleset'],
    ];
    const floods = BOTH.map((address) => a.start('ping', ['-q', '-i', '0.01', address]));
    for (const [what, file = '', ...args] of changes) {
      await a.run(file, args);
      await restored(planeA, a, intended);
      await capture.none(what);
      for (const address of BOTH) {
        assert.match(await a.run('ping', ['-c', '1', '-W', '10', address]), /1 received/, what);
      }
    }
    for (const flood of floods) await flood[Symbol.asyncDispose]();
  });

  it('P31 where it does not stay the plane says so, and again once it does', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using plane = await openPlane(a, A);
    const said = once(plane, 'soundness', { signal: AbortSignal.timeout(60_000) });
    {
      const flush = 'while :; do nft flush ruleset; sleep 0.05; done';
      await using fight = a.start('sh', ['-c', flush]);
      assert.ok(fight.pid);
      assert.match(String(await said), /again and again/);
      assert.ok(plane.unsound);
    }
    const [why] = await once(plane, 'soundness', { signal: AbortSignal.timeout(60_000) });
    assert.equal(why, undefined);
    assert.match(await a.run('nft', ['list', 'tables']), /icvpn_guard_0000004d/);
  });
});

/** What comes back may do so in another order. */
const sorted = async (ns: Netns): Promise<string> =>
  (await foundation(ns)).split('\n').sort().join('\n');

async function restored(plane: DataPlane, ns: Netns, intended: string): Promise<void> {
  const repairs = on(plane, 'repaired', { signal: AbortSignal.timeout(60_000) });
  while ((await sorted(ns)) !== intended) {
    // It may have been repaired before anybody listened.
    await Promise.race([repairs.next(), new Promise((resolve) => setTimeout(resolve, 200))]);
  }
}

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { IcvpnError } from '../../../src/errors.ts';
import { DataPlane } from '../../../src/ipsec/dataplane.ts';
import { createNetns, type Netns } from '../netns.ts';
import { inside, nftIn } from './inside.ts';
import { A, B, everything, OPTIONS, openPlane, UNDERLAYS, underlay } from './planes.ts';

/** Something that is in the way, and what the data plane says to it. */
const IN_THE_WAY: readonly (readonly [string, (ns: Netns) => Promise<unknown>, string])[] = [
  [
    'an interface of the name',
    (ns) => ns.ip('link', 'add', 'icvpn0', 'type', 'dummy'),
    'ERR_INTERFACE_IN_USE',
  ],
  [
    'an xfrm interface of the name and if_id that is not ours',
    (ns) => ns.ip('link', 'add', 'icvpn0', 'type', 'xfrm', 'if_id', '77'),
    'ERR_INTERFACE_IN_USE',
  ],
  [
    'an interface of the if_id',
    (ns) => ns.ip('link', 'add', 'other0', 'type', 'xfrm', 'if_id', '77'),
    'ERR_IF_ID_IN_USE',
  ],
  [
    'the virtual IPv4 address',
    (ns) => ns.ip('address', 'add', '10.90.0.10/24', 'dev', 'lo'),
    'ERR_ADDRESS_IN_USE',
  ],
  [
    'the virtual IPv6 address',
    (ns) => ns.ip('address', 'add', 'fd00:1::a/128', 'dev', 'lo'),
    'ERR_ADDRESS_IN_USE',
  ],
  [
    'a route to the prefix',
    (ns) => ns.ip('route', 'add', '10.90.0.0/16', 'dev', 'lo'),
    'ERR_PREFIX_IN_USE',
  ],
  [
    'P26 an address inside the prefix',
    (ns) => ns.ip('address', 'add', '10.90.7.7/32', 'dev', 'lo'),
    'ERR_PREFIX_IN_USE',
  ],
  [
    'P26 a route to a part of the prefix',
    (ns) => ns.ip('route', 'add', '10.90.3.0/24', 'dev', 'lo'),
    'ERR_PREFIX_IN_USE',
  ],
  [
    'P26 a route to more than the prefix',
    (ns) => ns.ip('route', 'add', '10.0.0.0/8', 'dev', 'lo'),
    'ERR_PREFIX_IN_USE',
  ],
  [
    'P26 a route to a part of the IPv6 prefix',
    (ns) => ns.ip('-6', 'route', 'add', 'fd00:1::4000/114', 'dev', 'lo'),
    'ERR_PREFIX_IN_USE',
  ],
];

describe('what a data plane refuses', () => {
  for (const [what, make, code] of IN_THE_WAY) {
    it(`${what} is in use: an error that says so, and nothing is changed`, async () => {
      await using ns = await createNetns('a');
      await make(ns);
      const before = await everything(ns);
      await assert.rejects(openPlane(ns, A), (error) => {
        assert.ok(error instanceof Error && 'code' in error && 'remedy' in error);
        assert.equal(error.code, code);
        return true;
      });
      assert.equal(await everything(ns), before);
    });
  }

  it('without the capability it says that root is needed', async () => {
    await using ns = await createNetns('a');
    const child = new URL('open-child.ts', import.meta.url).pathname;
    const run = (...before: string[]) => {
      const [file = '', ...args] = [...before, process.execPath, child];
      return ns.run(file, args);
    };
    assert.equal(await run(), 'open 0\n');
    const without = ['--bounding-set=-net_admin', '--inh-caps=-net_admin'];
    assert.equal(await run('setpriv', ...without), 'ERR_NOT_ROOT\n');
  });

  it('P26 what overlaps the prefix is named; default routes, and those that refuse, do not count', async () => {
    await using ns = await createNetns('a');
    await ns.ip('link', 'add', 'cloud0', 'type', 'dummy');
    await ns.ip('link', 'set', 'cloud0', 'up');
    await ns.ip('address', 'add', '192.0.2.9/24', 'dev', 'cloud0');
    for (const half of ['0.0.0.0/1', '128.0.0.0/1', 'default']) {
      await ns.ip('route', 'add', half, 'via', '192.0.2.1');
    }
    await ns.ip('route', 'add', 'unreachable', '10.0.0.0/8');
    const plane = await openPlane(ns, A);
    assert.deepEqual(await plane.overlaps(), []);
    await ns.ip('route', 'add', '10.90.3.0/24', 'via', '192.0.2.1');
    const what =
      "route 10.90.3.0/24 via 192.0.2.1 on cloud0 overlaps the service's prefix 10.90.0.0/16";
    assert.deepEqual(await plane.overlaps(), [what]);
    await plane.close();
    await assert.rejects(openPlane(ns, A), { code: 'ERR_PREFIX_IN_USE', message: what });
  });

  it('P34 IPv6 that is off is named, with its sysctl, before anything is begun', async () => {
    await using ns = await createNetns('a');
    await ns.run('sysctl', ['-qw', 'net.ipv6.conf.all.disable_ipv6=1']);
    const { interfaceName, ifId } = OPTIONS;
    const probed = inside(ns, () => DataPlane.probe({ interfaceName, ifId }));
    await assert.rejects(probed, (error) => {
      assert.ok(error instanceof IcvpnError && error.code === 'ERR_IPV6_OFF');
      assert.match(error.remedy, /sysctl -w net\.ipv6\.conf\.default\.disable_ipv6=0/);
      return true;
    });
  });

  it('an aborted start leaves nothing', async () => {
    await using ns = await createNetns('a');
    const before = await everything(ns);
    const { virtualAddresses } = A;
    for (let moment = 0; moment < 8; moment++) {
      const abort = new AbortController();
      const { signal } = abort;
      const opened = inside(ns, () =>
        DataPlane.open({ ...OPTIONS, nft: nftIn(ns), virtualAddresses, signal }),
      );
      for (let turn = 0; turn < moment * 3; turn++) await new Promise(setImmediate);
      abort.abort(new Error('enough'));
      await opened.then(
        (plane) => plane.close(),
        (error: unknown) => assert.match(String(error), /enough/),
      );
      assert.equal(await everything(ns), before);
    }
  });

  it('a peer that is there, one that is not, and what comes after close', async () => {
    await using ns = await createNetns('a');
    const plane = await openPlane(ns, A);
    await plane.addPeer(B, UNDERLAYS.IPv4);
    await assert.rejects(plane.addPeer(B, UNDERLAYS.IPv4), { code: 'ERR_PEER_EXISTS' });
    await assert.rejects(plane.allocateSpi('nobody'), { code: 'ERR_UNKNOWN_PEER' });
    const short = { key: new Uint8Array(31), salt: new Uint8Array(4) };
    const spi = await plane.allocateSpi('b');
    await assert.rejects(plane.installInbound('b', spi, short), { code: 'ERR_NETLINK_VALUE' });
    await plane.close();
    await plane.close();
    await assert.rejects(plane.allocateSpi('b'), { code: 'ERR_DATA_PLANE_CLOSED' });
  });
});

describe('lost events', () => {
  it('P18 an ACQUIRE among them is found in the kernel', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await using plane = await openPlane(a, A);
    await plane.addPeer(B, UNDERLAYS.IPv4);
    const acquired = once(plane, 'acquire');
    // While this process is busy 8,000 policies expire, more than its buffer holds, and then a
    // packet wants to go to b.
    const policies = Array.from({ length: 8000 }, (_, n) => {
      const selector = `src 10.7.0.0/16 dst 10.8.${n >> 8}.${n & 255}/32 dir out`;
      return `xfrm policy add ${selector} limit time-hard 1\n`;
    });
    const file = `/tmp/${a.name}.batch`;
    await writeFile(file, policies.join(''));
    const busy = [
      `ip -n ${a.name} -batch ${file}; rm ${file}`,
      `while ip -n ${a.name} xfrm policy | grep -q 10.7.0.0; do :; done`,
      `ip netns exec ${a.name} ping -c 1 -W 0.1 ${B.virtualAddresses.ipv4}`,
    ];
    execFileSync('sh', ['-c', `${busy.join('; ')}; true`], { stdio: 'ignore' });
    assert.deepEqual(await acquired, ['b']);
  });
});

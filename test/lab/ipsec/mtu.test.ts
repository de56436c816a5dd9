import assert from 'node:assert/strict';
import { connect, createNetns, type Netns } from '../netns.ts';
import { B, establish, type Lab, twoPlanes } from './planes.ts';

// +-- a --+             +-- router --+             +-- b --+
// |       ===== 1500 =====          ===== 1400 =====       |
// +-------+             +------------+             +-------+
//
// a does not see the narrow link; only the router can tell it.

async function narrow(): Promise<Lab> {
  await using stack = new AsyncDisposableStack();
  const [a, router, b] = await Promise.all(['a', 'router', 'b'].map(createNetns));
  assert.ok(a && router && b);
  for (const ns of [a, router, b]) stack.use(ns);
  const { deviceA } = await connect(a, router, {
    addressesA: ['192.0.2.1/30', '2001:db8:1::1/64'],
    addressesB: ['192.0.2.2/30', '2001:db8:1::2/64'],
  });
  await connect(router, b, {
    addressesA: ['192.0.2.5/30', '2001:db8:2::1/64'],
    addressesB: ['192.0.2.6/30', '2001:db8:2::2/64'],
    mtu: 1400,
  });
  for (const sysctl of ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']) {
    await router.run('sysctl', ['-q', '-w', sysctl]);
  }
  await defaultVia(a, '192.0.2.2', '2001:db8:1::2');
  await defaultVia(b, '192.0.2.5', '2001:db8:2::1');
  const owned = stack.move();
  return { a, b, deviceA, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function defaultVia(ns: Netns, ipv4: string, ipv6: string): Promise<void> {
  await ns.ip('route', 'add', 'default', 'via', ipv4);
  await ns.ip('-6', 'route', 'add', 'default', 'via', ipv6);
}

const WAYS = {
  IPv4: { local: '192.0.2.1', remote: '192.0.2.6' },
  IPv6: { local: '2001:db8:1::1', remote: '2001:db8:2::2' },
};

describe('path MTU', () => {
  for (const outer of ['IPv4', 'IPv6'] as const) {
    for (const inner of ['ipv4', 'ipv6'] as const) {
      for (const encapsulated of [false, true]) {
        const what = `${inner} in ${outer}${encapsulated ? ' and UDP' : ''}`;
        const udp = encapsulated ? { localPort: 4500, remotePort: 4500 } : undefined;
        it(`a TCP stream passes it too: ${what}`, async () => {
          await using lab = await narrow();
          await using planes = await twoPlanes(lab, WAYS[outer], udp);
          await establish(planes.planeA, planes.planeB, { a: udp, b: udp });
          const child = new URL('tcp-child.ts', import.meta.url);
          const address = B.virtualAddresses[inner];
          await using listener = lab.b.node(child, ['listen', address]);
          assert.equal(await listener.line(), 'ready');
          await using sender = lab.a.node(child, ['send', address, '2000000']);
          assert.equal(await listener.line(), '2000000');
          assert.equal(await sender.ended(), 0);
        });

        it(`a ping of 1,500 bytes passes a link of 1,400 unseen from here: ${what}`, async () => {
          await using lab = await narrow();
          await using planes = await twoPlanes(lab, WAYS[outer], udp);
          await establish(planes.planeA, planes.planeB, { a: udp, b: udp });
          const header = inner === 'ipv4' ? 28 : 48;
          const size = ['-s', `${1500 - header}`];
          // The first ones are lost to learning, which takes a busy machine a while between them; a black hole
          // would swallow them all.
          const ping = ['-c', '12', '-i', '0.3', '-W', '2', ...size];
          const { stdout } = await lab.a.exec('ping', [...ping, B.virtualAddresses[inner]]);
          const received = Number(/(\d+) received/.exec(stdout)?.[1]);
          assert.ok(received >= 4, stdout);
        });
      }
    }
  }
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { SaCounters } from '../../../src/ipsec/dataplane.ts';
import { A, B, establish, openPlane, twoPlanes, UNDERLAYS, underlay } from './planes.ts';

const udp = { localPort: 4500, remotePort: 4600 };
const ports = { a: udp, b: { localPort: 4600, remotePort: 4500 } };

const spisOf = (all: readonly SaCounters[]): number[] => all.map(({ spi }) => spi).sort();

describe('ESP in UDP', () => {
  for (const [name, ends] of Object.entries(UNDERLAYS)) {
    it(`carries both families over ${name}, with no packet in clear`, async () => {
      await using lab = await underlay();
      await using planes = await twoPlanes(lab, ends, udp);
      const { planeA, planeB } = planes;
      const watch = ['-i', lab.deviceA, '-Q', 'out', '-nl', '--immediate-mode', '-Z', 'root'];
      const notNeighbours = 'not arp and not ip6 multicast and not (icmp6 and ip6[40] >= 133)';
      await using capture = lab.a.start('tcpdump', [...watch, notNeighbours]);
      await capture.said('listening on');
      await establish(planeA, planeB, ports);
      for (const address of Object.values(B.virtualAddresses)) {
        await lab.a.run('ping', ['-c', '3', '-i', '0.01', '-W', '2', address]);
      }
      for (let packet = 0; packet < 6; packet++) {
        const line = await capture.line();
        assert.match(line, /\.4500 > \S+\.4600: (UDP-encap: ESP|UDP, length)/);
      }
    });
  }

  it('MAPPING tells of the address and port that a NAT gives', async () => {
    await using lab = await underlay();
    const { a } = lab;
    await a.run('nft', ['add table ip nat']);
    await a.run('nft', ['add chain ip nat out { type nat hook postrouting priority 100; }']);
    await a.run('nft', ['add rule ip nat out udp dport 4600 snat to 192.0.2.1:10000']);
    await using planes = await twoPlanes(lab, UNDERLAYS.IPv4, udp);
    const { planeA, planeB } = planes;
    await establish(planeA, planeB, ports);
    const mapping = once(planeB, 'mapping');
    await a.exec('ping', ['-c', '1', '-W', '0.2', B.virtualAddresses.ipv4]);
    assert.deepEqual(await mapping, [{ peerId: 'a', remote: '192.0.2.1', remotePort: 10_000 }]);

    // Told so, b answers to where a can be reached, by the SAs that there are.
    const before = await planeB.counters();
    await planeB.remap('a', 10_000);
    await a.run('ping', ['-c', '1', '-W', '2', B.virtualAddresses.ipv4]);
    const after = await planeB.counters();
    assert.deepEqual(spisOf(after), spisOf(before));
    const [inbound] = after.filter(({ direction }) => direction === 'in');
    assert.equal(inbound?.packets, 2n, 'counters go on');
    assert.equal(await planeB.packets('a', inbound?.spi ?? 0, 'in'), 2n);
    assert.equal(await planeB.packets('a', 0x9999, 'in'), undefined);
  });

  it('tells a NAT that its mapping is in use, by one byte', async () => {
    for (const [name, ends] of Object.entries(UNDERLAYS)) {
      await using lab = await underlay();
      await using planes = await twoPlanes(lab, ends, udp);
      const watch = ['-i', lab.deviceA, '-Q', 'out', '-nlx', '--immediate-mode', '-Z', 'root'];
      await using capture = lab.a.start('tcpdump', [...watch, 'udp']);
      await capture.said('listening on');
      planes.planeA.keepalive('b', 4600);
      const line = await capture.line();
      assert.match(line, /\.4500 > \S+\.4600: (isakmp-nat-keep-alive|UDP, length 1)/, name);
    }
  });

  it('a port in use is an error that says so, and leaves nothing', async () => {
    await using lab = await underlay();
    await using first = await openPlane(lab.a, A, { udpPort: 4500 });
    assert.ok(first);
    await assert.rejects(openPlane(lab.a, B, { udpPort: 4500 }), {
      code: 'ERR_PORT_IN_USE',
    });
  });
});

/**
 * What `main.ts` runs in the lab.
 *
 * ```
 *  +-- a ------------------------+              +-- b ------------------------+
 *  |  icvpn0     10.90.0.10      |              |  icvpn0     10.90.0.11      |   icvpn: xfrm interface
 *  |  icvpn1     10.93.0.10      |              |  icvpn1     10.93.0.11      |   the same, ESP in UDP
 *  |  lo         10.91.0.10      |              |  lo         10.91.0.11      |   strongSwan: policies alone
 *  |  ipsec0     10.92.0.10      |              |  ipsec0     10.92.0.11      |   strongSwan: xfrm interface
 *  |  192.0.2.1  ==================== ESP ====================  192.0.2.2     |
 *  +-----------------------------+              +-----------------------------+
 * ```
 *
 * All with AES-256-GCM, ESN and a replay window of 1,024 packets, in turns within each round.
 */
import { generateKeyPairSync } from 'node:crypto';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { A, B, establish, type Lab, twoPlanes, underlay } from '../../test/lab/ipsec/planes.ts';
import type { Netns } from '../../test/lab/netns.ts';
import { print } from '../admission/whole-world.ts';
import { median, percentile, round, sum } from '../statistics.ts';
import { establishInUdp } from './in-udp.ts';
import { installTimes } from './install.ts';
import { charons, firstAnswer, type Subject, startMembers } from './on-demand.ts';
import { type Charon, startCharon } from './strongswan.ts';
import { pings, throughput, type Way } from './traffic.ts';

const ROUNDS = Number(process.argv[2] ?? 5);
/** Short rounds and many: the ways differ by less than what else the machine does. */
const TRAFFIC_ROUNDS = 4 * ROUNDS;
const SECONDS = 1;
const PINGS = 250;
/** Times that SAs are set up on demand in each round; the first round, not counted, warms Node up. */
const DEMANDS = 10;
/** As the data plane sets it on its own interface. */
const MTU = '1400';

async function startCharons(
  { a, b }: Lab,
  dir: string,
  stack: AsyncDisposableStack,
): Promise<readonly [Charon, Charon]> {
  const keys = { a: generateKeyPairSync('ed25519'), b: generateKeyPairSync('ed25519') };
  const start = async (ns: Netns, id: 'a' | 'b'): Promise<Charon> => {
    const [own, peer] = id === 'a' ? [1, 2] : [2, 1];
    const peerId = id === 'a' ? 'b' : 'a';
    const [host, peerHost] = [9 + own, 9 + peer];
    const device = `to-${peerId}`;
    await ns.ip('address', 'add', `10.91.0.${host}/32`, 'dev', 'lo');
    await ns.ip('link', 'add', 'ipsec0', 'type', 'xfrm', 'dev', device, 'if_id', '92');
    await ns.ip('link', 'set', 'ipsec0', 'mtu', MTU, 'up');
    await ns.ip('address', 'add', `10.92.0.${host}/24`, 'dev', 'ipsec0');
    // Charon would do it too, in a table that `ip route` does not show.
    await ns.ip('route', 'add', `10.91.0.${peerHost}`, 'dev', device, 'src', `10.91.0.${host}`);
    return stack.use(
      await startCharon({
        ...{ ns, id, peerId, local: `192.0.2.${own}`, remote: `192.0.2.${peer}` },
        ...{ dir: join(dir, id), key: keys[id], peerKey: keys[peerId].publicKey },
        children: [
          { name: 'net', own: `10.91.0.${host}`, peer: `10.91.0.${peerHost}` },
          { name: 'interface', own: `10.92.0.${host}`, peer: `10.92.0.${peerHost}`, ifId: 92 },
        ],
      }),
    );
  };
  await mkdir(join(dir, 'a'));
  await mkdir(join(dir, 'b'));
  return [await start(a, 'a'), await start(b, 'b')];
}

type Ways = Readonly<Record<string, Way>>;
const ICVPN: Way = { from: A.virtualAddresses.ipv4, to: B.virtualAddresses.ipv4 };
const STRONGSWAN = {
  strongswan: { from: '10.91.0.10', to: '10.91.0.11' },
  strongswanInterface: { from: '10.92.0.10', to: '10.92.0.11' },
};

/** Throughput and round trip by each way, in turns. */
async function traffic({ a, b }: Lab, ways: Ways) {
  const found = Object.entries(ways).map(([name, way]) => ({
    ...{ name, way, mbit: [] as number[], rtt: [] as number[] },
  }));
  // The first packet by strongSwan's interface is lost to setting the SA up.
  for (const { to } of Object.values(ways)) await a.exec('ping', ['-c', '3', to]);
  const inTurns = async (key: 'mbit' | 'rtt', measure: (way: Way) => Promise<number>) => {
    // Rounds below 0 fill caches.
    for (let n = -1; n < TRAFFIC_ROUNDS; n++) {
      for (const each of n % 2 === 0 ? found : found.toReversed()) {
        const value = await measure(each.way);
        if (n >= 0) each[key].push(value);
      }
    }
  };
  await inTurns('mbit', ({ to }) => throughput(a, b, to, SECONDS));
  await inTurns('rtt', async (way) => median(await pings(a, way, PINGS)));
  const [first] = found;
  // By round, so that what disturbs a round disturbs both.
  const ratio = (key: 'mbit' | 'rtt', other: (typeof found)[number]): number =>
    median((first?.[key] ?? []).map((value, i) => value / (other[key][i] ?? Number.NaN)));
  return found.map((each) => ({
    ...{ what: `traffic, ${each.name}`, n: TRAFFIC_ROUNDS },
    mbitPerSecond: round(median(each.mbit), 0),
    pingMs: round(median(each.rtt), 4),
    icvpnThroughputTimes: round(ratio('mbit', each), 3),
    icvpnPingTimes: round(ratio('rtt', each), 3),
  }));
}

/** First packet to first answer, and what the set-up costs the daemons. */
async function onDemand(ns: Netns, subjects: Readonly<Record<string, Subject>>) {
  const found = Object.entries(subjects).map(([name, subject]) => ({
    ...{ name, subject, ms: [] as number[], cpu: [] as number[] },
  }));
  for (const { subject } of found) await pings(ns, subject.way, 1);
  for (let n = -1; n < ROUNDS; n++) {
    for (const each of found) {
      for (let demand = 0; demand < DEMANDS; demand++) {
        const { ms, cpuSeconds } = await firstAnswer(ns, each.subject);
        if (n < 0) continue;
        each.ms.push(ms);
        each.cpu.push(cpuSeconds);
      }
    }
  }
  return found.map(({ name, ms, cpu }) => ({
    ...{ what: `first answer, ${name}`, n: ms.length },
    // strongSwan's have two heights (docs/benchmarks.md), and a median is the one or the other.
    meanMs: round(sum(ms) / ms.length, 2),
    medianMs: round(median(ms), 2),
    p10Ms: round(percentile(ms, 10), 2),
    p90Ms: round(percentile(ms, 90), 2),
    // Both ends together; one handshake takes half of it of each.
    handshakesPerCpuSecondAndEnd: round((2 * cpu.length) / sum(cpu), 0),
  }));
}

async function installs(ns: Netns, dir: string) {
  const results: object[] = [];
  for (const count of [1, 1000]) {
    const found: { icvpn: number; ipBatch: number }[] = [];
    for (let n = -1; n < ROUNDS; n++) {
      const times = await installTimes(ns, dir, count);
      if (n >= 0) found.push(times);
    }
    results.push({
      ...{ what: `install ${count} pairs of SAs`, n: ROUNDS },
      medianMs: round(median(found.map(({ icvpn }) => icvpn)), 2),
      ipBatchMs: round(median(found.map(({ ipBatch }) => ipBatch)), 2),
    });
  }
  return results;
}

await using stack = new AsyncDisposableStack();
const dir = await mkdtemp(join(tmpdir(), 'icvpn-ipsec-'));
stack.defer(() => rm(dir, { recursive: true }));
const lab = stack.use(await underlay());
const installed = await installs(lab.a, dir);
console.error(JSON.stringify(installed));
const daemons = await startCharons(lab, dir, stack);
const results: object[] = [];
{
  await using planes = await twoPlanes(lab);
  await establish(planes.planeA, planes.planeB);
  await using second = new AsyncDisposableStack();
  const inUdp = await establishInUdp(lab, second);
  const own = { icvpn: ICVPN, 'icvpn, in UDP': inUdp };
  results.push(...(await traffic(lab, { ...own, ...STRONGSWAN })));
  console.error(JSON.stringify(results));
}
const members = await startMembers(lab.a, lab.b, ICVPN, stack);
results.push(
  ...(await onDemand(lab.a, {
    'icvpn, connection there': members.connected,
    'icvpn, connection too': members.cold,
    'strongSwan, IKE_SA there': charons(daemons, STRONGSWAN.strongswan, { keepIke: true }),
    'strongSwan, IKE_SA too': charons(daemons, STRONGSWAN.strongswan, { keepIke: false }),
  })),
);
const [strongswan] = (await daemons[0].swanctl('--version', '--daemon')).trim().split('\n');
print({ kernel: release(), strongswan, cipher: 'aes256gcm16' }, [...results, ...installed]);

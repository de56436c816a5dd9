/**
 * Discovery from end to end: node benchmarks/discovery/main.ts [n] [members] [added round trip]
 *
 * One super-peer and one member in one process, each with its own libp2p host; TCP, Noise and Yamux are
 * real, connections are there before the clock starts. Lists of 25 and 250 members; without delay, and
 * through a relay that makes a round trip 1, 20 or 100 ms longer. Prints JSON, times in milliseconds.
 */
import { AbeDiscovery } from './abe.ts';
import { Network } from './network.ts';
import { PkiMember, PkiSuperPeer } from './pki.ts';
import { type Samples, sample } from './samples.ts';

const n = Number(process.argv[2] ?? 30);
/** Members that never discovered before are made anew for each run. */
const FIRST = Math.min(n, 10);
const PING_RUNS = 5;
const SIZES = process.argv[3] ? [Number(process.argv[3])] : [25, 250];
const RTTS = process.argv[4] ? [Number(process.argv[4])] : [0, 1, 20, 100];

/** What the paper reports, in milliseconds, from its own test bed, which is not rebuilt here. */
const PAPER = { functionalEncryption: 338.81, pki: 1313.52 };

async function measurePki(network: Network, members: number, rtt: number) {
  const { host, gate } = await network.requester();
  const at = await network.at(rtt);
  // Through the gate, as the other one's: connections of strangers are not kept.
  await gate.admit(at);
  const pings: number[] = [];
  for (let i = 0; i < PING_RUNS; i++) {
    pings.push(await host.libp2p.services.ping.ping(network.superPeer.id));
  }
  const superPeer = await PkiSuperPeer.start(network.host, members);
  const member = await PkiMember.enrol({ host, at, ca: superPeer.certificate });
  const run = (before?: () => void, each = true): Promise<Samples> =>
    sample(n, {
      ...(before && { before }),
      work: async () => {
        const count = await member.discover(each);
        if (count !== members) throw new Error(`${count} members, not ${members}`);
      },
    });
  const results = {
    'PKI: revocation list at hand': await run(),
    'PKI: revocation list fetched': await run(() => member.forgetRevocations()),
    'PKI: list at hand, the reply vouches for certificates': await run(undefined, false),
  };
  await network.host.libp2p.unhandle('/icvpn-benchmark/pki/1.0.0');
  return { ping: Math.min(...pings), results };
}

const results: object[] = [];
let keysPerSecond: object | undefined;
for (const members of SIZES) {
  for (const addedRoundTrip of RTTS) {
    await using network = await Network.start(members);
    await using abe = await AbeDiscovery.start(network);
    const lists = await abe.measure(n, addedRoundTrip, members);
    const first = await abe.measureFirst(FIRST, addedRoundTrip);
    const pki = await measurePki(network, members, addedRoundTrip);
    const cases = {
      'CP-ABE, first discovery: key issued, sealed, opened': first,
      ...lists,
      ...pki.results,
    };
    for (const [what, samples] of Object.entries(cases)) {
      results.push({ members, addedRoundTrip, what, ...samples });
    }
    process.stderr.write(`${members} members, ${addedRoundTrip} ms: ping ${pki.ping} ms; done\n`);
    keysPerSecond ??= await abe.keysPerSecond(n);
  }
}
console.log(
  JSON.stringify({ node: process.version, paper: PAPER, keysPerSecond, results }, undefined, 2),
);

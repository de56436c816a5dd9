/**
 * One service as it grows, all of its control planes in this process (host, gate, directory; no tier 2): what a
 * join costs those that are there, and what it costs when half of the members lose their super-peer.
 *
 *     node benchmarks/overlay/scale.ts [sizes=10,100,1000]
 *
 * Prints JSON. Counts do not depend on the machine. Times do, and are of a process that is hundreds of nodes:
 * `cpuMs` is processor time of all of them together.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Enrolled, MeasuredService } from './service.ts';

const [sizes = '10,100,1000'] = process.argv.slice(2);
/** Joins measured one at a time. */
const JOINS = 5;
/** Milliseconds until all lists are whole. */
const SETTLE_LIMIT = 120_000;

const service = await MeasuredService.start(2, 0, false);
const results: object[] = [];
for (const n of sizes.split(',').map(Number)) {
  await service.enrol(n - JOINS - service.members.length);
  await settled();
  results.push({ members: n, ...(await measureJoins()) });
}
const failover = await measureFailover();
console.log(JSON.stringify({ failover, results }));
process.exit(0);

async function settled(): Promise<void> {
  const limit = AbortSignal.timeout(SETTLE_LIMIT);
  const whole = ({ node }: Enrolled): boolean =>
    node.directory.members().length === service.members.length;
  while (!service.members.every(whole)) await sleep(100, undefined, { signal: limit });
}

function reset(): void {
  service.signatures = 0;
  for (const { seal } of service.members) seal.reset();
}

/** Of all members that were there before: per join, for each. */
async function measureJoins(): Promise<object> {
  const before = [...service.members];
  reset();
  const cpu = process.cpuUsage();
  for (let i = 0; i < JOINS; i++) {
    await service.enrol(1);
    await settled();
  }
  const { user, system } = process.cpuUsage(cpu);
  const sum = (of: 'updates' | 'bytes'): number =>
    before.reduce((total, { seal }) => total + seal[of], 0) / before.length / JOINS;
  globalThis.gc?.();
  return {
    signaturesPerJoin: service.signatures / JOINS,
    updatesPerMember: round(sum('updates')),
    bytesPerMember: Math.round(sum('bytes')),
    cpuMsPerJoin: Math.round((user + system) / 1000 / JOINS),
    heapMiBPerNode: round(process.memoryUsage().heapUsed / service.members.length / 2 ** 20),
  };
}

async function measureFailover(): Promise<object> {
  const [gone, stays] = service.supers;
  if (gone === undefined || stays === undefined) throw new Error('two super-peers');
  const moving = service.members.filter(({ node }) =>
    node.directory.superPeer?.equals(gone.host.peerId),
  );
  reset();
  const began = performance.now();
  await gone.close();
  const limit = AbortSignal.timeout(SETTLE_LIMIT);
  const attached = ({ node }: Enrolled): boolean =>
    node.directory.superPeer?.equals(stays.host.peerId) === true;
  while (!service.members.every(attached)) await sleep(50, undefined, { signal: limit });
  const seconds = round((performance.now() - began) / 1000);
  const bytes = service.members.reduce((sum, { seal }) => sum + seal.bytes, 0);
  const lost = Math.max(...service.members.map((each) => service.errorsOf(each).lost));
  return {
    members: service.members.length,
    moved: moving.length,
    seconds,
    bytesToAll: bytes,
    lost,
  };
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

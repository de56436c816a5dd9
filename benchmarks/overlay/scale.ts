/**
 * One service as it grows, all control planes of it (host, gate, directory; no tier 2): what a join costs those
 * that are there, and what it costs when half of the members lose their super-peer. The super-peers share this
 * process; the members are spread over others, 250 in each, which yield the processor to it.
 *
 *     node --expose-gc benchmarks/overlay/scale.ts [sizes=10,100,1000]
 *
 * Prints JSON. Counts do not depend on the machine. Times do: `cpuMs` is processor time. What the newcomer itself
 * gets and does is in the sums that are divided by the members.
 */
import { Child } from '../child.ts';
import { round } from '../statistics.ts';
import { identityText } from './identity-text.ts';
import type { MembersCalls, MembersSample } from './members-child.ts';
import { MeasuredService } from './service.ts';

const [sizes = '10,100,1000'] = process.argv.slice(2);
/** Joins measured one at a time. */
const JOINS = 5;
const MEMBERS_OF_ONE_PROCESS = 250;
/** Members that one process enrols in one call. */
const PORTION = 10;

const service = await MeasuredService.start(2);
const groups: { readonly child: Child<MembersCalls>; size: number }[] = [];
const members = (): number => groups.reduce((sum, { size }) => sum + size, 0);

const results: object[] = [];
for (const n of sizes.split(',').map(Number)) {
  const began = performance.now();
  const count = n - JOINS - members();
  await grow(count);
  await listing();
  const enrolledPerSecond = round((count / (performance.now() - began)) * 1000, 2);
  results.push({ members: n, enrolledPerSecond, ...(await measureJoins()) });
}
const failover = await measureFailover();
for (const { child } of groups) await child[Symbol.asyncDispose]();
console.log(JSON.stringify({ failover, results }));
process.exit(0);

/** Enrols so many in further processes, all of them at the same time. */
async function grow(count: number): Promise<void> {
  const wanted = Array.from({ length: Math.ceil(count / MEMBERS_OF_ONE_PROCESS) }, (_, i) =>
    Math.min(MEMBERS_OF_ONE_PROCESS, count - i * MEMBERS_OF_ONE_PROCESS),
  );
  await Promise.all(wanted.map(fill));
}

async function fill(size: number): Promise<void> {
  const child = new Child<MembersCalls>(new URL('members-child.ts', import.meta.url));
  const group = { child, size: 0 };
  groups.push(group);
  await child.call('start', {
    descriptor: Buffer.from(service.descriptor.bytes).toString('base64'),
    admitters: service.admitters.map((each) => ({
      identity: identityText(each),
      addresses: each.addresses.map(String),
    })),
  });
  while (group.size < size) {
    const portion = Math.min(PORTION, size - group.size);
    await child.call('enrol', { count: portion });
    group.size += portion;
  }
}

/** Until each lists all. */
async function listing(): Promise<void> {
  const all = members();
  await Promise.all(groups.map(({ child }) => child.call('listing', { members: all })));
}

/** Of all members together. */
async function sample(): Promise<MembersSample> {
  const samples = await Promise.all(groups.map(({ child }) => child.call('sample', null)));
  const sum = (of: 'members' | 'updates' | 'bytes' | 'cpuMs' | 'heapBytes'): number =>
    samples.reduce((total, each) => total + each[of], 0);
  return {
    ...{ members: sum('members'), updates: sum('updates'), bytes: sum('bytes') },
    ...{ cpuMs: sum('cpuMs'), heapBytes: sum('heapBytes') },
    fewestListed: Math.min(...samples.map(({ fewestListed }) => fewestListed)),
  };
}

/** For each of those that are there: the last group is the one that grows. */
async function measureJoins(): Promise<object> {
  const last = groups.at(-1);
  if (last === undefined) throw new Error('no members yet');
  await sample();
  service.signatures = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  for (let i = 0; i < JOINS; i++) {
    await last.child.call('enrol', { count: 1 });
    last.size++;
    await listing();
  }
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  const { updates, bytes, heapBytes, ...all } = await sample();
  globalThis.gc?.();
  // Of those that were there after each join, on average.
  const each = (of: number): number => of / (all.members - (JOINS - 1) / 2) / JOINS;
  return {
    signaturesPerJoin: service.signatures / JOINS,
    updatesPerMember: round(each(updates), 2),
    bytesPerMember: Math.round(each(bytes)),
    secondsPerJoin: round(seconds / JOINS, 2),
    cpuMsOfSuperPeers: round((user + system) / 1000 / JOINS, 2),
    cpuMsPerMember: round(each(all.cpuMs), 2),
    heapKiBPerMember: Math.round(heapBytes / all.members / 1024),
    heapKiBOfSuperPeersPerMember: Math.round(process.memoryUsage().heapUsed / all.members / 1024),
  };
}

async function measureFailover(): Promise<object> {
  const [gone, stays] = service.supers;
  if (gone === undefined || stays === undefined) throw new Error('two super-peers');
  await sample();
  const began = performance.now();
  await gone.close();
  const to = stays.host.peerId.toString();
  await Promise.all(groups.map(({ child }) => child.call('attached', { to })));
  const seconds = round((performance.now() - began) / 1000, 2);
  await listing();
  const { bytes, fewestListed } = await sample();
  const whole = round((performance.now() - began) / 1000, 2);
  const all = members();
  return {
    members: all,
    seconds,
    secondsUntilListsAreWhole: whole,
    bytesToAll: bytes,
    lost: all - fewestListed,
  };
}

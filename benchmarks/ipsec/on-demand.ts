/** Two members as processes, and two charons, that set SAs up when the first packet comes. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { OPTIONS } from '../../test/lab/ipsec/planes.ts';
import type { Netns } from '../../test/lab/netns.ts';
import type { Charon } from './strongswan.ts';
import { pings, type Way } from './traffic.ts';

const MEMBER = new URL('member.ts', import.meta.url);

/** How one kind of daemon is brought back to having no SA, and where the first packet goes then. */
export interface Subject {
  readonly way: Way;
  /** Of its SAs; none where they are tied to no interface. */
  readonly ifId?: number;
  readonly pids: readonly number[];
  reset(): Promise<void>;
}

/** Two members with each other's address; `cold` ones also lose their connection at each reset. */
export async function startMembers(a: Netns, b: Netns, way: Way, stack: AsyncDisposableStack) {
  const names = ['owner', 'superPeer', 'a', 'b', 'psk'] as const;
  const seeds = Object.fromEntries(names.map((name) => [name, randomBytes(32).toString('hex')]));
  const members = [stack.use(a.node(MEMBER)), stack.use(b.node(MEMBER))];
  const addresses: unknown[] = [];
  for (const [i, member] of members.entries()) {
    member.send({ role: i === 0 ? 'a' : 'b', seeds });
    addresses.push(await member.receive(60_000));
  }
  for (const [i, member] of members.entries()) {
    member.send(addresses[1 - i]);
    await member.receive();
  }
  const subject = (command: 'drop' | 'cold'): Subject => ({
    way,
    ifId: OPTIONS.ifId,
    pids: members.map(({ pid }) => pid),
    async reset() {
      for (const member of members) member.send(command);
      for (const member of members) await member.receive();
    },
  });
  return { connected: subject('drop'), cold: subject('cold') };
}

/** `keepIke`: the IKE_SA stays, and CREATE_CHILD_SA alone makes the new SAs. */
export function charons(
  [a, b]: readonly [Charon, Charon],
  way: Way,
  { keepIke }: { readonly keepIke: boolean },
): Subject {
  const what = keepIke ? ['--child', 'net'] : ['--ike', 'peer'];
  return {
    way,
    pids: [a.pid, b.pid],
    async reset() {
      await a.swanctl('--terminate', ...what, '--timeout', '10');
    },
  };
}

/** @returns milliseconds from the first packet to its answer, and processor seconds of both daemons meanwhile */
export async function firstAnswer(
  ns: Netns,
  { way, ifId, pids, reset }: Subject,
): Promise<{ ms: number; cpuSeconds: number }> {
  await reset();
  const left = await liveSas(ns, ifId);
  if (left > 0) throw new Error(`${left} SAs towards ${way.to} are left: nothing would be set up`);
  const before = await processorSeconds(pids);
  const [ms] = await pings(ns, way, 1);
  if (ms === undefined) throw new Error(`no answer from ${way.to}`);
  return { ms, cpuSeconds: (await processorSeconds(pids)) - before };
}

async function liveSas(ns: Netns, ifId: number | undefined): Promise<number> {
  const states = (await ns.ip('xfrm', 'state')).split(/^src /m);
  const own = ifId === undefined ? undefined : `if_id 0x${ifId.toString(16)}`;
  const live = states.filter((state) => /proto esp spi 0x(?!00000000)/.test(state));
  return live.filter((state) => (own ? state.includes(own) : !state.includes('if_id'))).length;
}

/** Time in user and kernel mode of all threads (proc_pid_stat(5): fields 14 and 15, in ticks of 10 ms). */
async function processorSeconds(pids: readonly number[]): Promise<number> {
  let ticks = 0;
  for (const pid of pids) {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / 100;
}

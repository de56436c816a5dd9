/** Some of the members of a service, as a process of its own. Started by the benchmarks here. */
import { setTimeout as sleep } from 'node:timers/promises';
import { multiaddr } from '@multiformats/multiaddr';
import { DESCRIPTOR } from '../../src/records/descriptor.ts';
import { open } from '../../src/records/envelope.ts';
import { CALL_LIMIT, offer } from '../child.ts';
import { identityFrom } from './identity-text.ts';
import { Members } from './members.ts';

export interface MembersCalls {
  readonly start: readonly [
    {
      /** Of the descriptor, in base64. */
      readonly descriptor: string;
      readonly admitters: readonly {
        /** As `identity-text.ts` writes it. */
        readonly identity: string;
        readonly addresses: readonly string[];
      }[];
    },
    null,
  ];
  readonly enrol: readonly [{ readonly count: number }, null];
  /** Waits until each lists that many. */
  readonly listing: readonly [{ readonly members: number }, null];
  /** Waits until each is attached to that super-peer. */
  readonly attached: readonly [{ readonly to: string }, null];
  /** What came and was used since the last sample. */
  readonly sample: readonly [null, MembersSample];
}

/** Of all members in the process together. */
export interface MembersSample {
  readonly members: number;
  readonly updates: number;
  readonly bytes: number;
  readonly cpuMs: number;
  readonly heapBytes: number;
  /** The fewest that any of them lists. */
  readonly fewestListed: number;
}

let group: Members | undefined;
let cpu = process.cpuUsage();

function started(): Members {
  if (group === undefined) throw new Error('start first');
  return group;
}

async function wait(holds: () => boolean): Promise<null> {
  const signal = AbortSignal.timeout(CALL_LIMIT);
  while (!holds()) await sleep(100, undefined, { signal });
  return null;
}

offer<MembersCalls>({
  async start({ descriptor, admitters }) {
    const opened = await open(DESCRIPTOR, Buffer.from(descriptor, 'base64'));
    const known = admitters.map(({ identity, addresses }) => ({
      ...identityFrom(identity),
      addresses: addresses.map((each) => multiaddr(each)),
    }));
    group = new Members(opened, known, false);
    return null;
  },
  async enrol({ count }) {
    await started().enrol(count);
    return null;
  },
  listing: ({ members }) =>
    wait(() =>
      started().enrolled.every((each) => each.node.directory.members().length === members),
    ),
  attached: ({ to }) =>
    wait(() =>
      started().enrolled.every((each) => each.node.directory.superPeer?.toString() === to),
    ),
  async sample() {
    const { enrolled } = started();
    const sum = (of: 'updates' | 'bytes'): number =>
      enrolled.reduce((total, { seal }) => total + seal[of], 0);
    const used = process.cpuUsage(cpu);
    const listed = enrolled.map(({ node }) => node.directory.members().length);
    globalThis.gc?.();
    const sample = {
      ...{ members: enrolled.length, updates: sum('updates'), bytes: sum('bytes') },
      ...{ cpuMs: (used.user + used.system) / 1000, heapBytes: process.memoryUsage().heapUsed },
      fewestListed: Math.min(...listed),
    };
    for (const { seal } of enrolled) seal.reset();
    cpu = process.cpuUsage();
    return sample;
  },
});

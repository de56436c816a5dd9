/**
 * What one half-open admission costs a super-peer in memory: its connection, Noise and Yamux
 * included, and what of it is the admission's own.
 *
 *   node --expose-gc benchmarks/admission/half-open.ts [count]
 */
import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { Opening, Reply } from '../../src/admission/messages.ts';
import { ADMISSION_PROTOCOL } from '../../src/admission/server.ts';
import { GROUP_2048, SUITE_SRP_2048 } from '../../src/admission/srp/group.ts';
import {
  makeIdentity,
  makeNode,
  makeService,
  serve,
  World,
} from '../../test/unit/admission/world.ts';
import { rounded } from './measure.ts';

const COUNT = Number(process.argv[2] ?? 100);

/** Connections and whether they ask for admission; the first few load code and are not counted. */
const PHASES = [
  [30, true],
  [COUNT, false],
  [COUNT, true],
] as const;

/** The VMs: some connections stay idle, so that the admission's own share shows. */
async function vms(address: string): Promise<void> {
  process.once('disconnect', () => process.exit());
  const { id: serviceId } = await makeIdentity();
  const A = Uint8Array.from(GROUP_2048.N).fill(7, 0, 1);
  for (const [count, half] of PHASES) {
    for (let i = 0; i < count; i++) {
      const node = await makeNode((await makeIdentity()).key);
      const connection = await node.dial(multiaddr(address));
      if (!half) continue;
      const link = lpStream(await connection.newStream(ADMISSION_PROTOCOL));
      const suite = SUITE_SRP_2048.id;
      const hello = { version: 1, suite, serviceId, identity: 'member', A, ticket: undefined };
      const admit = { ...hello, nonce: randomBytes(32) };
      await link.write(Opening.encode({ admit, renew: undefined }));
      if (Reply.decode((await link.read()).subarray()).challenge === undefined) i--;
    }
    process.send?.('ready');
    await once(process, 'message');
  }
}

async function used(): Promise<number> {
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function superPeer(): Promise<void> {
  const world = new World();
  const limits = {
    ...{ unproven: 600_000, halfOpen: 1e5, halfOpenPerHost: 1e5, halfOpenPerSite: 1e5, srp: 1e5 },
    ...{ ratePerHost: { rate: 1e6, burst: 1e6 }, ratePerSite: { rate: 1e6, burst: 1e6 } },
  };
  const peer = await world.superPeer(await makeIdentity(), { limits });
  serve(peer, await makeService([peer.id]));
  const address = peer.node.getMultiaddrs()[0]?.toString() ?? '';
  const child = fork(new URL(import.meta.url), [String(COUNT), address]);
  const levels: number[] = [];
  for (const [phase] of PHASES.entries()) {
    await once(child, 'message');
    levels.push(await used());
    if (phase < PHASES.length - 1) child.send('go on');
  }
  child.kill();
  const [none = 0, idle = 0, open = 0] = levels;
  const kib = (bytes: number): number => rounded(bytes / COUNT / 1024);
  console.log(
    JSON.stringify({
      n: COUNT,
      'KiB per idle connection': kib(idle - none),
      'KiB per half-open admission, connection included': kib(open - idle),
      'KiB of that for the admission': kib(open - idle - (idle - none)),
    }),
  );
  await world.stop();
}

const address = process.argv[3];
await (address === undefined ? superPeer() : vms(address));

/** Super-peers and VMs as processes of their own, for the benchmarks here. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { formatBootstrap } from '../../src/index.ts';
import { arrange, publish } from '../../test/unit/daemon/world.ts';
import { Child } from '../child.ts';
import type { SuperPeerCalls } from './whole-super-peer.ts';
import type { VmsCalls } from './whole-vms.ts';

const SUPER_PEER = new URL('./whole-super-peer.ts', import.meta.url);
const VMS = new URL('./whole-vms.ts', import.meta.url);

export interface World extends AsyncDisposable {
  readonly superPeers: readonly Child<SuperPeerCalls>[];
  /** The service's bootstrap data, as text. */
  readonly service: string;
  vms(): Child<VmsCalls>;
  /** A process that samples itself as super-peers do, and is none. */
  bystander(): Child<SuperPeerCalls>;
}

/** Starts `count` super-peers that serve one service. */
export async function startWorld(count: number): Promise<World> {
  await using owned = new AsyncDisposableStack();
  const dir = await mkdtemp(join(tmpdir(), 'icvpn-benchmark-'));
  owned.defer(() => rm(dir, { recursive: true }));
  const signal = AbortSignal.timeout(60_000);
  const world = await arrange(dir, count, signal);
  const overlay = formatBootstrap(world.overlay);
  const serviceId = world.service.bootstrap.serviceId.toString();
  const superPeers: Child<SuperPeerCalls>[] = [];
  for (const place of world.places) {
    const child = owned.use(new Child<SuperPeerCalls>(SUPER_PEER));
    await child.call('start', { ...place, overlay, serviceId });
    superPeers.push(child);
  }
  await publish(world, signal);
  await Promise.all(superPeers.map((each) => each.call('serving', null)));
  const running = owned.move();
  return {
    superPeers,
    service: formatBootstrap(world.service.bootstrap),
    vms: () => running.use(new Child<VmsCalls>(VMS)),
    bystander: () => running.use(new Child<SuperPeerCalls>(SUPER_PEER)),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** Prints what a benchmark found. */
export function print(setting: object, results: readonly object[]): void {
  const shared = { node: process.version, processors: navigator.hardwareConcurrency };
  console.log(JSON.stringify({ ...shared, ...setting, results }, undefined, 2));
}

/** A super-peer as a process that tells what it costs. Started by the benchmarks here. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseBootstrap, parsePeerId, SuperPeer } from '../../src/index.ts';
import { type Place, servingLog } from '../../test/unit/daemon/world.ts';
import { offer } from '../child.ts';

export interface Sample {
  /** Processor seconds of all threads since the last `reset`. */
  readonly cpu: number;
  /** Bytes, after garbage collection. */
  readonly rss: number;
  /** Objects and buffers. */
  readonly heap: number;
  /** Milliseconds by which the event loop was late since the last `reset`. */
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly members: number;
}

export interface SuperPeerCalls {
  readonly start: readonly [Place & { overlay: string; serviceId: string }, null];
  /** Ends when the service is served. */
  readonly serving: readonly [null, null];
  readonly reset: readonly [null, null];
  readonly sample: readonly [null, Sample];
}

/** The histogram measures whole intervals of its timer; this much of each is no delay. */
const RESOLUTION = 1;
const histogram = monitorEventLoopDelay({ resolution: RESOLUTION });
const serving = Promise.withResolvers<void>();
let before = process.cpuUsage();
let superPeer: SuperPeer | undefined;

const milliseconds = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION);

offer<SuperPeerCalls>({
  start: async ({ stateDir, listen, overlay, serviceId }) => {
    superPeer = await SuperPeer.start({
      ...{ stateDir, listen: [listen], announce: [] },
      log: servingLog(parsePeerId(serviceId), serving.resolve),
      overlay: parseBootstrap(overlay),
      allowedServices: [parsePeerId(serviceId)],
      signal: AbortSignal.timeout(30_000),
    });
    return null;
  },
  serving: async () => {
    await serving.promise;
    return null;
  },
  reset: async () => {
    before = process.cpuUsage();
    histogram.enable();
    histogram.reset();
    return null;
  },
  sample: async () => {
    const { user, system } = process.cpuUsage(before);
    const [p50, p99] = [50, 99].map((p) => milliseconds(histogram.percentile(p)));
    const delay = { p50: p50 ?? 0, p99: p99 ?? 0, max: milliseconds(histogram.max) };
    // What is under way ends, and buffers are given back only by a second collection.
    for (let n = 0; n < 2; n++) {
      await sleep(500);
      globalThis.gc?.();
    }
    const { rss, heapUsed, external } = process.memoryUsage();
    const members = superPeer?.status().services[0]?.members ?? 0;
    return { cpu: (user + system) / 1e6, rss, heap: heapUsed + external, delay, members };
  },
});

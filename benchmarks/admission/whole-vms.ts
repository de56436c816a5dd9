/** Many VMs in one process, each with its key, its connection and its address. Started by the benchmarks here. */

import { randomBytes } from 'node:crypto';
import { getPriority, setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stream } from '@libp2p/interface';
import type { Admission } from '../../src/admission/client.ts';
import { admitAtAny } from '../../src/daemon/admit.ts';
import { parseBootstrap } from '../../src/index.ts';
import {
  BEAT_INTERVAL,
  DIRECTORY_FRAMES,
  DIRECTORY_SUFFIX,
  frame,
} from '../../src/overlay/directory.ts';
import { Gate } from '../../src/overlay/gate.ts';
import { AddressPlan } from '../../src/records/address-plan.ts';
import { MessageStream } from '../../src/wire/message-stream.ts';
import { admit, hostFrom, loopbackAddress, type Vm } from '../../test/unit/daemon/world.ts';
import { CALL_LIMIT, offer } from '../child.ts';
import { beginAdmission, Pair, renew } from './whole-member.ts';

export interface VmsCalls {
  /** Makes VMs; from one address when one is given, else each from its own, from number `first` on. */
  readonly make: readonly [
    {
      service: string;
      count: number;
      first: number;
      address?: string;
      nice?: number;
      listen?: boolean;
    },
    null,
  ];
  /** Admits those made since, `parallel` at a time, dealt out among the super-peers. */
  readonly admit: readonly [{ parallel: number }, Admitted];
  /** Admits all those made since at the same moment, each as `icvpn up` does: asks again where it must. */
  readonly admitPatiently: readonly [null, Admitted & { readonly again: readonly string[] }];
  /** Admits over the connections that are there: SRP without dialling. */
  readonly admitAgain: readonly [{ parallel: number; seconds: number; rate: number }, Admitted];
  /** Begins an admission for each VM and stops after the challenge. */
  readonly beginOnly: readonly [null, { challenged: number }];
  /** Begins admissions without end and finishes none, until it is switched off. */
  readonly flood: readonly [{ on: boolean }, { sent: number }];
  /** Renews the first VM again and again. */
  readonly renew: readonly [{ times: number }, { took: readonly number[] }];
  /** Key exchanges between the first two VMs. */
  readonly exchange: readonly [{ times: number }, { took: readonly number[] }];
  /** Attaches each VM to the directory of its super-peer. */
  readonly attach: readonly [{ parallel: number }, { attached: number }];
}

export interface Admitted {
  readonly admitted: number;
  readonly failed: readonly string[];
  /** Wall-clock seconds. */
  readonly seconds: number;
  /** Milliseconds that each took. */
  readonly took: readonly number[];
}

const LOOPBACK = '/ip4/127.0.0.1/tcp/0';

let service: ReturnType<typeof parseBootstrap> | undefined;
let vms: Vm[] = [];
const admissions = new Map<Vm, Admission>();

function theService() {
  if (service === undefined) throw new Error('make VMs first');
  return service;
}

function superPeerOf(vm: Vm) {
  const { superPeers } = theService();
  const at = superPeers[vms.indexOf(vm) % superPeers.length];
  if (at === undefined) throw new Error('the service has no super-peer');
  return at;
}

async function each<T>(items: Iterable<T>, parallel: number, work: (item: T) => Promise<void>) {
  const queue = items[Symbol.iterator]();
  const run = async (): Promise<void> => {
    for (let next = queue.next(); !next.done; next = queue.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: parallel }, run));
}

async function timed(
  items: Iterable<Vm>,
  parallel: number,
  one: (vm: Vm) => Promise<Admission> = (vm) => admit(vm, superPeerOf(vm), theService()),
): Promise<Admitted> {
  const took: number[] = [];
  const failed: string[] = [];
  const begin = performance.now();
  await each(items, parallel, async (vm) => {
    const start = performance.now();
    try {
      admissions.set(vm, await one(vm));
      took.push(performance.now() - start);
    } catch (error) {
      failed.push(String(error));
    }
  });
  return { admitted: took.length, failed, took, seconds: (performance.now() - begin) / 1000 };
}

/** Each VM in turn, no faster than `rate` a second, for so long. */
async function* paced(seconds: number, rate: number) {
  const begin = performance.now();
  for (let n = 0; performance.now() - begin < seconds * 1000; n++) {
    const due = begin + (n / rate) * 1000 - performance.now();
    if (due > 1) await sleep(due);
    const vm = vms[n % vms.length];
    if (vm !== undefined) yield vm;
  }
}

async function attachTo(vm: Vm): Promise<void> {
  const admission = admissions.get(vm);
  if (admission === undefined) throw new Error('not admitted');
  const { descriptor, credential } = admission;
  const { serviceId, epoch, admitters } = descriptor.value;
  const addresses = new AddressPlan(descriptor.value);
  const trust = { epoch, admitters: admitters.map(({ peerId }) => peerId), addresses };
  const shown = () => credential.bytes;
  const gate = new Gate(vm, { overlayId: serviceId, credential: shown, trust: () => trust });
  await gate.start();
  const stream = await gate.open(superPeerOf(vm).multiaddr, DIRECTORY_SUFFIX);
  const frames = new MessageStream(stream, DIRECTORY_FRAMES);
  const signal = AbortSignal.timeout(60_000);
  const multiaddrs = vm.multiaddrs();
  const nonce = randomBytes(32);
  await frames.write(
    frame({ attach: { nonce, session: Date.now(), multiaddrs, known: undefined } }),
    { signal },
  );
  while ((await frames.read({ signal })).update === undefined);
  const beat = setInterval(() => {
    frames.write(frame({ beat: 1 }), { signal: AbortSignal.timeout(BEAT_INTERVAL) }).catch(() => {
      clearInterval(beat);
    });
  }, BEAT_INTERVAL);
  void drain(stream, frames);
}

/** Takes updates without looking at them: what 1,000 VMs do with them is not the super-peer's cost. */
async function drain(stream: Stream, frames: MessageStream<unknown>): Promise<void> {
  const options = { signal: AbortSignal.timeout(300_000) };
  while (stream.status === 'open')
    await frames.read(options).catch(() => stream.abort(new Error()));
}

const flood: { on: boolean; sent: number; running: Promise<void>[] } = {
  ...{ on: false, sent: 0, running: [] },
};
let pair: Pair | undefined;

/** Begins an admission, waits for the answer, begins the next; every other VM connects anew for it. */
async function bother(vm: Vm, number: number): Promise<void> {
  while (flood.on) {
    flood.sent++;
    await beginAdmission(vm, superPeerOf(vm), theService().serviceId).catch(() => sleep(100));
    if (number % 2 === 1) await vm.libp2p.hangUp(superPeerOf(vm).peerId);
  }
}

offer<VmsCalls>({
  make: async ({ service: text, count, first, address, nice = 0, listen = false }) => {
    setPriority(Math.max(nice, getPriority()));
    service = parseBootstrap(text);
    vms = [];
    admissions.clear();
    for (let n = 0; n < count; n++) {
      vms.push(await hostFrom(address ?? loopbackAddress(first + n), listen ? [LOOPBACK] : []));
    }
    return null;
  },
  admit: ({ parallel }) => timed(vms, parallel),
  admitPatiently: async () => {
    const again: string[] = [];
    const done = await timed(vms, vms.length, async (vm) => {
      const { answer: admission } = await admitAtAny({
        ...{ ...theService(), superPeers: [superPeerOf(vm)], host: vm, key: vm.key, roles: [] },
        ...{ vmid: `i-${vm.peerId.toString().slice(-12)}`, multiaddrs: vm.multiaddrs() },
        log: (_event, { why } = {}) => void again.push(String(why)),
        signal: AbortSignal.timeout(CALL_LIMIT),
      });
      return admission;
    });
    return { ...done, again };
  },
  admitAgain: async ({ parallel, seconds, rate }) => {
    const took: number[] = [];
    const failed: string[] = [];
    const running = new Set<Promise<void>>();
    const begin = performance.now();
    if (rate === 0) await sleep(seconds * 1000);
    else
      for await (const vm of paced(seconds, rate)) {
        if (running.size >= parallel) await Promise.race(running);
        const start = performance.now();
        const run = admit(vm, superPeerOf(vm), theService()).then(
          () => void took.push(performance.now() - start),
          (error) => void failed.push(String(error)),
        );
        running.add(run);
        void run.finally(() => running.delete(run));
      }
    await Promise.all(running);
    return { admitted: took.length, failed, took, seconds: (performance.now() - begin) / 1000 };
  },
  beginOnly: async () => {
    let challenged = 0;
    await each(vms, 16, async (vm) => {
      const { challenge } = await beginAdmission(vm, superPeerOf(vm), theService().serviceId);
      if (challenge !== undefined) challenged++;
    });
    return { challenged };
  },
  flood: async ({ on }) => {
    if (on) {
      flood.on = true;
      flood.running = vms.map(bother);
      return { sent: 0 };
    }
    flood.on = false;
    await Promise.all(flood.running);
    const { sent } = flood;
    flood.sent = 0;
    return { sent };
  },
  renew: async ({ times }) => {
    const took: number[] = [];
    const [vm] = vms;
    for (let n = 0; n < times && vm !== undefined; n++) {
      const last = admissions.get(vm);
      if (last === undefined) throw new Error('not admitted');
      const start = performance.now();
      admissions.set(vm, await renew(vm, superPeerOf(vm), last));
      took.push(performance.now() - start);
    }
    return { took };
  },
  exchange: async ({ times }) => {
    pair ??= await Pair.between(vms, admissions);
    return { took: await pair.exchanges(times) };
  },
  attach: async ({ parallel }) => {
    let attached = 0;
    await each(admissions.keys(), parallel, async (vm) => {
      await attachTo(vm).then(() => attached++, console.error);
    });
    return { attached };
  },
});

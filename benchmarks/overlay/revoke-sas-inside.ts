/** The part of `revoke-sas.ts` that runs where the kernel has ESP. */

import { own } from '../../examples/demo/own.ts';
import { untilAnswered } from '../../examples/demo/ping.ts';
import { type DemoHost, hostAt } from '../../examples/demo/topology.ts';
import { type Net, Scene, spis } from '../../test/e2e/scene.ts';
import { createNetns } from '../../test/lab/netns.ts';
import type { TestProcess } from '../../test/lab/process.ts';
import { median } from '../statistics.ts';

const [count = 50, times = 3] = process.argv.slice(2).map(Number);
interface Star extends Net {
  readonly vms: readonly DemoHost[];
}

/** Every host has a link of its own to one router. */
async function star(owner: AsyncDisposableStack): Promise<Star> {
  const router = await own(owner, createNetns('router'));
  await router.run('sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  const host = (label: string, subnet: number): Promise<DemoHost> =>
    hostAt(owner, router, label, `10.0.${subnet}`);
  const superPeers = [await host('sp1', 250), await host('sp2', 251)] as const;
  const vms: DemoHost[] = [];
  for (let i = 0; i < count; i++) vms.push(await host(`vm${i}`, i));
  return { superPeers, vms };
}

interface Member {
  readonly at: DemoHost;
  readonly name: string;
}

/** SAs of a member with `other`, in both directions. */
async function sasWith({ at }: Member, other: Member): Promise<string[]> {
  const [here, there] = [at.address, other.at.address];
  return [...(await spis(at.ns, here, there)), ...(await spis(at.ns, there, here))];
}

/** Follows a kernel's deletions. @returns when that many SAs are gone, in milliseconds since 1970 */
async function lastDeletion(monitor: TestProcess, sas: ReadonlySet<string>): Promise<number> {
  const left = new Set(sas);
  let last = 0;
  let deleted: number | undefined;
  while (left.size > 0) {
    // `[2026-01-31T12:00:00.123456] Deleted src A dst B`, then `proto esp spi 0x01234567` and more.
    const line = await monitor.line(120_000);
    const [, time, what = ''] = /^\[(\S+)\] (.*)/.exec(line) ?? [];
    if (time !== undefined)
      deleted = what.startsWith('Deleted ') ? Date.parse(`${time}Z`) : undefined;
    const [, spi = ''] = /proto esp spi (0x[0-9a-f]+)/.exec(line) ?? [];
    if (deleted !== undefined && left.delete(spi)) last = deleted;
  }
  return last;
}

async function measure(scene: Scene<Star>, members: readonly Member[], out: Member) {
  const rest = members.filter((each) => each !== out);
  const { ipv4, peerId } = await scene.status(out.name);
  const limit = AbortSignal.timeout(240_000);
  // One after the other, here and below: a guest has one CPU.
  for (const { at } of rest) await untilAnswered(at.ns, ipv4, limit);
  const all = await Promise.all(
    rest.map(async (member) => ({ member, spis: new Set(await sasWith(member, out)) })),
  );
  const without = all.filter((each) => each.spis.size < 2);
  if (without.length > 0) throw new Error(`${without.length} members have no SAs to lose`);
  await using monitors = new AsyncDisposableStack();
  const watched = all.map((each) => {
    const { ns } = each.member.at;
    return { ...each, monitor: monitors.use(ns.start('ip', ['-ts', 'xfrm', 'monitor', 'SA'])) };
  });
  await Promise.all(watched.map(({ member }) => started(member)));
  const began = Date.now();
  const ends = Promise.all(watched.map((each) => lastDeletion(each.monitor, each.spis)));
  const revoked = scene.owner('revoke', peerId).then(() => Date.now());
  const [said, times] = await Promise.all([revoked, ends]);
  const last = Math.max(...times);
  for (const member of rest) {
    const left = await sasWith(member, out);
    if (left.length > 0) throw new Error(`${member.name} still has ${left.join()}`);
  }
  return { fromCommand: (last - began) / 1000, commandItself: (said - began) / 1000 };
}

/** Until `ip xfrm monitor` of that member listens: it is a netlink socket of the kernel's xfrm family, 6. */
async function started({ at }: Member): Promise<void> {
  const limit = AbortSignal.timeout(30_000);
  for (;;) {
    limit.throwIfAborted();
    const table = await at.ns.run('cat', ['/proc/net/netlink']);
    const listening = table.split('\n').filter((line) => {
      const [, family, , groups = '0'] = line.trim().split(/\s+/);
      return family === '6' && groups === '00000004'; // XFRMNLGRP_SA alone
    });
    if (listening.length > 0) return;
  }
}

await using scene = await Scene.over(star);
const members = scene.net.vms.map((at, i) => ({ at, name: `vm${i}` }));
for (const { at, name } of members) await scene.up(at, name);
const measured: { fromCommand: number; commandItself: number }[] = [];
for (let i = 0; i < times; i++) {
  const left = members.slice(i);
  const [out] = left;
  if (out === undefined) break;
  measured.push(await measure(scene, left, out));
}
console.log(
  JSON.stringify({
    what: 'revoke, until the last SA is gone',
    members: count,
    n: measured.length,
    medianSeconds: median(measured.map(({ fromCommand }) => fromCommand)),
    mostSeconds: Math.max(...measured.map(({ fromCommand }) => fromCommand)),
    medianSecondsOfTheCommand: median(measured.map(({ commandItself }) => commandItself)),
  }),
);

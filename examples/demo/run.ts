/** What the demo does, step by step. What it saw goes to `report.ts`. */
import { join } from 'node:path';
import type { MemberStatus } from '../../src/daemon/status.ts';
import type { Netns } from '../../test/lab/netns.ts';
import { keepSuperPeer } from './bootstrap.ts';
import { Capture, type Captured } from './capture.ts';
import { type KernelSa, kernelSas } from './kernel.ts';
import { type DaemonProcess, icvpn, startDaemon, textField } from './node.ts';
import { own } from './own.ts';
import { type PingResult, ping, untilAnswered } from './ping.ts';
import { buildTopology, type Topology } from './topology.ts';

const PORT = 4242;
const LISTEN = ['--listen', `/ip4/0.0.0.0/tcp/${PORT}`];
const IPV4_PREFIX = '198.18.0.0/16';
/** Every ping carries it, over and over; no packet on the underlay may. 16 bytes. */
const MARK = 'icvpn-demo-clear';
const ROLES = ['web', 'app', 'db'] as const;
const PINGS = 5;

export interface DemoOptions {
  /** Where to put files; the caller removes it. */
  readonly dir: string;
  /** Owns namespaces and processes. */
  readonly owner: AsyncDisposableStack;
  readonly say: (line: string) => void;
  /** Every daemon that was started, for their logs should the demo fail. */
  readonly daemons: DaemonProcess[];
}

export interface Seen {
  readonly statuses: readonly MemberStatus[];
  readonly pings: readonly PingResult[];
  readonly captured: Captured;
  readonly kernel: ReadonlyMap<string, readonly KernelSa[]>;
  /** Milliseconds from the start of a VM's process to its first answered ping. */
  readonly firstAnswers: readonly { readonly vm: string; readonly ms: number }[];
}

export async function runDemo({ dir, owner, say, daemons }: DemoOptions): Promise<Seen> {
  say('Two clouds as network namespaces, joined by a routed link with 20 ms of delay each way');
  const net = await buildTopology(owner);

  say('One super-peer in each cloud; the second is admitted to the overlay by the first');
  const cards = await makeCards(net, dir);
  const service = await makeOverlayAndService(net, cards, dir);
  for (const [i, host] of net.superPeers.entries()) {
    const state = join(dir, `sp${i + 1}`);
    const overlay = join(dir, 'overlay.json');
    const args = ['--state', state, '--overlay', overlay, '--allow-service', service.id];
    const daemon = await startDaemon(owner, host.ns, 'super-peer', 'run', ...args, ...LISTEN);
    daemons.push(daemon);
    await daemon.up;
  }

  say(`The service shop, ${service.id}, published by its owner`);
  const ownerNs = net.superPeers[0].ns;
  await icvpn(ownerNs, 'service', 'publish', '--dir', join(dir, 'shop'));

  const capture = await own(owner, startCapture(net, service.ipv6Prefix, dir));
  say('Three VMs, each a process of its own: admission by SRP, discovery, ESP in the kernel');
  const firstAnswers: { vm: string; ms: number }[] = [];
  let first: MemberStatus | undefined;
  for (const [i, host] of net.vms.entries()) {
    const vm = `vm${i + 1}`;
    // The VMs are admitted by both super-peers in turn.
    const bootstrap = join(dir, `${vm}.json`);
    await keepSuperPeer(join(dir, 'shop.json'), bootstrap, i);
    const args = ['--state', join(dir, vm), '--bootstrap', bootstrap, '--vmid', vm];
    const role = ['--role', ROLES[i] ?? 'app'];
    const daemon = await startDaemon(
      owner,
      host.ns,
      'up',
      '--foreground',
      ...args,
      ...role,
      ...LISTEN,
    );
    daemons.push(daemon);
    const status = memberStatus(await daemon.up);
    if (first !== undefined) {
      await untilAnswered(host.ns, first.ipv4, AbortSignal.timeout(60_000));
      firstAnswers.push({ vm, ms: performance.now() - daemon.startedAt });
    }
    first ??= status;
  }

  say('Ping between every pair, by virtual IPv4 and IPv6 address');
  const before = await statuses(net, dir);
  const pings = await pingEveryPair(net, before);
  const captured = await capture.finish();
  const after = await statuses(net, dir);
  const kernel = new Map<string, readonly KernelSa[]>();
  for (const [i, host] of net.vms.entries()) kernel.set(`vm${i + 1}`, await kernelSas(host.ns));

  say('Down');
  for (const [i, host] of net.vms.entries()) await icvpnDown(host.ns, join(dir, `vm${i + 1}`));
  for (const [i, host] of net.superPeers.entries())
    await icvpnDown(host.ns, join(dir, `sp${i + 1}`));
  for (const { process } of daemons) {
    const code = await process.ended();
    if (code !== 0) throw new Error(`a daemon ended with ${code}: ${process.stderr}`);
  }
  return { statuses: after, pings, captured, kernel, firstAnswers };
}

async function makeCards(net: Topology, dir: string): Promise<string[]> {
  const cards: string[] = [];
  for (const [i, { ns, address }] of net.superPeers.entries()) {
    const card = join(dir, `sp${i + 1}.card`);
    const at = ['--address', `/ip4/${address}/tcp/${PORT}`];
    await icvpn(ns, 'super-peer', 'card', '--state', join(dir, `sp${i + 1}`), ...at, '--out', card);
    cards.push(card);
  }
  return cards;
}

/** The overlay names only the first super-peer, so that the second must be admitted. */
async function makeOverlayAndService(net: Topology, [sp1 = '', sp2 = '']: string[], dir: string) {
  const { ns } = net.superPeers[0];
  const files = (name: string) => [
    '--dir',
    join(dir, name),
    '--bootstrap',
    join(dir, `${name}.json`),
  ];
  await icvpn(ns, 'overlay', 'create', '--name', 'demo', ...files('overlay'), '--super-peer', sp1);
  const both = ['--super-peer', sp1, '--super-peer', sp2, '--ipv4', IPV4_PREFIX];
  const made = await icvpn(ns, 'service', 'create', '--name', 'shop', ...files('shop'), ...both);
  return { id: textField(made, 'serviceId'), ipv6Prefix: textField(made, 'ipv6') };
}

function startCapture(net: Topology, ipv6Prefix: string, dir: string): Promise<Capture> {
  return Capture.start({
    router: net.routers[0],
    file: join(dir, 'underlay.pcap'),
    vms: net.vms.map((vm) => vm.address),
    virtualPrefixes: [IPV4_PREFIX, ipv6Prefix],
    controlPort: PORT,
    mark: MARK,
  });
}

async function pingEveryPair(net: Topology, all: readonly MemberStatus[]): Promise<PingResult[]> {
  const results: PingResult[] = [];
  for (const [i, from] of all.entries()) {
    const ns = net.vms[i]?.ns;
    for (const to of all) {
      if (ns === undefined || to === from) continue;
      for (const address of [to.ipv4, to.ipv6]) {
        const result = await ping(ns, address, { count: PINGS, mark: MARK });
        results.push({ from: from.vmid, to: to.vmid, address, ...result });
      }
    }
  }
  return results;
}

async function statuses(net: Topology, dir: string): Promise<MemberStatus[]> {
  const all: MemberStatus[] = [];
  for (const [i, { ns }] of net.vms.entries()) {
    all.push(memberStatus(await icvpn(ns, 'status', '--state', join(dir, `vm${i + 1}`))));
  }
  return all;
}

function memberStatus(printed: unknown): MemberStatus {
  const isMember = (value: unknown): value is MemberStatus =>
    typeof value === 'object' && value !== null && 'role' in value && value.role === 'member';
  if (!isMember(printed)) throw new Error(`not the status of a member: ${JSON.stringify(printed)}`);
  return printed;
}

async function icvpnDown(ns: Netns, state: string): Promise<void> {
  await icvpn(ns, 'down', '--state', state);
}

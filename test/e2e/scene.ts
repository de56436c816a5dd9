/** A service in the demo's two clouds, with real processes: super-peers that run, members to be started. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { buildTopology, type DemoHost, type Topology } from '../../examples/demo/topology.ts';
import { controlRequest } from '../../src/daemon/control.ts';
import type { MemberStatus, MemberView } from '../../src/daemon/status.ts';
import type { ExecResult } from '../lab/exec.ts';
import type { Netns } from '../lab/netns.ts';
import type { TestProcess } from '../lab/process.ts';

const ICVPN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface SceneOptions {
  /** Further arguments of `icvpn service create`. */
  readonly service?: readonly string[];
  /** The same for a second service, called bank, of which the super-peers know too; there is none if left out. */
  readonly bank?: readonly string[];
}

/** What a scene needs of its network. */
export interface Net {
  readonly superPeers: readonly [DemoHost, ...DemoHost[]];
}

export class Scene<N extends Net = Topology> implements AsyncDisposable {
  readonly net: N;
  readonly #daemons: TestProcess[] = [];
  /** Options of super-peers: the services that they serve. */
  #allowed: readonly string[] = [];
  #owned: AsyncDisposableStack;
  readonly #dir: string;

  private constructor(net: N, owned: AsyncDisposableStack, dir: string) {
    this.net = net;
    this.#owned = owned;
    this.#dir = dir;
  }

  static build(options?: SceneOptions): Promise<Scene> {
    return Scene.over(buildTopology, options);
  }

  /** @param make builds the network, whose owner removes it */
  static async over<N extends Net>(
    make: (owner: AsyncDisposableStack) => Promise<N>,
    { service = [], bank }: SceneOptions = {},
  ): Promise<Scene<N>> {
    await using owned = new AsyncDisposableStack();
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-e2e-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const scene = new Scene(await make(owned), owned, dir);
    await scene.#serve(service, bank);
    scene.#owned = owned.move();
    return scene;
  }

  async #serve(service: readonly string[], bank: readonly string[] | undefined): Promise<void> {
    const { superPeers } = this.net;
    const cards: string[] = [];
    for (const [i, sp] of superPeers.entries()) {
      const card = this.file(`sp${i}.card`);
      const at = ['--address', `/ip4/${sp.address}/tcp/4242`];
      await this.done(sp, 'super-peer', 'card', ...this.#state(`sp${i}`), ...at, '--out', card);
      cards.push('--super-peer', card);
    }
    const [sp] = superPeers;
    const create = (name: string) => {
      const files = ['--dir', this.file(name), '--bootstrap', this.file(`${name}.json`)];
      return ['create', '--name', name, ...files, ...cards, '--json'];
    };
    await this.done(sp, 'overlay', ...create('overlay'));
    const services = bank === undefined ? { shop: service } : { shop: service, bank };
    const allowed: string[] = [];
    for (const [name, more] of Object.entries(services)) {
      const made = await this.done(sp, 'service', ...create(name), ...more);
      allowed.push('--allow-service', JSON.parse(made).serviceId);
    }
    this.#allowed = allowed;
    for (const i of superPeers.keys()) await this.runSuperPeer(i);
    for (const name of Object.keys(services)) {
      await this.done(sp, 'service', 'publish', '--dir', this.file(name));
    }
  }

  /** Starts a super-peer; for one that a test has stopped, too. */
  runSuperPeer(i: number): Promise<TestProcess> {
    const at = this.net.superPeers[i];
    assert.ok(at);
    const overlay = ['--overlay', this.file('overlay.json'), ...this.#allowed];
    return this.#start(at, 'super-peer', 'run', ...this.#state(`sp${i}`), ...overlay);
  }

  /**
   * Starts a member in the foreground, with the service's bootstrap data if `options` name no other;
   * returns when it is up.
   */
  up(at: DemoHost, name: string, ...options: string[]): Promise<TestProcess> {
    const shop = ['--bootstrap', this.file('shop.json')];
    const bootstrap = [...(options.includes('--bootstrap') ? [] : shop), '--vmid', name];
    return this.#start(at, 'up', '--foreground', ...this.#state(name), ...bootstrap, ...options);
  }

  async down(at: DemoHost, name: string): Promise<void> {
    await this.done(at, 'down', ...this.#state(name));
  }

  /** What `icvpn status --json` says, asked over the daemon's socket: where time counts, a program's start would too. */
  async status(name: string): Promise<MemberStatus> {
    return JSON.parse(await this.#ask(name, 'status'));
  }

  /** As {@link status}, of `icvpn members --json`. */
  async members(name: string): Promise<MemberView> {
    return JSON.parse(await this.#ask(name, 'members'));
  }

  async #ask(name: string, command: string): Promise<string> {
    const signal = AbortSignal.timeout(30_000);
    return JSON.stringify(await controlRequest(this.file(name), command, { signal }));
  }

  /** The end of what every daemon said. */
  logs(): string {
    return this.#daemons.map(({ stderr }) => stderr.slice(-2_000)).join('\n');
  }

  /** What the service's owner does, at the first super-peer. */
  owner(...args: string[]): Promise<string> {
    return this.done(this.net.superPeers[0], ...args, '--dir', this.file('shop'));
  }

  async done(at: DemoHost, ...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.icvpn(at, ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  }

  async #start(at: DemoHost, ...args: string[]): Promise<TestProcess> {
    const listen = args.includes('--listen') ? [] : ['--listen', '/ip4/0.0.0.0/tcp/4242'];
    const command = [ICVPN, ...args, ...listen, '--json'];
    const daemon = this.#owned.use(at.ns.start(process.execPath, command));
    this.#daemons.push(daemon);
    await daemon.receive(120_000);
    return daemon;
  }

  icvpn(at: DemoHost, ...args: string[]): Promise<ExecResult> {
    return at.ns.exec(process.execPath, [ICVPN, ...args]);
  }

  /** Ends a process with the scene. */
  own(started: TestProcess): TestProcess {
    return this.#owned.use(started);
  }

  /** In the scene's own folder: `shop.json`, `sp0`, the state of each node under its name. */
  file(name: string): string {
    return join(this.#dir, name);
  }

  #state(name: string): string[] {
    return ['--state', this.file(name)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** The SPIs of whole SAs between two addresses of the underlay, in one direction. */
export async function spis(ns: Netns, source: string, destination: string): Promise<string[]> {
  const ends = ['src', source, 'dst', destination];
  const list = await ns.ip('xfrm', 'state', 'list', 'nokeys', ...ends);
  return [...list.matchAll(/proto esp spi (0x[0-9a-f]+)/g)]
    .map(([, spi = '']) => spi)
    .filter((spi) => spi !== '0x00000000');
}

/** The kernel's counters of packets that IPsec dropped or refused. */
export const drops = (ns: Netns): Promise<string> => ns.run('cat', ['/proc/net/xfrm_stat']);

/** Looks every 50 ms until it holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 60_000,
): Promise<void> {
  const limit = AbortSignal.timeout(limitMs);
  while (!(await holds())) {
    assert.ok(!limit.aborted, `never: ${what}`);
    await delay(50);
  }
}

export const count = (text: string, part: string): number => text.split(part).length - 1;

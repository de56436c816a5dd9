/**
 * A service's owner and super-peers on loopback that do not know each other: what one has, only the owner gave it.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ed25519PeerId } from '@libp2p/interface';
import { generateSealingKey } from '../../../src/admission/sealed.ts';
import { runCli } from '../../../src/cli/program.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { createHost } from '../../../src/overlay/host.ts';
import { PublishServer } from '../../../src/overlay/publish.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import { createService, type SignedService } from '../../../src/owner/service.ts';
import { seal } from '../../../src/records/envelope.ts';
import { openCard, SUPER_PEER_CARD } from '../../../src/records/super-peer-card.ts';
import { freePort } from '../overlay/free-port.ts';
import { type Identity, identity } from '../overlay/harness.ts';
import { MemoryNetwork } from '../overlay/memory-network.ts';

/** One that takes what is published; it can be stopped and started again with what it had. */
export class TestSuperPeer implements AsyncDisposable {
  readonly identity: Identity;
  readonly #listen: string;
  readonly #store = new RecordStore({ kinds: SPREAD_KINDS });
  readonly records: Records;
  readonly #sealingKey = generateSealingKey().publicKey;
  /** Whether its operator lets it serve the service. */
  allowed = true;
  #running: AsyncDisposableStack | undefined;

  private constructor(own: Identity, port: number) {
    this.identity = own;
    this.#listen = `/ip4/127.0.0.1/tcp/${port}`;
    const network = new MemoryNetwork().join(this.#store);
    this.records = new Records({ store: this.#store, network });
  }

  static async make(): Promise<TestSuperPeer> {
    return new TestSuperPeer(await identity(), await freePort());
  }

  async card() {
    const { key, id: peerId } = this.identity;
    const card = {
      peerId,
      sealingKey: this.#sealingKey,
      multiaddrs: [parseTcpMultiaddr(this.#listen)],
    };
    return openCard(await seal(SUPER_PEER_CARD, card, key));
  }

  async start(): Promise<void> {
    const running = new AsyncDisposableStack();
    const host = await createHost({ key: this.identity.key, listen: [this.#listen] });
    running.defer(() => host.close());
    const { records } = this;
    const server = new PublishServer({ host, records, allow: () => this.allowed });
    await server.start();
    running.defer(() => server.close());
    this.#running = running;
  }

  async stop(): Promise<void> {
    await this.#running?.disposeAsync();
    this.#running = undefined;
  }

  descriptor(service: Ed25519PeerId) {
    return this.records.latest(DESCRIPTOR_RECORD, service)?.value;
  }

  policy(service: Ed25519PeerId) {
    return this.records.latest(POLICY_RECORD, service)?.value;
  }

  /** PeerIDs of those that the owner has revoked, sorted. */
  revoked(service: Ed25519PeerId): string[] {
    const list = this.records.latest(REVOCATION_RECORD, service, service)?.value;
    return (list?.revocations ?? []).map(({ peerId }) => peerId.toString()).toSorted();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await this.records.close();
  }
}

export interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A service in a directory of its own, and its super-peers, which run. */
export class OwnerWorld implements AsyncDisposable {
  readonly root: string;
  readonly dir: string;
  readonly superPeers: readonly TestSuperPeer[];
  readonly service: SignedService;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    root: string,
    superPeers: readonly TestSuperPeer[],
    service: SignedService,
    owned: AsyncDisposableStack,
  ) {
    this.root = root;
    this.dir = join(root, 'shop');
    this.superPeers = superPeers;
    this.service = service;
    this.#owned = owned;
  }

  static async make(count: number): Promise<OwnerWorld> {
    const owned = new AsyncDisposableStack();
    const root = await mkdtemp(join(tmpdir(), 'icvpn-owner-'));
    owned.defer(() => rm(root, { recursive: true }));
    const superPeers: TestSuperPeer[] = [];
    for (let i = 0; i < count; i++) superPeers.push(owned.use(await TestSuperPeer.make()));
    const cards = await Promise.all(superPeers.map((each) => each.card()));
    for (const [i, { bytes }] of cards.entries()) await writeFile(join(root, `${i}.card`), bytes);
    const service = await createService({
      ...{ dir: join(root, 'shop'), name: 'shop', superPeers: cards, credentialLifetime: 3600 },
      ipv4Prefix: { network: '100.64.0.0', length: 16 },
      bootstrapFile: join(root, 'shop.json'),
      signal: AbortSignal.timeout(60_000),
    });
    for (const each of superPeers) await each.start();
    return new OwnerWorld(root, superPeers, service, owned);
  }

  get serviceId(): Ed25519PeerId {
    return this.service.descriptor.value.serviceId;
  }

  path(name: string): string {
    return join(this.root, name);
  }

  /** Runs a command of the owner's in this process, with `--dir` unless it is among the words. */
  async icvpn(...words: string[]): Promise<Run> {
    const args = words.includes('--dir') ? words : [...words, '--dir', this.dir];
    return await icvpn(...args);
  }

  /** The same, which must succeed. @returns what it printed */
  async done(...words: string[]): Promise<string> {
    const { code, out, err } = await this.icvpn(...words);
    if (code !== 0) throw new Error(`icvpn ${words.join(' ')} exits with ${code}: ${err}${out}`);
    return out;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

export async function icvpn(...args: string[]): Promise<Run> {
  let [out, err] = ['', ''];
  const output = {
    out: (text: string): void => {
      out += text;
    },
    err: (text: string): void => {
      err += text;
    },
  };
  const code = await runCli(args, { output, signal: AbortSignal.timeout(50_000) });
  return { code, out, err };
}

/** A PeerID that nobody has. */
export const anyPeerId = async (): Promise<string> => (await identity()).id.toString();

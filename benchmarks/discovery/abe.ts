/** Discovery as icvpn does it: the directory under its seal, on a connection that is there. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Multiaddr } from '@multiformats/multiaddr';
import { requestAttributeKey, serveAttributeKeys } from '../../src/daemon/attribute-protocol.ts';
import { DiscoveryClient } from '../../src/daemon/discovery-client.ts';
import { decodeAttributeKey, decrypt } from '../../src/keymgmt/abe/index.ts';
import { SecureCache } from '../../src/keymgmt/cache/secure-cache.ts';
import { Authority } from '../../src/keymgmt/discovery/authority.ts';
import { DataKeyReader, DataKeys } from '../../src/keymgmt/discovery/data-key.ts';
import { updateOpener, updateSealer } from '../../src/keymgmt/discovery/directory-seal.ts';
import { type DirectorySeal, PLAIN } from '../../src/overlay/directory.ts';
import { DirectoryClient } from '../../src/overlay/directory-client.ts';
import { DirectoryServer } from '../../src/overlay/directory-server.ts';
import { makeAuthority, type NewAuthority } from '../../src/owner/authority.ts';
import { descriptorOf } from '../../test/unit/overlay/harness.ts';
import type { Network, Requester } from './network.ts';
import { type Samples, sample } from './samples.ts';

const log = (): void => {};

export class AbeDiscovery implements AsyncDisposable {
  readonly #network: Network;
  readonly #keys: NewAuthority;
  readonly #authority: Authority;
  readonly #dataKeys: DataKeys;
  readonly #owned: AsyncDisposableStack;
  #plain = false;

  private constructor(
    network: Network,
    keys: NewAuthority,
    authority: Authority,
    owned: AsyncDisposableStack,
  ) {
    this.#network = network;
    this.#keys = keys;
    this.#authority = authority;
    this.#dataKeys = new DataKeys((policy, key) => authority.encrypt(policy, key));
    this.#owned = owned;
  }

  static async start(network: Network): Promise<AbeDiscovery> {
    await using owned = new AsyncDisposableStack();
    const keys = await makeAuthority();
    const authority = await Authority.start(keys);
    owned.defer(() => authority.close());
    const discovery = new AbeDiscovery(network, keys, authority, owned.move());
    await discovery.#serve();
    return discovery;
  }

  async #serve(): Promise<void> {
    const { gate, membership, superPeer, trust } = this.#network;
    await serveAttributeKeys(gate, () => Promise.resolve(this.#authority));
    const sealer = updateSealer(this.#dataKeys, superPeer.key);
    const seal: Pick<DirectorySeal, 'seal' | 'sealForAll'> = {
      seal: (update, recipient, nonce) =>
        this.#plain ? PLAIN.seal(update, recipient, nonce) : sealer.seal(update, recipient, nonce),
      sealForAll: (update, of) =>
        this.#plain ? PLAIN.sealForAll(update, of) : sealer.sealForAll(update, of),
    };
    const server = new DirectoryServer({ gate, membership, key: superPeer.key, trust, seal });
    await server.start();
    this.#owned.defer(() => server.close());
  }

  /** A connected member with its key: what a list costs, by what is kept. */
  async measure(n: number, rtt: number, expected: number): Promise<Record<string, Samples>> {
    const at = await this.#network.at(rtt);
    const requester = await this.#network.requester();
    await requester.gate.admit(at);
    const key = decodeAttributeKey(await requestAttributeKey(requester.gate, at));
    const reader = new DataKeyReader((wrapped) => decrypt(key, wrapped));
    const { serviceId } = requester.credential.value;
    const trust = () => ({ ...this.#network.trust(), serviceId });
    const sealed = updateOpener(reader, requester.id, trust);
    const list = (before: () => void, seal: Pick<DirectorySeal, 'open'>): Promise<Samples> => {
      let client: DirectoryClient;
      return sample(n, {
        before: () => {
          before();
          client = this.#client(requester, at, seal);
        },
        work: () => client.attach(),
        after: () => {
          const count = client.members().length;
          if (count < expected) throw new Error(`${count} members, not ${expected}`);
          return client.close();
        },
      });
    };
    const perRequester = await list(() => {
      this.#dataKeys.clear();
      reader.clear();
    }, sealed);
    const cached = await list(() => reader.clear(), sealed);
    const kept = await list(() => undefined, sealed);
    this.#plain = true;
    const plain = await list(() => undefined, PLAIN);
    this.#plain = false;
    return {
      'CP-ABE, per requester: sealed anew, opened anew': perRequester,
      'CP-ABE, cached: sealed before, opened anew': cached,
      'CP-ABE, a later list: data key known to both': kept,
      'no seal: Noise alone': plain,
    };
  }

  /** Members that never discovered before: a key is issued, then the list sealed and opened. */
  async measureFirst(n: number, rtt: number): Promise<Samples> {
    const at = await this.#network.at(rtt);
    const { host, service, trust } = this.#network;
    const descriptor = descriptorOf(service.id, [host], {
      attributePublicKey: this.#keys.publicKey,
    });
    const superPeers = (): Multiaddr[][] => [at];
    let own: AsyncDisposableStack;
    let attach: () => Promise<void>;
    return sample(n, {
      before: async () => {
        own = new AsyncDisposableStack();
        const requester = await this.#network.requester();
        await requester.gate.admit(at);
        const dir = await mkdtemp(join(tmpdir(), 'icvpn-discovery-'));
        own.defer(() => rm(dir, { recursive: true }));
        const cache = own.use(await SecureCache.open(dir));
        const { gate, id: peerId } = requester;
        attach = () => {
          const discovery = own.use(
            new DiscoveryClient({
              ...{ gate, cache, peerId, superPeers, trust, log },
              service: () => descriptor,
              epoch: () => 1,
            }),
          );
          const client = this.#client(requester, at, discovery.seal);
          own.defer(() => client.goodbye());
          return client.attach();
        };
      },
      work: () => attach(),
      after: () => own.disposeAsync(),
    });
  }

  #client(
    { gate, host }: Requester,
    at: Multiaddr[],
    seal: Pick<DirectorySeal, 'open'>,
  ): DirectoryClient {
    const { trust } = this.#network;
    const multiaddrs = () => host.multiaddrs();
    return new DirectoryClient({ gate, superPeers: () => [at], multiaddrs, trust, seal });
  }

  /** Attribute keys issued in a second of wall-clock and of processor time. */
  async keysPerSecond(n: number): Promise<{ n: number; wall: number; core: number }> {
    const { credential } = await this.#network.requester();
    for (let i = 0; i < 5; i++) await this.#authority.issue(credential.value);
    const used = process.cpuUsage();
    const start = performance.now();
    for (let i = 0; i < n; i++) await this.#authority.issue(credential.value);
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(used);
    const rate = (time: number): number => Number((n / time).toFixed(1));
    return { n, wall: rate(seconds), core: rate((user + system) / 1e6) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

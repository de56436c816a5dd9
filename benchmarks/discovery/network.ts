/** One super-peer with a list of members, and one member that asks: real hosts, real TCP on loopback. */
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { dialled, parseTcpMultiaddr } from '../../src/codec/multiaddr.ts';
import { Gate, type Trust } from '../../src/overlay/gate.ts';
import type { Host } from '../../src/overlay/host.ts';
import { Membership } from '../../src/overlay/membership.ts';
import { RecordStore } from '../../src/overlay/record-store.ts';
import { Records } from '../../src/overlay/records.ts';
import { MEMBERSHIP_RECORD } from '../../src/overlay/stored-kinds.ts';
import type { Credential } from '../../src/records/credential.ts';
import type { Opened } from '../../src/records/envelope.ts';
import {
  credentialFor,
  type Identity,
  identity,
  listen,
  trustIn,
} from '../../test/unit/overlay/harness.ts';
import { MemoryNetwork } from '../../test/unit/overlay/memory-network.ts';
import { relayTo } from './relay.ts';

export interface Requester extends Identity {
  readonly host: Host;
  readonly gate: Gate;
  readonly credential: Opened<Credential>;
}

export class Network implements AsyncDisposable {
  readonly service: Identity;
  readonly superPeer: Identity;
  readonly host: Host;
  readonly gate: Gate;
  readonly membership: Membership;
  readonly #owned: AsyncDisposableStack;

  private constructor(
    parts: Pick<Network, 'service' | 'superPeer' | 'host' | 'gate' | 'membership'>,
    owned: AsyncDisposableStack,
  ) {
    this.service = parts.service;
    this.superPeer = parts.superPeer;
    this.host = parts.host;
    this.gate = parts.gate;
    this.membership = parts.membership;
    this.#owned = owned;
  }

  readonly trust = (): Trust => trustIn([this.superPeer.id]);

  /** @param members how many there are besides who asks */
  static async start(members: number): Promise<Network> {
    await using owned = new AsyncDisposableStack();
    const [service, superPeer] = [await identity(), await identity()];
    const host = await listen(superPeer.key);
    owned.defer(() => host.close());
    const trust = (): Trust => trustIn([superPeer.id]);
    const gate = new Gate(host, { overlayId: service.id, credential: () => undefined, trust });
    await gate.start();
    owned.defer(() => gate.close());
    const store = new RecordStore({ kinds: [MEMBERSHIP_RECORD] });
    const records = new Records({ store, network: new MemoryNetwork().join(store) });
    owned.defer(() => records.close());
    const own = { key: superPeer.key, superPeer: superPeer.id, serviceId: service.id };
    const membership = new Membership({ records, trust, ...own });
    owned.defer(() => membership.close({ signal: AbortSignal.abort() }));
    for (let i = 0; i < members; i++) {
      const { id } = await identity();
      const credential = await credentialFor(service.id, superPeer.key, id);
      const address = `/ip4/10.1.${Math.floor(i / 250)}.${i % 250}/tcp/4242`;
      membership.add(credential, [parseTcpMultiaddr(address)], 1);
    }
    return new Network({ service, superPeer, host, gate, membership }, owned.move());
  }

  /** A member that has not met the super-peer yet. */
  async requester(): Promise<Requester> {
    const who = await identity();
    const credential = await credentialFor(this.service.id, this.superPeer.key, who.id);
    const host = await listen(who.key);
    this.#owned.defer(() => host.close());
    const { trust } = this;
    const own = { overlayId: this.service.id, credential: () => credential.bytes, trust };
    const gate = new Gate(host, own);
    await gate.start();
    this.#owned.defer(() => gate.close());
    return { ...who, host, gate, credential };
  }

  /** Where the super-peer is, for somebody that far away. */
  async at(rtt: number): Promise<Multiaddr[]> {
    const addresses = this.host.multiaddrs().map((each) => dialled(each, this.superPeer.id));
    if (rtt === 0) return addresses;
    const port = addresses[0]?.getComponents().find(({ name }) => name === 'tcp')?.value;
    const relay = await relayTo(Number(port), rtt);
    this.#owned.use(relay);
    return [multiaddr(`/ip4/127.0.0.1/tcp/${relay.port}/p2p/${this.superPeer.id}`)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/**
 * The other members, as the data plane needs them: a trap policy for each, SAs for those that this
 * one talks to.
 *
 * ```
 *  directory ─▶ members ─▶ underlay address ─▶ trap policies
 *                                                   │ ACQUIRE
 *  tier 2 ─────────────▶ newest endpoint ──────▶ exchange ─▶ SAs
 * ```
 */
import type { AbortOptions, Ed25519PeerId, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { DataPlane } from '../ipsec/dataplane.ts';
import type { ExchangeContext } from '../keymgmt/exchange/context.ts';
import { EXCHANGE_PROTOCOL_SUFFIX } from '../keymgmt/exchange/protocol.ts';
import type { Trust } from '../overlay/gate.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import { ENDPOINT_RECORD } from '../overlay/stored-kinds.ts';
import {
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
} from '../records/credential.ts';
import { type Opened, open } from '../records/envelope.ts';
import type { Log } from './log.ts';
import { Pair, type SpiPair } from './pair.ts';
import type { Tier } from './tier.ts';
import { addressesOf, localAddressTowards } from './underlay.ts';

/** How long an exchange waits for the newest endpoint before it takes the one it knows, in ms. */
const ENDPOINT_TIMEOUT_MS = 2_000;

export interface PeersOptions {
  readonly tier: Tier;
  readonly dataPlane: DataPlane;
  readonly local: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  /** All that is the same for every exchange. */
  readonly context: () => Omit<ExchangeContext, 'peer' | 'verify'>;
  readonly trust: () => Trust;
  readonly log: Log;
}

export interface Peer {
  readonly peerId: Ed25519PeerId;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly underlay: string;
  readonly spis: SpiPair | undefined;
}

interface Entry {
  readonly peerId: Ed25519PeerId;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  readonly pair: Pair;
  credential: Opened<Credential>;
  multiaddrs: readonly string[];
  underlay: string;
}

export class Peers implements AsyncDisposable {
  readonly #options: PeersOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #closed = new AbortController();
  /** One change of the set of peers at a time. */
  #queue: Promise<void> = Promise.resolve();
  readonly #onAcquire = (peerId: string): void => this.#entries.get(peerId)?.pair.want();
  readonly #onExpire = ({ peerId, direction }: { peerId: string; direction: string }): void => {
    if (direction === 'out') this.#entries.get(peerId)?.pair.want();
  };

  private constructor(options: PeersOptions) {
    this.#options = options;
  }

  static async start(options: PeersOptions): Promise<Peers> {
    const peers = new Peers(options);
    options.dataPlane.on('acquire', peers.#onAcquire);
    options.dataPlane.on('expire', peers.#onExpire);
    await options.tier.gate.handle(EXCHANGE_PROTOCOL_SUFFIX, async (stream, connection, pass) => {
      if (pass === 'admitter') return stream.abort(new Error('a super-peer has no SAs'));
      await peers.#respond(stream, pass, connection.remoteAddr.toString());
    });
    return peers;
  }

  get(peerId: Ed25519PeerId): Peer | undefined {
    const entry = this.#entries.get(peerId.toString());
    if (entry === undefined) return undefined;
    const { addresses, underlay, pair } = entry;
    return { peerId, ...addresses, underlay, spis: pair.current };
  }

  /** Makes the peers equal to the list, this member itself left out. */
  async set(members: readonly Listed[]): Promise<void> {
    const others = members.filter((each) => !each.peerId.equals(this.#options.local));
    await this.#enqueue(async () => {
      const listed = new Set(others.map((each) => each.peerId.toString()));
      for (const id of this.#entries.keys()) if (!listed.has(id)) await this.#remove(id);
      for (const each of others) {
        await this.#put(await open(CREDENTIAL, each.credential), each.multiaddrs);
      }
    });
  }

  /** Removes at once whoever may no longer be a member, without waiting for the directory to say so. */
  recheck(): Promise<void> {
    return this.#enqueue(async () => {
      const { revoked = () => false } = this.#options.trust();
      for (const [id, { credential }] of [...this.#entries]) {
        if (revoked(credential)) await this.#remove(id);
      }
    });
  }

  async #respond(stream: Stream, credential: Opened<Credential>, from: string): Promise<void> {
    // Its own super-peer may know it before ours has told us.
    await this.#enqueue(() => this.#put(credential, [from], { keepAddress: true }));
    const entry = this.#entries.get(credential.value.peerId.toString());
    if (entry === undefined) return stream.abort(new Error('no way back to the peer'));
    await entry.pair.respond(stream);
  }

  async #put(
    credential: Opened<Credential>,
    multiaddrs: readonly string[],
    options = { keepAddress: false },
  ): Promise<void> {
    const { peerId, ipv4, ipv6 } = credential.value;
    const id = peerId.toString();
    if (this.#options.trust().revoked?.(credential)) return;
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry.addresses.ipv4 === ipv4 && entry.addresses.ipv6 === ipv6) {
      entry.credential = credential;
      if (!options.keepAddress) await this.#move(entry, multiaddrs);
      return;
    }
    if (entry !== undefined) await this.#remove(id);
    const underlay = addressesOf(multiaddrs)[0];
    if (underlay === undefined) return;
    const { dataPlane, log } = this.#options;
    try {
      const local = await localAddressTowards(underlay, { signal: this.#closed.signal });
      const addresses = { ipv4, ipv6 };
      await dataPlane.addPeer({ id, virtualAddresses: addresses }, { local, remote: underlay });
      const pair = this.#pair(peerId);
      this.#entries.set(id, { peerId, addresses, pair, credential, multiaddrs, underlay });
      log('peer-added', { peer: id, ipv4, underlay });
    } catch (error) {
      log('peer-failed', { peer: id, why: String(error) });
    }
  }

  async #move(entry: Entry, multiaddrs: readonly string[]): Promise<void> {
    const underlay = addressesOf(multiaddrs)[0];
    entry.multiaddrs = multiaddrs;
    if (underlay === undefined || underlay === entry.underlay) return;
    const id = entry.peerId.toString();
    const local = await localAddressTowards(underlay, { signal: this.#closed.signal });
    await this.#options.dataPlane.updatePeerUnderlay(id, { local, remote: underlay });
    entry.underlay = underlay;
    this.#options.log('peer-moved', { peer: id, underlay });
  }

  async #remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    await entry.pair[Symbol.asyncDispose]();
    await this.#options.dataPlane.removePeer(id);
    this.#options.log('peer-removed', { peer: id });
  }

  #pair(remote: Ed25519PeerId): Pair {
    const { dataPlane, local, log, context } = this.#options;
    const verify = (envelope: Uint8Array, options?: AbortOptions) =>
      this.#verify(remote, envelope, options);
    return new Pair({
      ...{ local, remote, dataPlane, log },
      context: () => ({ ...context(), peer: remote, verify }),
      open: (signal) => this.#open(remote, signal),
    });
  }

  /** A credential must also be for the very addresses that the policies to this peer are for. */
  async #verify(remote: Ed25519PeerId, envelope: Uint8Array, options?: AbortOptions) {
    const { serviceId, trust } = this.#options;
    const opened = await open(CREDENTIAL, envelope, options);
    const now = Date.now() / 1000;
    checkCredential(opened, { ...trust(), serviceId, bearer: remote, now });
    const { ipv4, ipv6 } = opened.value;
    const entry = this.#entries.get(remote.toString());
    if (entry?.addresses.ipv4 === ipv4 && entry.addresses.ipv6 === ipv6) return opened;
    throw new CredentialError('peer', `credential of ${remote}: it is for other addresses`);
  }

  async #open(remote: Ed25519PeerId, signal: AbortSignal): Promise<Stream> {
    const { tier, serviceId } = this.#options;
    const entry = this.#entries.get(remote.toString());
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ENDPOINT_TIMEOUT_MS)]);
    const found = await tier.records
      .get(ENDPOINT_RECORD, [serviceId, remote], { signal: limit })
      .catch(() => undefined); // then what the directory says must do
    signal.throwIfAborted();
    if (entry !== undefined && found !== undefined && found.value.multiaddrs.length > 0) {
      await this.#enqueue(() => this.#move(entry, found.value.multiaddrs));
    }
    const target = (entry?.multiaddrs ?? []).map((each) => multiaddr(each));
    return tier.gate.open(target.length > 0 ? target : remote, EXCHANGE_PROTOCOL_SUFFIX, {
      signal,
    });
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    const { dataPlane, tier } = this.#options;
    dataPlane.off('acquire', this.#onAcquire);
    dataPlane.off('expire', this.#onExpire);
    await tier.gate.unhandle(EXCHANGE_PROTOCOL_SUFFIX);
    await this.#queue;
    for (const { pair } of this.#entries.values()) await pair[Symbol.asyncDispose]();
  }
}

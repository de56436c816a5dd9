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
import type { AbortOptions, Connection, Ed25519PeerId, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { DataPlane, ExpireNotice, Underlay } from '../ipsec/dataplane.ts';
import type { SaPair } from '../ipsec/lifecycle/events.ts';
import type { Timing } from '../ipsec/lifecycle/timing.ts';
import type { ExchangeContext } from '../keymgmt/exchange/context.ts';
import { EXCHANGE_PROTOCOL_SUFFIX } from '../keymgmt/exchange/protocol.ts';
import type { GatedHandler, Target, Trust } from '../overlay/gate.ts';
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
import { answer, ask, type Moved, PAIR_PROTOCOL_SUFFIX, type PairRequest } from './pair/control.ts';
import { Pair } from './pair/pair.ts';
import { perPeer } from './pair/per-peer.ts';
import { UsageWatch } from './pair/usage-watch.ts';
import type { Tier } from './tier.ts';
import { addressesOf, localAddressTowards } from './underlay.ts';

/** How long an exchange waits for the newest endpoint before it takes the one it knows, in ms. */
const ENDPOINT_TIMEOUT_MS = 2_000;
/** How long telling a peer of this node's address may take, in ms. */
const TELL_TIMEOUT_MS = 2_000;
/** Addresses that a peer is told. */
const MAX_MULTIADDRS = 8;
/** Streams of one protocol that one peer may have open at this node. */
const MAX_STREAMS_PER_PEER = 4;

export interface PeersOptions {
  readonly tier: Tier;
  readonly dataPlane: DataPlane;
  readonly local: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  /** All that is the same for every exchange. */
  readonly context: () => Omit<ExchangeContext, 'peer' | 'verify'>;
  readonly trust: () => Trust;
  /** Where this node can be dialled now. */
  readonly multiaddrs: () => string[];
  readonly timing?: Partial<Timing>;
  readonly log: Log;
}

export interface Peer {
  readonly peerId: Ed25519PeerId;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly underlay: string;
  readonly spis: SaPair | undefined;
}

interface Entry {
  readonly peerId: Ed25519PeerId;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  readonly pair: Pair;
  credential: Opened<Credential>;
  /** What the directory said last: only what is new there counts. */
  listed: string;
  /** Of the newest news from the peer itself. */
  sequence: number;
  multiaddrs: readonly string[];
  underlay: Underlay;
  /** The peer does not know yet that this node has another address. */
  untold: boolean;
}

export class Peers implements AsyncDisposable {
  readonly #options: PeersOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #closed = new AbortController();
  /** One change of the set of peers at a time. */
  #queue: Promise<void> = Promise.resolve();
  readonly #usage: UsageWatch;
  readonly #onAcquire = (peerId: string): void => this.#entries.get(peerId)?.pair.acquire();
  readonly #onExpire = ({ peerId, spi, direction, hard }: ExpireNotice): void =>
    this.#entries.get(peerId)?.pair.expired(spi, direction, hard);
  /** A peer whose connection is new may have lost its SAs in a crash. */
  readonly #onAdmitted = (peerId: Ed25519PeerId): void =>
    this.#entries.get(peerId.toString())?.pair.doubt();

  private constructor(options: PeersOptions) {
    this.#options = options;
    this.#usage = new UsageWatch({
      ...options,
      wanted: () => [...this.#entries.values()].some(({ pair }) => pair.current !== undefined),
      onUsage: (id, usage) => this.#entries.get(id)?.pair.counted(usage),
    });
  }

  static async start(options: PeersOptions): Promise<Peers> {
    const peers = new Peers(options);
    options.dataPlane.on('acquire', peers.#onAcquire);
    options.dataPlane.on('expire', peers.#onExpire);
    options.tier.gate.on('admitted', peers.#onAdmitted);
    await peers.#handle(EXCHANGE_PROTOCOL_SUFFIX, async (stream, connection, pass) => {
      if (pass === 'admitter') return stream.abort(new Error('a super-peer has no SAs'));
      await peers.#respond(stream, pass, connection.remoteAddr.toString());
    });
    await peers.#handle(PAIR_PROTOCOL_SUFFIX, (stream, connection) =>
      answer(stream, (request) => peers.#answer(connection, request), peers.#closed.signal),
    );
    return peers;
  }

  get(peerId: Ed25519PeerId): Peer | undefined {
    const entry = this.#entries.get(peerId.toString());
    if (entry === undefined) return undefined;
    const { addresses, underlay, pair } = entry;
    return { peerId, ...addresses, underlay: underlay.remote, spis: pair.current };
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

  /**
   * This node's own address has changed: policies follow, and peers that it talks to are told.
   *
   * @returns whether there is a way to all of them
   */
  async rehome(): Promise<boolean> {
    let whole = true;
    await this.#enqueue(async () => {
      for (const entry of this.#entries.values()) {
        entry.untold = true;
        try {
          await this.#point(entry, entry.underlay.remote);
        } catch {
          whole = false; // no route yet
        }
      }
    });
    return whole;
  }

  #handle(suffix: string, handler: GatedHandler): Promise<void> {
    const limits = { maxInboundStreams: MAX_STREAMS_PER_PEER };
    return this.#options.tier.gate.handle(suffix, perPeer(MAX_STREAMS_PER_PEER, handler), limits);
  }

  async #answer(connection: Connection, request: PairRequest): Promise<boolean> {
    const entry = this.#entries.get(connection.remotePeer.toString());
    if (entry === undefined) return false;
    if ('probe' in request) return entry.pair.receives(request.probe);
    if ('deleted' in request) return entry.pair.deleted(request.deleted);
    return this.#heardOfMove(entry, request.moved, connection);
  }

  async #heardOfMove(entry: Entry, moved: Moved, connection: Connection): Promise<boolean> {
    if (moved.sequence <= entry.sequence) return false;
    // Its other connections come from an address that it has left: nothing would ever answer there.
    for (const other of this.#options.tier.gate.host.libp2p.getConnections(entry.peerId)) {
      if (other.id !== connection.id) other.abort(new Error('the peer has moved'));
    }
    await this.#enqueue(async () => {
      if (moved.sequence <= entry.sequence) return;
      entry.sequence = moved.sequence;
      entry.multiaddrs = moved.multiaddrs;
      const [remote] = addressesOf(moved.multiaddrs);
      if (remote !== undefined) await this.#point(entry, remote);
    });
    return true;
  }

  async #respond(stream: Stream, credential: Opened<Credential>, from: string): Promise<void> {
    // Its own super-peer may know it before ours has told us.
    await this.#enqueue(() => this.#put(credential, [from], { keepAddress: true }));
    const entry = this.#entries.get(credential.value.peerId.toString());
    if (entry === undefined) return stream.abort(new Error('no way back to the peer'));
    if (entry.untold) {
      const limit = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(TELL_TIMEOUT_MS)]);
      await this.#tellMove(entry, limit).catch(() => {}); // told again before a run of our own
    }
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
      const listed = multiaddrs.join();
      if (options.keepAddress || listed === entry.listed) return;
      try {
        await this.#follow(entry, multiaddrs);
        entry.listed = listed;
      } catch (error) {
        this.#options.log('peer-failed', { peer: id, why: String(error) });
      }
      return;
    }
    if (entry !== undefined) await this.#remove(id);
    const remote = addressesOf(multiaddrs)[0];
    if (remote === undefined) return;
    const { dataPlane, log } = this.#options;
    try {
      const local = await localAddressTowards(remote, { signal: this.#closed.signal });
      const addresses = { ipv4, ipv6 };
      const underlay = { local, remote };
      await dataPlane.addPeer({ id, virtualAddresses: addresses }, underlay);
      const news = { listed: options.keepAddress ? '' : multiaddrs.join(), sequence: 0 };
      const own = { peerId, addresses, pair: this.#pair(peerId), credential };
      // With several addresses of its own, this node sends from one that the peer may not expect.
      const untold = addressesOf(this.#options.multiaddrs()).indexOf(local) > 0;
      this.#entries.set(id, { ...own, ...news, multiaddrs, underlay, untold });
      log('peer-added', { peer: id, ipv4, underlay: remote });
    } catch (error) {
      log('peer-failed', { peer: id, why: String(error) });
    }
  }

  /** Others say where the peer is. One of several addresses is as good as another: SAs stay. */
  async #follow(entry: Entry, multiaddrs: readonly string[]): Promise<void> {
    const addresses = addressesOf(multiaddrs);
    const [first] = addresses;
    if (first === undefined) return;
    entry.multiaddrs = multiaddrs;
    const { remote } = entry.underlay;
    await this.#point(entry, addresses.includes(remote) ? remote : first);
  }

  /** Policies and SAs of the peer lead to `remote`, from the address that the kernel would take. */
  async #point(entry: Entry, remote: string): Promise<void> {
    const local = await localAddressTowards(remote, { signal: this.#closed.signal });
    if (entry.underlay.local === local && entry.underlay.remote === remote) return;
    entry.underlay = { local, remote };
    entry.pair.move(entry.underlay);
    this.#options.log('peer-moved', { peer: entry.peerId.toString(), local, underlay: remote });
  }

  async #remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    await entry.pair.close({ tellPeer: false });
    await this.#options.dataPlane.removePeer(id);
    this.#options.log('peer-removed', { peer: id });
  }

  #pair(remote: Ed25519PeerId): Pair {
    const { dataPlane, local, log, context, timing = {} } = this.#options;
    const verify = (envelope: Uint8Array, options?: AbortOptions) =>
      this.#verify(remote, envelope, options);
    return new Pair({
      ...{ local, remote, dataPlane, timing, log },
      context: () => ({ ...context(), peer: remote, verify }),
      open: (signal) => this.#open(remote, signal),
      control: {
        probe: (probe, signal) => this.#ask(remote, { probe }, signal),
        deleted: async (deleted, signal) => void (await this.#ask(remote, { deleted }, signal)),
      },
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
    const { gate } = this.#options.tier;
    const entry = this.#entries.get(remote.toString());
    if (entry !== undefined) await this.#prepare(entry, signal);
    return gate.open(this.#target(remote), EXCHANGE_PROTOCOL_SUFFIX, { signal });
  }

  async #prepare(entry: Entry, signal: AbortSignal): Promise<void> {
    if (entry.untold) {
      // Who moved is in a hurry, and its peers have seldom moved at the same time.
      const limit = AbortSignal.any([signal, AbortSignal.timeout(TELL_TIMEOUT_MS)]);
      await this.#tellMove(entry, limit).catch(() => signal.throwIfAborted());
    }
    // Who is connected has been heard at its address: a rekey need not look it up.
    const { gate } = this.#options.tier;
    if (!gate.isAdmitted(entry.peerId)) await this.#lookUp(entry, signal);
    if (entry.untold) await this.#tellMove(entry, signal);
  }

  async #lookUp(entry: Entry, signal: AbortSignal): Promise<void> {
    const { tier, serviceId } = this.#options;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ENDPOINT_TIMEOUT_MS)]);
    const found = await tier.records
      .get(ENDPOINT_RECORD, [serviceId, entry.peerId], { signal: limit })
      .catch(() => undefined); // then what the directory says must do
    signal.throwIfAborted();
    if (found === undefined || found.value.sequence <= entry.sequence) return;
    const { sequence, multiaddrs } = found.value;
    entry.sequence = sequence;
    entry.multiaddrs = multiaddrs;
    // Not waited for: a removal of the peer, which waits for this run to end, may come first.
    this.#enqueue(() => this.#follow(entry, multiaddrs)).catch((error) => {
      this.#options.log('peer-failed', { peer: entry.peerId.toString(), why: String(error) });
    });
  }

  /** The peer must send to the new address before it can answer from there. */
  async #tellMove(entry: Entry, signal: AbortSignal): Promise<void> {
    const { local } = entry.underlay;
    const all = this.#options.multiaddrs();
    // First the one that packets to this peer come from: that is where it sends to.
    const from = (text: string): boolean => addressesOf([text]).includes(local);
    const sorted = [...all.filter(from), ...all.filter((each) => !from(each))];
    const moved = { sequence: Date.now(), multiaddrs: sorted.slice(0, MAX_MULTIADDRS) };
    await this.#ask(entry.peerId, { moved }, signal);
    entry.untold = false;
  }

  async #ask(remote: Ed25519PeerId, request: PairRequest, signal: AbortSignal): Promise<boolean> {
    const { gate } = this.#options.tier;
    const stream = await gate.open(this.#target(remote), PAIR_PROTOCOL_SUFFIX, { signal });
    return ask(stream, request, signal);
  }

  #target(remote: Ed25519PeerId): Target {
    if (this.#options.tier.gate.isAdmitted(remote)) return remote;
    const { multiaddrs = [] } = this.#entries.get(remote.toString()) ?? {};
    return multiaddrs.length > 0 ? multiaddrs.map((each) => multiaddr(each)) : remote;
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    const { dataPlane, tier } = this.#options;
    tier.gate.off('admitted', this.#onAdmitted);
    dataPlane.off('acquire', this.#onAcquire);
    dataPlane.off('expire', this.#onExpire);
    await tier.gate.unhandle(EXCHANGE_PROTOCOL_SUFFIX);
    await tier.gate.unhandle(PAIR_PROTOCOL_SUFFIX);
    await this.#queue;
    await this.#usage[Symbol.asyncDispose]();
    const pairs = [...this.#entries.values()].map(({ pair }) => pair);
    await Promise.all(pairs.map((pair) => pair.close({ tellPeer: true })));
  }
}

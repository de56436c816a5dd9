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
import type { Connection, Ed25519PeerId, Stream } from '@libp2p/interface';
import { ipOf, ipsOf, type TcpMultiaddr, tcpAddressOf } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import type { ExpireNotice, LossNotice, MappingNotice, Underlay } from '../ipsec/dataplane.ts';
import type { SaPair } from '../ipsec/lifecycle/events.ts';
import { EXCHANGE_PROTOCOL_SUFFIX } from '../keymgmt/exchange/protocol.ts';
import type { Suite } from '../keymgmt/exchange/suite.ts';
import type { GatedHandler } from '../overlay/gate.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import { ENDPOINT_RECORD } from '../overlay/stored-kinds.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { type NoSaStatus, whyNoSa } from './no-sa.ts';
import { answer, PAIR_PROTOCOL_SUFFIX, type PairAnswer, type PairRequest } from './pair/control.ts';
import type { Entry } from './pair/entry.ts';
import { PairMaker, type PairMakerOptions } from './pair/make.ts';
import { perPeer } from './pair/per-peer.ts';
import { SubnetLeads, type SubnetLeadsOptions } from './pair/subnet-leads.ts';
import { UsageWatch } from './pair/usage-watch.ts';
import { waysTo } from './pair/ways.ts';
import { Whereabouts } from './pair/whereabouts.ts';
import type { PathStatus } from './status.ts';
import type { SubnetConflict } from './subnets.ts';
import { localAddressTowards } from './underlay.ts';

/** Streams of one protocol that one peer may have open at this node. */
const MAX_STREAMS_PER_PEER = 4;

export interface PeersOptions
  extends Omit<PairMakerOptions, 'entry' | 'whereabouts'>,
    Pick<SubnetLeadsOptions, 'permitted' | 'reserved' | 'announced'> {
  /** Where this node can be dialled now. */
  readonly multiaddrs: () => TcpMultiaddr[];
  /** Addresses at which super-peers see this node and that it does not have itself. */
  readonly observed: () => readonly string[];
  /** Whether other machines can use an address. */
  readonly isUnderlay: (address: string) => boolean;
}

/** Milliseconds after its last packet for which a pair counts as in use; counters are read every 2 s. */
const MOVES_MS = 12_000;
/** Nothing that is told of a peer leads to it. */
class PeerAddressError extends IcvpnError {
  constructor(addresses: readonly string[], options: ErrorOptions) {
    super(
      'ERR_PEER_ADDRESS',
      addresses.length === 0
        ? 'it tells no address, or only ones that this machine has itself'
        : `there is no route to ${addresses.join(', ')}`,
      'let it announce an address that others can reach (--announce), or add a route',
      options,
    );
  }
}

/** Of a peer that has not been talked to. */
const NOT_SEEN = { seenAt: undefined, candidates: [] };

export interface Peer {
  readonly peerId: Ed25519PeerId;
  readonly ipv4: string;
  readonly ipv6: string;
  readonly underlay: string;
  /** CIDRs that are routed to it. */
  readonly subnets: readonly string[];
  readonly spis: SaPair | undefined;
  readonly path: PathStatus | undefined;
  /** What the SAs in use were agreed with. */
  readonly suite: Suite | undefined;
}

export class Peers implements AsyncDisposable {
  readonly #options: PeersOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #closed = new AbortController();
  /** One change of the set of peers at a time. */
  #queue: Promise<void> = Promise.resolve();
  #wanted: readonly Listed[] = [];
  #setting: Promise<void> | undefined;
  readonly #usage: UsageWatch;
  readonly #whereabouts: Whereabouts;
  readonly #maker: PairMaker;
  readonly #subnets: SubnetLeads;
  readonly #onAcquire = (peerId: string): void => this.#entries.get(peerId)?.pair.acquire();
  readonly #onExpire = ({ peerId, spi, direction, hard }: ExpireNotice): void =>
    this.#entries.get(peerId)?.pair.expired(spi, direction, hard);
  readonly #onLost = ({ peerId, spi, direction }: LossNotice): void =>
    this.#entries.get(peerId)?.pair.lost(spi, direction);
  /** The peer's own packet, decrypted, says where it is: no other word is needed. */
  readonly #onMapping = ({ peerId, remote, remotePort }: MappingNotice): void => {
    const entry = this.#entries.get(peerId);
    if (entry === undefined || !entry.pair.follows) return;
    if (remote === entry.underlay.remote) {
      entry.pair.mapped(remotePort);
      return;
    }
    // Nothing would ever answer where it was; waiting for that would take longer than a new connection.
    for (const connection of this.#options.tier.gate.host.libp2p.getConnections(entry.peerId)) {
      if (ipOf(connection.remoteAddr) !== remote) connection.abort(new Error('the peer has moved'));
    }
    this.#enqueue(() => this.#whereabouts.point(entry, remote)).catch((error) => {
      this.#options.log('peer-failed', { peer: peerId, why: String(error) });
    });
  };
  /** A peer whose connection is new may have lost its SAs in a crash. */
  readonly #onAdmitted = (peerId: Ed25519PeerId): void =>
    this.#entries.get(peerId.toString())?.pair.doubt();

  private constructor(options: PeersOptions) {
    this.#options = options;
    this.#subnets = new SubnetLeads(options);
    const { tier, serviceId } = options;
    this.#whereabouts = new Whereabouts({
      ...options,
      gate: tier.gate,
      endpointOf: (peer, call) => tier.records.get(ENDPOINT_RECORD, [serviceId, peer], call),
      best: (peer, addresses) => this.#ways(peer.toString(), addresses)[0],
      closed: this.#closed.signal,
      enqueue: (work) => this.#enqueue(work),
    });
    this.#maker = new PairMaker({
      ...options,
      entry: (remote) => this.#entries.get(remote.toString()),
      whereabouts: this.#whereabouts,
    });
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
    options.dataPlane.on('lost', peers.#onLost);
    options.dataPlane.on('mapping', peers.#onMapping);
    options.tier.gate.on('admitted', peers.#onAdmitted);
    await peers.#handle(EXCHANGE_PROTOCOL_SUFFIX, async (stream, connection, pass) => {
      if (pass === 'admitter') return stream.abort(new Error('a super-peer has no SAs'));
      await peers.#respond(stream, pass, connection);
    });
    await peers.#handle(PAIR_PROTOCOL_SUFFIX, (stream, connection) =>
      answer(stream, (request) => peers.#answer(connection, request), peers.#closed.signal),
    );
    return peers;
  }

  get(peerId: Ed25519PeerId): Peer | undefined {
    const entry = this.#entries.get(peerId.toString());
    if (entry === undefined) return undefined;
    const { addresses, underlay, pair, subnets } = entry;
    const { current: spis, path, suite } = pair;
    return { peerId, ...addresses, underlay: underlay.remote, subnets, spis, path, suite };
  }

  /** Why there are no SAs with a member. */
  whyNoSa({ peerId, multiaddrs }: Pick<Listed, 'peerId' | 'multiaddrs'>): NoSaStatus {
    const { addresses, observed } = this.#options;
    const entry = this.#entries.get(peerId.toString());
    return whyNoSa({
      ...{ own: addresses(), observed: observed(), told: ipsOf(multiaddrs) },
      ...{ hasWay: entry !== undefined, failure: entry?.pair.failure },
    });
  }

  /** Members that announce a subnet that another one has. */
  get subnetConflicts(): readonly SubnetConflict[] {
    return this.#subnets.conflicts;
  }

  /** Whether the SAs with a member move packets, as far as the kernel has counted lately. */
  moves(peerId: Ed25519PeerId): boolean {
    return this.#entries.get(peerId.toString())?.pair.moves(MOVES_MS) ?? false;
  }

  /** Makes the peers equal to the list, this member itself left out. */
  async set(members: readonly Listed[]): Promise<void> {
    this.#wanted = members.filter((each) => !each.peerId.equals(this.#options.local));
    // Of lists that come while the kernel is busy only the last is wanted.
    this.#setting ??= this.#enqueue(async () => {
      this.#setting = undefined;
      const others = this.#wanted;
      const listed = new Set(others.map((each) => each.peerId.toString()));
      for (const id of this.#entries.keys()) {
        if (!listed.has(id)) await this.#alone(id, () => this.#remove(id));
      }
      for (const each of others) {
        await this.#alone(each.peerId.toString(), async () => {
          if (!this.#isAsListed(each)) await this.#put(each.credential, each.multiaddrs);
        });
      }
      await this.#subnets.follow(this.#entries, others);
    });
    await this.#setting;
  }

  /** What fails with one peer fails for that one: the others are seen to all the same. */
  async #alone(id: string, work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.#options.log('peer-failed', { peer: id, why: String(error) });
    }
  }

  /** Most of a list of a thousand is as it was. */
  #isAsListed({ peerId, credential, multiaddrs }: Listed): boolean {
    const entry = this.#entries.get(peerId.toString());
    if (entry === undefined || entry.listed !== multiaddrs.join()) return false;
    return Buffer.compare(entry.credential.bytes, credential.bytes) === 0;
  }

  /** Removes at once whoever may no longer be a member, without waiting for the directory to say so. */
  recheck(): Promise<void> {
    return this.#enqueue(async () => {
      const { revoked = () => false } = this.#options.trust();
      for (const [id, { credential }] of [...this.#entries]) {
        if (revoked(credential)) await this.#alone(id, () => this.#remove(id));
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
          await this.#whereabouts.point(entry, entry.underlay.remote);
        } catch {
          whole = false; // no route yet
        }
      }
    });
    return whole;
  }

  /** What `encapsulation` answers has changed: pairs agree anew, without losing a packet. */
  renew(): void {
    for (const { pair } of this.#entries.values()) pair.renew();
  }

  #handle(suffix: string, handler: GatedHandler): Promise<void> {
    const limits = { maxInboundStreams: MAX_STREAMS_PER_PEER };
    return this.#options.tier.gate.handle(suffix, perPeer(MAX_STREAMS_PER_PEER, handler), limits);
  }

  async #answer(connection: Connection, request: PairRequest): Promise<PairAnswer> {
    const entry = this.#entries.get(connection.remotePeer.toString());
    if (entry === undefined) return { known: false };
    if ('probe' in request) return { known: await entry.pair.receives(request.probe) };
    if ('deleted' in request) return { known: entry.pair.deleted(request.deleted) };
    if ('received' in request) {
      const packets = await entry.pair.received(request.received);
      return { known: packets !== undefined, packets };
    }
    return { known: await this.#whereabouts.heardOfMove(entry, request.moved, connection) };
  }

  async #respond(
    stream: Stream,
    credential: Opened<Credential>,
    connection: Connection,
  ): Promise<void> {
    const from = tcpAddressOf(connection.remoteAddr);
    const seen = ipOf(connection.remoteAddr);
    if (this.#isAnothers(credential)) {
      return stream.abort(new Error('its virtual address is another member’s'));
    }
    // Its own super-peer may know it before ours has told us.
    await this.#enqueue(() => this.#put(credential, from ? [from] : [], { keepAddress: true }));
    const entry = this.#entries.get(credential.value.peerId.toString());
    if (entry === undefined) return stream.abort(new Error('no way back to the peer'));
    await this.#whereabouts.prepareAnswer(entry);
    await this.#enqueue(() => this.#whereabouts.seen(entry, seen));
    await entry.pair.respond({ stream, seen });
  }

  /** Whether a listed member has the virtual address of this one, whose claim is then not the older. */
  #isAnothers({ value }: Opened<Credential>): boolean {
    const { peerId, ipv4 } = value;
    return this.#wanted.some((each) => each.ipv4 === ipv4 && !each.peerId.equals(peerId));
  }

  async #put(
    credential: Opened<Credential>,
    multiaddrs: readonly TcpMultiaddr[],
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
        await this.#whereabouts.follow(entry, multiaddrs);
        entry.listed = listed;
      } catch (error) {
        this.#options.log('peer-failed', { peer: id, why: String(error) });
      }
      return;
    }
    if (entry !== undefined) await this.#remove(id);
    const { dataPlane, log } = this.#options;
    try {
      const underlay = await this.#firstRoute(this.#ways(id, ipsOf(multiaddrs)));
      const { local, remote } = underlay;
      const addresses = { ipv4, ipv6 };
      await dataPlane.addPeer({ id, virtualAddresses: addresses }, underlay);
      const news = { listed: options.keepAddress ? '' : multiaddrs.join(), sequence: 0 };
      const own = { peerId, addresses, pair: this.#maker.make(peerId), credential };
      // With several addresses of its own, this node sends from one that the peer may not expect.
      const untold = ipsOf(this.#options.multiaddrs()).indexOf(local) > 0;
      const fresh = { ...NOT_SEEN, subnets: [] };
      this.#entries.set(id, { ...own, ...news, multiaddrs, underlay, untold, ...fresh });
      log('peer-added', { peer: id, ipv4, underlay: remote });
    } catch (error) {
      log('peer-failed', { peer: id, why: String(error) });
    }
  }

  #ways(id: string, told: readonly string[]): string[] {
    const { isUnderlay, addresses, observed } = this.#options;
    return waysTo(told, {
      ...{ isUnderlay, own: addresses(), observed: observed() },
      isBehindAnother: (each) => this.#subnets.isBehindAnother(id, each),
    });
  }

  /** @throws PeerAddressError when the kernel has a route to none of them */
  async #firstRoute(remotes: readonly string[]): Promise<Underlay> {
    const { signal } = this.#closed;
    let cause: unknown;
    for (const remote of remotes) {
      try {
        return { local: await localAddressTowards(remote, { signal }), remote };
      } catch (error) {
        signal.throwIfAborted();
        cause = error;
      }
    }
    throw new PeerAddressError(remotes, { cause });
  }

  async #remove(id: string): Promise<void> {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    this.#entries.delete(id);
    await entry.pair.close({ tellPeer: false });
    await this.#options.dataPlane.removePeer(id);
    this.#options.log('peer-removed', { peer: id });
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
    dataPlane.off('lost', this.#onLost);
    dataPlane.off('mapping', this.#onMapping);
    await tier.gate.unhandle(EXCHANGE_PROTOCOL_SUFFIX);
    await tier.gate.unhandle(PAIR_PROTOCOL_SUFFIX);
    await this.#queue;
    await this.#usage[Symbol.asyncDispose]();
    const pairs = [...this.#entries.values()].map(({ pair }) => pair);
    await Promise.all(pairs.map((pair) => pair.close({ tellPeer: true })));
    this.#maker[Symbol.dispose]();
  }
}

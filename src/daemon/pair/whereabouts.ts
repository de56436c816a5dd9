/**
 * Where peers are, and that they know where this node is.
 *
 * ```
 *   directory ────── follow ─────┐
 *   endpoint record ─ look up ───┼─▶ underlay address ─▶ policies and SAs lead there
 *   the peer itself ─ moved ─────┤
 *   connection ────── seen ──────┘   (behind a NAT only what is seen counts)
 *   own address changed ─ untold ──▶ the peer is told before the next run
 * ```
 *
 * What is only told is where to dial. ESP goes where a connection has shown the peer: one that is there, or one that is
 * made to try an address (`proof-of-place.ts`).
 */
import type { AbortOptions, Connection, Ed25519PeerId } from '@libp2p/interface';
import { ipOf, ipsOf, MAX_MULTIADDRS, type TcpMultiaddr } from '../../codec/multiaddr.ts';
import type { Gate } from '../../overlay/gate.ts';
import type { Endpoint } from '../../records/endpoint.ts';
import type { Opened } from '../../records/envelope.ts';
import type { Log } from '../log.ts';
import { localAddressTowards } from '../underlay.ts';
import { askPeer, type Callee, connect, toDial } from './calls.ts';
import type { Moved } from './control.ts';
import type { Entry } from './entry.ts';
import { answersAt } from './proof-of-place.ts';

/** How long an exchange waits for the newest endpoint before it takes the one it knows, in ms. */
const ENDPOINT_TIMEOUT_MS = 2_000;
/** How long telling a peer of this node's address may take, in ms. */
const TELL_TIMEOUT_MS = 2_000;

/** Milliseconds by which the clock of a peer may be ahead. */
const MAX_SKEW_MS = 120_000;

/** What a peer's number counts: one of a time to come, as of now, so that those of a corrected clock come after it. */
const counted = (sequence: number): number => Math.min(sequence, Date.now() + MAX_SKEW_MS);

/** A peer, as far as its whereabouts go. */
export type Located = Omit<Entry, 'pair'> & {
  readonly pair: Pick<Entry['pair'], 'current' | 'path' | 'aim' | 'move'>;
};

export interface WhereaboutsOptions {
  readonly gate: Gate;
  /** The newest endpoint record of a member that others have. */
  readonly endpointOf: (
    peer: Ed25519PeerId,
    options: AbortOptions,
  ) => Promise<Opened<Endpoint> | undefined>;
  /** Where this node can be dialled now. */
  readonly multiaddrs: () => TcpMultiaddr[];
  /** Where ESP to a peer may go, of the addresses that are told of it. */
  readonly best: (peer: Ed25519PeerId, addresses: readonly string[]) => string | undefined;
  readonly log: Log;
  readonly closed: AbortSignal;
  /** Runs after all earlier changes of the set of peers. */
  readonly enqueue: (work: () => Promise<void>) => Promise<void>;
}

export class Whereabouts {
  readonly #options: WhereaboutsOptions;

  constructor(options: WhereaboutsOptions) {
    this.#options = options;
  }

  /** Before a run: the peer knows where this node is, and this node where the peer is. */
  async prepare(entry: Located, signal: AbortSignal): Promise<void> {
    // Who moved is in a hurry, and its peers have seldom moved at the same time.
    if (entry.untold) await this.#tellSoon(entry, signal).catch(() => signal.throwIfAborted());
    // Who is connected has been heard at its address: a rekey need not look it up.
    if (!this.#options.gate.isAdmitted(entry.peerId)) await this.#reach(entry, signal);
    if (entry.untold) await this.#tellMove(entry, signal);
  }

  /** Before the peer's own run is answered. */
  async prepareAnswer(entry: Entry): Promise<void> {
    // Otherwise it is told again before a run of our own.
    if (entry.untold) await this.#tellSoon(entry, this.#options.closed).catch(() => {});
  }

  /** The peer says that it is somewhere else. @returns whether that is news */
  async heardOfMove(entry: Located, moved: Moved, connection: Connection): Promise<boolean> {
    if (moved.sequence <= entry.sequence) return false;
    // Its other connections come from an address that it has left: nothing would ever answer there.
    for (const other of this.#options.gate.host.libp2p.getConnections(entry.peerId)) {
      if (other.id !== connection.id) other.abort(new Error('the peer has moved'));
    }
    const told = ipsOf(moved.multiaddrs);
    const seen = ipOf(connection.remoteAddr);
    const best = this.#options.best(entry.peerId, told);
    // Of several addresses it tells first the one that its packets come from, which need not be that of the connection.
    const other = best !== seen && seen !== undefined && told.includes(seen) ? best : undefined;
    const { multiaddrs } = moved;
    const answers = other !== undefined && (await this.#answers({ ...entry, multiaddrs }, other));
    await this.#options.enqueue(async () => {
      if (moved.sequence <= entry.sequence) return;
      entry.sequence = counted(moved.sequence);
      entry.multiaddrs = multiaddrs;
      entry.seenAt = seen;
      const remote = answers ? other : seen;
      if (remote !== undefined) await this.point(entry, remote);
    });
    return true;
  }

  /** Others say where the peer is. One of several addresses is as good as another: SAs stay. */
  async follow(entry: Located, multiaddrs: readonly TcpMultiaddr[]): Promise<void> {
    // Where others see it may not be among what it tells itself.
    const addresses = [...ipsOf(multiaddrs), ...entry.candidates];
    const { remote } = entry.underlay;
    const preferred = addresses.includes(remote) ? [remote, ...addresses] : addresses;
    const best = this.#options.best(entry.peerId, preferred);
    if (best === undefined) return;
    const behindNat = remote === entry.seenAt && !ipsOf(entry.multiaddrs).includes(remote);
    entry.multiaddrs = multiaddrs;
    // A peer behind a NAT tells addresses that lead nowhere from here.
    if (behindNat || entry.pair.path?.behindNat.peer) return;
    if (best === remote) return this.point(entry, best);
    if (entry.pair.current !== undefined) return this.#try(entry, best);
    entry.seenAt = undefined; // the connection of the next run counts, whatever it is
    await this.point(entry, best);
  }

  /** Not waited for: other peers wait behind this one. */
  #try(entry: Located, remote: string): void {
    const { enqueue, closed, log } = this.#options;
    const { multiaddrs } = entry;
    const move = async (): Promise<void> => {
      if (!(await this.#answers(entry, remote))) return;
      await enqueue(async () => {
        if (entry.multiaddrs === multiaddrs && !closed.aborted) await this.point(entry, remote);
      });
    };
    move().catch((error) => {
      log('peer-failed', { peer: entry.peerId.toString(), why: String(error) });
    });
  }

  async #answers(entry: Callee, remote: string): Promise<boolean> {
    const { gate, closed, log } = this.#options;
    if (await answersAt(gate.host, entry, remote, closed)) return true;
    log('peer-not-there', { peer: entry.peerId.toString(), underlay: remote });
    return false;
  }

  /**
   * Where the connection of a run shows the peer. Its addresses were told by the peer itself, so one
   * that is not among them is that of a NAT, or newer than what was told. Only news count: behind some
   * NATs ESP in UDP has another address than the connection.
   *
   * @param initiator the run is one of this end, under way already
   */
  async seen(entry: Located, at: string | undefined, { initiator = false } = {}): Promise<void> {
    if (at === undefined || at === entry.seenAt) return;
    entry.seenAt = at;
    const { remote } = entry.underlay;
    const told = ipsOf(entry.multiaddrs);
    // Of several addresses that are told one is as good as another: SAs stay. Without SAs the one that has been seen counts.
    const stays = entry.pair.current !== undefined && told.includes(at) && told.includes(remote);
    if (at === remote || stays) return;
    await this.point(entry, at, { initiator });
  }

  /** Policies and SAs of the peer lead to `remote`, from the address that the kernel would take. */
  async point(entry: Located, remote: string, { initiator = false } = {}): Promise<void> {
    const { closed, log } = this.#options;
    const local = await localAddressTowards(remote, { signal: closed });
    if (entry.underlay.local === local && entry.underlay.remote === remote) return;
    entry.underlay = { local, remote };
    if (initiator) await entry.pair.aim(entry.underlay);
    else entry.pair.move(entry.underlay);
    log('peer-moved', { peer: entry.peerId.toString(), local, underlay: remote });
  }

  /**
   * Dials the peer where it was last known to be and looks its endpoint up, both at once: mostly it still is
   * there, and a packet waits. The one that succeeds ends the other.
   */
  async #reach(entry: Located, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const limit = AbortSignal.any([signal, over.signal]);
    const connected = connect(this.#options.gate, entry, limit).then(
      () => true,
      () => false, // the run will say why
    );
    const news = this.#lookUp(entry, limit);
    await Promise.race([
      connected.then((yes) => yes || news),
      news.then((yes) => yes || connected),
    ]);
    over.abort();
    await Promise.all([connected, news]);
    signal.throwIfAborted();
  }

  /** @returns whether there are other addresses to dial now; without news what the directory says must do */
  async #lookUp(entry: Located, signal: AbortSignal): Promise<boolean> {
    const { endpointOf, enqueue, log } = this.#options;
    const limit = AbortSignal.any([signal, AbortSignal.timeout(ENDPOINT_TIMEOUT_MS)]);
    const found = await endpointOf(entry.peerId, { signal: limit }).catch(() => undefined);
    if (found === undefined || found.value.sequence <= entry.sequence) return false;
    const { sequence, multiaddrs, underlay } = found.value;
    const before = toDial(entry);
    entry.candidates = underlay;
    entry.sequence = counted(sequence);
    entry.multiaddrs = multiaddrs;
    // Not waited for: a removal of the peer, which waits for this run to end, may come first.
    enqueue(() => this.follow(entry, multiaddrs)).catch((error) => {
      log('peer-failed', { peer: entry.peerId.toString(), why: String(error) });
    });
    return toDial(entry).join() !== before.join();
  }

  #tellSoon(entry: Located, signal: AbortSignal): Promise<void> {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TELL_TIMEOUT_MS)]);
    return this.#tellMove(entry, limit);
  }

  /** The peer must send to the new address before it can answer from there. */
  async #tellMove(entry: Located, signal: AbortSignal): Promise<void> {
    const { local } = entry.underlay;
    const all = this.#options.multiaddrs();
    // First the one that packets to this peer come from: that is where it sends to.
    const from = (each: TcpMultiaddr): boolean => ipsOf([each]).includes(local);
    const sorted = [...all.filter(from), ...all.filter((each) => !from(each))];
    const moved = { sequence: Date.now(), multiaddrs: sorted.slice(0, MAX_MULTIADDRS) };
    await askPeer(this.#options.gate, entry, { moved }, signal);
    entry.untold = false;
  }
}

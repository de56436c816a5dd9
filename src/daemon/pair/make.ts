/**
 * Makes pairs: joins each to the exchange, to the peer's credential and address, and to streams to it.
 *
 * ```
 *   Pair ── keys wanted ──▶ open: prepare, stream, where the two see each other ──▶ exchange
 *        ── probe, received, deleted ──▶ ask ──▶ the peer's control stream
 * ```
 */
import type { AbortOptions, Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { ipOf } from '../../codec/multiaddr.ts';
import type { DataPlane } from '../../ipsec/dataplane.ts';
import type { Timing } from '../../ipsec/lifecycle/timing.ts';
import type { ExchangeContext } from '../../keymgmt/exchange/context.ts';
import { MAX_OWN_ADDRESSES, type PathOffer } from '../../keymgmt/exchange/path.ts';
import { EXCHANGE_PROTOCOL_SUFFIX } from '../../keymgmt/exchange/protocol.ts';
import type { Trust } from '../../overlay/gate.ts';
import type { EncapsulationPolicy } from '../../policy/grant.ts';
import { CREDENTIAL, CredentialError, checkCredential } from '../../records/credential.ts';
import { open } from '../../records/envelope.ts';
import type { Log } from '../log.ts';
import type { Tier } from '../tier.ts';
import { askPeer, type Callee, call } from './calls.ts';
import type { PairAnswer, PairRequest } from './control.ts';
import type { Entry } from './entry.ts';
import { HalfOpen } from './half-open.ts';
import { Pair } from './pair.ts';
import type { Line } from './runs.ts';
import { Toucher } from './touch.ts';
import type { Whereabouts } from './whereabouts.ts';

export interface PairMakerOptions {
  readonly tier: Tier;
  readonly dataPlane: DataPlane;
  readonly local: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  /** All that is the same for every exchange. */
  readonly context: () => Omit<ExchangeContext, 'peer' | 'verify' | 'path'>;
  readonly trust: () => Trust;
  /** The virtual IPv4 address of this node. */
  readonly ipv4: string;
  /** Addresses of this machine that other machines can use. */
  readonly addresses: () => string[];
  /** ESP as it is or in UDP, as this node wants it. */
  readonly encapsulation: () => EncapsulationPolicy;
  readonly timing?: Partial<Timing>;
  readonly log: Log;
  readonly entry: (remote: Ed25519PeerId) => Entry | undefined;
  readonly whereabouts: Whereabouts;
}

export class PairMaker implements Disposable {
  readonly #options: PairMakerOptions;
  readonly #toucher: Toucher;
  readonly #halfOpen = new HalfOpen();

  constructor(options: PairMakerOptions) {
    this.#options = options;
    this.#toucher = new Toucher(options.ipv4);
  }

  /** @returns a pair without SAs, for a member that is about to have an entry */
  make(remote: Ed25519PeerId): Pair {
    const { dataPlane, local, log, context, timing = {} } = this.#options;
    const verify = (envelope: Uint8Array, options?: AbortOptions) =>
      this.#verify(remote, envelope, options);
    return new Pair({
      ...{ local, remote, dataPlane, timing, log },
      context: ({ seen }) => ({ ...context(), peer: remote, verify, path: this.#offer(seen) }),
      touch: () => this.#touch(remote),
      halfOpen: this.#halfOpen,
      open: (signal) => this.#open(remote, signal),
      control: {
        probe: async (probe, signal) => (await this.#ask(remote, { probe }, signal)).known,
        received: async (received, signal) =>
          (await this.#ask(remote, { received }, signal)).packets,
        deleted: async (deleted, signal) => void (await this.#ask(remote, { deleted }, signal)),
      },
    });
  }

  #offer(seen: string | undefined): PathOffer {
    const { dataPlane, addresses, encapsulation } = this.#options;
    return {
      policy: encapsulation(),
      addresses: addresses().slice(0, MAX_OWN_ADDRESSES),
      seen,
      udpPort: dataPlane.udpPort,
      blocked: 0,
    };
  }

  #touch(remote: Ed25519PeerId): void {
    const { addresses } = this.#options.entry(remote) ?? {};
    if (addresses !== undefined) this.#toucher.touch(addresses.ipv4);
  }

  /** A credential must also be for the very addresses that the policies to this peer are for. */
  async #verify(remote: Ed25519PeerId, envelope: Uint8Array, options?: AbortOptions) {
    const { serviceId, trust } = this.#options;
    const entry = this.#options.entry(remote);
    // Mostly it is the one from the list, whose signature was checked when the list came.
    const known = entry !== undefined && equals(entry.credential.bytes, envelope);
    const opened = known ? entry.credential : await open(CREDENTIAL, envelope, options);
    const now = Date.now() / 1000;
    checkCredential(opened, { ...trust(), serviceId, bearer: remote, now });
    const { ipv4, ipv6 } = opened.value;
    if (entry?.addresses.ipv4 === ipv4 && entry.addresses.ipv6 === ipv6) return opened;
    throw new CredentialError('peer', `credential of ${remote}: it is for other addresses`);
  }

  async #open(remote: Ed25519PeerId, signal: AbortSignal): Promise<Line> {
    const entry = this.#options.entry(remote);
    if (entry !== undefined) await this.#options.whereabouts.prepare(entry, signal);
    const { gate } = this.#options.tier;
    const stream = await call(gate, dialled(remote, entry), EXCHANGE_PROTOCOL_SUFFIX, signal);
    const connection = gate.host.libp2p
      .getConnections(remote)
      .find(({ streams }) => streams.includes(stream));
    const seen = connection && ipOf(connection.remoteAddr);
    try {
      if (entry !== undefined)
        await this.#options.whereabouts.seen(entry, seen, { initiator: true });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    }
    return { stream, seen };
  }

  #ask(remote: Ed25519PeerId, request: PairRequest, signal: AbortSignal): Promise<PairAnswer> {
    const peer = dialled(remote, this.#options.entry(remote));
    return askPeer(this.#options.tier.gate, peer, request, signal);
  }

  /** Once the pairs are closed. */
  [Symbol.dispose](): void {
    this.#toucher[Symbol.dispose]();
  }
}

/** Where to find a peer; one without an entry only if it is connected. */
const dialled = (peerId: Ed25519PeerId, entry: Entry | undefined): Callee =>
  entry ?? { peerId, multiaddrs: [], candidates: [] };

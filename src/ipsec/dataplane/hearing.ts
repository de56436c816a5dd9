/**
 * From the kernel's events to those of peers.
 *
 *     ACQUIRE  ──► its peer is wanted, once until there is an SA or the kernel has given up
 *     EXPIRE   ──► soft: a successor is due;  hard: gone, and packets wait again
 *     MAPPING  ──► the peer is behind another address or port
 *     overrun  ──► ACQUIREs that were lost are read from the kernel's table; SAs that are gone: databases.ts
 */
import type { AcquireEvent, XfrmEvent } from '../xfrm/event.ts';
import type { State } from '../xfrm/state.ts';
import type { SaDirection } from './peer.ts';
import type { PeerRecord } from './peer-record.ts';
import type { PeerTable } from './peer-table.ts';
import type { ExpireNotice, MappingNotice } from './types.ts';

export interface HearingOptions {
  readonly peers: PeerTable;
  readonly ifId: number;
  /** The states of the kernel, now. */
  readonly states: () => Promise<readonly State[]>;
  readonly onAcquire: (peerId: string) => void;
  readonly onExpire: (notice: ExpireNotice) => void;
  readonly onMapping: (notice: MappingNotice) => void;
  /** An SA of this peer is gone. */
  readonly onGone: (peer: PeerRecord) => Promise<void>;
  /** What went wrong with nobody waiting for it. */
  readonly onError: (error: Error) => void;
}

export class Hearing {
  readonly #options: HearingOptions;

  constructor(options: HearingOptions) {
    this.#options = options;
  }

  hear(event: XfrmEvent): void {
    const { peers, onMapping } = this.#options;
    if (event.type === 'acquire') {
      const peer = this.#peerOf(event.ifId, event.templates[0]?.reqid);
      if (peer !== undefined) this.#asked(peer, event);
    } else if (event.type === 'expire') {
      const { ifId, reqid, spi, destination } = event.state;
      const peer = this.#peerOf(ifId, reqid);
      if (peer !== undefined) this.#expired(peer, peer.directionTo(destination), spi, event.hard);
    } else if (event.type === 'mapping') {
      const { reqid, newSource: remote, newSourcePort: remotePort } = event;
      const peer = peers.byReqid(reqid);
      if (peer !== undefined) onMapping({ peerId: peer.id, remote, remotePort });
    } else if (event.type === 'overrun') {
      this.#resync().catch(this.#options.onError);
    }
  }

  /** By reqid; what a gate acquires has no if_id. */
  #peerOf(ifId: number | undefined, reqid: number | undefined): PeerRecord | undefined {
    const foreign = ifId !== undefined && ifId !== this.#options.ifId;
    return foreign ? undefined : this.#options.peers.byReqid(reqid);
  }

  #asked(peer: PeerRecord, event: AcquireEvent): void {
    const { source, destination, protocol, sequence, ifId } = event;
    const { reqid } = peer;
    // One for the gate and one for the interface: the kernel does not ask twice for the same.
    peer.acquired = peer.acquired.filter((other) => other.ifId !== ifId);
    peer.acquired.push({ source, destination, protocol, sequence, ifId, reqid, mode: 'tunnel' });
    this.#want(peer);
  }

  #want(peer: PeerRecord): void {
    if (peer.wanted) return;
    peer.wanted = true;
    this.#options.onAcquire(peer.id);
  }

  #expired(peer: PeerRecord, direction: SaDirection, spi: number, hard: boolean): void {
    if (spi === 0) {
      peer.wanted = false; // the kernel gave up waiting, and asks again at the next packet
      return;
    }
    const sa = peer.find(direction, spi);
    if (sa === undefined) return;
    const { onGone, onExpire, onError } = this.#options;
    if (hard) {
      peer.drop(direction, spi);
      onGone(peer).catch(onError);
    }
    if (!sa.larval) onExpire({ peerId: peer.id, spi, direction, hard });
  }

  async #resync(): Promise<void> {
    const states = await this.#options.states();
    for (const peer of this.#options.peers.values()) {
      const theirs = states.filter((state) => this.#peerOf(state.ifId, state.reqid) === peer);
      peer.acquired = theirs.filter(({ spi }) => spi === 0);
      if (peer.acquired.length > 0) this.#want(peer);
    }
  }
}

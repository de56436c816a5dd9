/** The peers of a data plane, by id and by reqid. */
import { inUse, peerExists, unknownPeer } from './errors.ts';
import type { PeerRecord } from './peer-record.ts';

/** Reqids in the block of a data plane. */
const MAX_PEERS = 0xffff;

export class PeerTable {
  readonly #byId = new Map<string, PeerRecord>();
  readonly #byReqid = new Map<number, PeerRecord>();
  #next = 0;

  /** @throws DataPlaneError `ERR_PEER_EXISTS` */
  add(peer: PeerRecord): void {
    if (this.#byId.has(peer.id)) throw peerExists();
    this.#byId.set(peer.id, peer);
    this.#byReqid.set(peer.reqid, peer);
  }

  /** @throws DataPlaneError `ERR_UNKNOWN_PEER` */
  get(id: string): PeerRecord {
    const peer = this.#byId.get(id);
    if (peer === undefined) throw unknownPeer();
    return peer;
  }

  byReqid(reqid: number | undefined): PeerRecord | undefined {
    return reqid === undefined ? undefined : this.#byReqid.get(reqid);
  }

  delete(peer: PeerRecord): void {
    this.#byId.delete(peer.id);
    this.#byReqid.delete(peer.reqid);
  }

  values(): PeerRecord[] {
    return [...this.#byId.values()];
  }

  clear(): void {
    this.#byId.clear();
    this.#byReqid.clear();
  }

  /** A reqid that no peer has, of the block that begins at `first`. @throws DataPlaneError `ERR_TOO_MANY_PEERS` */
  freeReqid(first: number): number {
    if (this.#byId.size >= MAX_PEERS) throw inUse('ERR_TOO_MANY_PEERS', 'every reqid', 'service');
    let reqid: number;
    do {
      reqid = first + this.#next;
      this.#next = (this.#next + 1) % (MAX_PEERS + 1);
    } while (this.#byReqid.has(reqid));
    return reqid;
  }
}

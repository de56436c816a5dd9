/** The peers of a data plane, by id and by reqid. */
import { canonicalAddress } from '../xfrm/address.ts';
import { addressTaken, inUse, peerExists, unknownPeer } from './errors.ts';
import type { VirtualAddresses } from './peer.ts';
import type { PeerRecord } from './peer-record.ts';

/** Reqids in the block of a data plane. */
const MAX_PEERS = 0xffff;

export class PeerTable {
  readonly #byId = new Map<string, PeerRecord>();
  readonly #byReqid = new Map<number, PeerRecord>();
  /** Every virtual address that somebody has: the peers, and this machine. */
  readonly #byAddress = new Map<string, string>();
  #next = 0;

  /** @param own the virtual addresses of this machine */
  constructor(own: VirtualAddresses) {
    for (const address of Object.values(own)) {
      this.#byAddress.set(canonicalAddress(address), 'this machine');
    }
  }

  /** @throws DataPlaneError `ERR_PEER_EXISTS`, `ERR_PEER_ADDRESS` */
  add(peer: PeerRecord): void {
    if (this.#byId.has(peer.id)) throw peerExists();
    for (const address of addressesOf(peer)) {
      const holder = this.#byAddress.get(address);
      if (holder !== undefined) throw addressTaken(address, holder);
    }
    for (const address of addressesOf(peer)) this.#byAddress.set(address, peer.id);
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

  /** Its addresses stay taken until {@link free}. */
  delete(peer: PeerRecord): void {
    this.#byId.delete(peer.id);
    this.#byReqid.delete(peer.reqid);
  }

  /** Its addresses may be another peer's, now that no policy of it is left. */
  free(peer: PeerRecord): void {
    for (const address of addressesOf(peer)) this.#byAddress.delete(address);
  }

  values(): PeerRecord[] {
    return [...this.#byId.values()];
  }

  clear(): void {
    this.#byId.clear();
    this.#byReqid.clear();
    this.#byAddress.clear();
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

const addressesOf = ({ context }: PeerRecord): string[] =>
  Object.values(context.theirs.virtualAddresses).map(canonicalAddress);

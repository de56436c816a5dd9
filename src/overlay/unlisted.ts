/**
 * Keeps from others which protocols a node speaks: their ids name its services.
 *
 * libp2p tells them in identify (`/ipfs/id/1.0.0`) and answers `ls` of multistream-select with them. No part of this
 * project reads either: a node that means a protocol asks for it by name.
 */
import type { PeerStore } from '@libp2p/interface';
import type { KadDHTComponents } from '@libp2p/kad-dht';

/** Says of itself no more than that it speaks libp2p. */
export const NODE_INFO = { name: 'libp2p', version: '1', userAgent: 'libp2p' };

/** Finds what is asked for, and is empty to `map`, with which multistream-select makes its answer to `ls`. */
class Unlisted extends Array<string> {
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }

  override map<T>(): T[] {
    return [];
  }
}

/** @param components of a host that has not started */
export function keepUnlisted({ registrar, peerStore, peerId }: KadDHTComponents): void {
  const protocols = registrar.getProtocols.bind(registrar);
  registrar.getProtocols = () => Unlisted.from(protocols());
  const get: PeerStore['get'] = peerStore.get.bind(peerStore);
  // What identify tells of this node is what the peer store has of it.
  peerStore.get = async (id, options) => {
    const peer = await get(id, options);
    return id.equals(peerId) ? { ...peer, protocols: [] } : peer;
  };
}

/** Joining a DHT where hundreds of nodes share a machine. */
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Dht } from '../../src/overlay/dht.ts';

const TRIES = 5;

/** By nodes at these addresses, or by nobody. On a busy machine a handshake may run out of time: then again. */
export async function joinPatiently(dht: Dht, known: readonly Multiaddr[][]): Promise<void> {
  for (let tries = TRIES; known.length > 0 && tries > 0; tries--) {
    if ((await dht.join([...known]).catch(() => 0)) > 0) break;
  }
}

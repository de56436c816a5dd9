/** A renewal from the side of who asks: one super-peer after the other until one renews. */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { requestRenewal } from '../admission/client.ts';
import { ADMISSION_PROTOCOL } from '../admission/server.ts';
import type { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import type { Host } from '../overlay/host.ts';
import type { SuperPeerAddress } from '../records/bootstrap.ts';
import type { Log } from './log.ts';
import { type Standing, saveStanding } from './standing.ts';

/** One super-peer gets this long before the next is tried. */
const TRY_TIMEOUT_MS = 15_000;

export interface RenewalWish {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  readonly cache: SecureCache;
  readonly serviceId: Ed25519PeerId;
  /** CIDRs behind this node that it would announce; none if left out. */
  readonly subnets?: readonly string[];
  /** Asked anew for each round, best first. */
  readonly superPeers: () => readonly SuperPeerAddress[];
  readonly log: Log;
}

/**
 * What the old standing held that is secret is overwritten, and the new one kept in the cache.
 *
 * @returns undefined when none of the super-peers renewed
 */
export async function renewAtAny(
  standing: Standing,
  wish: RenewalWish,
  stop: AbortSignal,
): Promise<Standing | undefined> {
  const { host, key, cache, serviceId, subnets = [], log } = wish;
  for (const { peerId, multiaddr } of wish.superPeers()) {
    const signal = AbortSignal.any([stop, AbortSignal.timeout(TRY_TIMEOUT_MS)]);
    try {
      const stream = await host.libp2p.dialProtocol(multiaddr, ADMISSION_PROTOCOL, { signal });
      const { credential, renewalKey } = standing;
      const multiaddrs = host.multiaddrs().slice(0, 8);
      const own = { credential, renewalKey, multiaddrs, subnets };
      const renewed = await requestRenewal(stream, {
        ...{ key, superPeer: peerId, serviceId, signal, ...own },
      });
      await saveStanding(cache, renewed);
      standing.renewalKey.fill(0);
      const until = new Date(renewed.credential.value.notAfter * 1000).toISOString();
      log('renewed', { by: peerId, until });
      return renewed;
    } catch (error) {
      if (stop.aborted) return undefined;
      log('renewal-failed', { superPeer: peerId, why: String(error) });
    }
  }
  return undefined;
}

/** A renewal from the side of who asks: one super-peer after the other until one renews. */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { requestRenewal } from '../admission/client.ts';
import { AdmissionProtocolError, RevokedError } from '../admission/errors.ts';
import { ADMISSION_PROTOCOL } from '../admission/server.ts';
import { MAX_MULTIADDRS } from '../codec/multiaddr.ts';
import type { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import type { Host } from '../overlay/host.ts';
import type { SuperPeerAddress } from '../records/bootstrap.ts';
import { askSuperPeers, SuperPeersError } from './ask-super-peers.ts';
import type { Log } from './log.ts';
import { type Standing, saveStanding } from './standing.ts';

export interface RenewalWish {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  readonly cache: Pick<SecureCache, 'put'>;
  readonly serviceId: Ed25519PeerId;
  /** CIDRs behind this node that it would announce; none if left out. */
  readonly subnets?: readonly string[];
  /** Asked anew for each round, best first. */
  readonly superPeers: () => readonly SuperPeerAddress[];
  readonly log: Log;
}

/**
 * A super-peer that has missed an epoch renews nothing: the next one is asked.
 *
 * What the old standing held that is secret is overwritten, and the new one kept in the cache.
 *
 * @param epoch the one that this node knows the service to be in
 * @throws SuperPeersError when none of the super-peers renewed, the signal's reason when it came
 */
export async function renewAtAny(
  standing: Standing,
  wish: RenewalWish,
  stop: AbortSignal,
  epoch = standing.credential.value.epoch,
): Promise<Standing> {
  const { host, key, cache, serviceId, subnets = [], log } = wish;
  const { credential, renewalKey } = standing;
  const { answer: renewed, at } = await askSuperPeers({
    ...{ superPeers: wish.superPeers(), log, signal: stop },
    ...{ what: 'renews the credential', event: 'renewal-failed' },
    ask: async ({ peerId: superPeer, multiaddr }, signal) => {
      const stream = await host.libp2p.dialProtocol(multiaddr, ADMISSION_PROTOCOL, { signal });
      const multiaddrs = host.multiaddrs().slice(0, MAX_MULTIADDRS);
      const own = { credential, renewalKey, multiaddrs, subnets };
      const answer = await requestRenewal(stream, { key, superPeer, serviceId, signal, ...own });
      checkEpoch(answer, epoch, superPeer);
      return answer;
    },
  });
  await saveStanding(cache, renewed);
  renewalKey.fill(0);
  const until = new Date(renewed.credential.value.notAfter * 1000).toISOString();
  log('renewed', { by: at.peerId, until });
  return renewed;
}

/** Whether a renewal failed since this VM was thrown out: one super-peer that knows is enough. */
export function saysRevoked(error: unknown): boolean {
  return (
    error instanceof SuperPeersError &&
    error.failures.some((each) => each.error instanceof RevokedError)
  );
}

/** @throws AdmissionProtocolError when the super-peer has missed the epoch that the service is in */
function checkEpoch({ descriptor }: Standing, known: number, superPeer: Ed25519PeerId): void {
  const { epoch } = descriptor.value;
  if (epoch >= known) return;
  throw new AdmissionProtocolError(
    `the super-peer ${superPeer} is behind: it knows epoch ${epoch}, the service is in ${known}`,
  );
}

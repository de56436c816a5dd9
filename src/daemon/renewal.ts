/**
 * Keeps a node's credential fresh: renewed at any super-peer of the service before it ends, and at
 * once when the service moves to another epoch.
 *
 * ```
 *  issued            due: 2/3 of the lifetime, up to a tenth earlier            ends
 *    ├──────────────────────────────────┬────────────────────────────────────────┤
 *                                       └ tried at each super-peer, again and again
 * ```
 *
 * A renewal proves the old credential and the key that came with it; SRP is not run again. Members
 * draw their moment at random, so that those admitted together do not come together.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
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
/** Between rounds over all super-peers, in milliseconds: doubled each time, up to the limit. */
const FIRST_RETRY_MS = 1_000;
const LAST_RETRY_MS = 60_000;
/** Node's timers hold at most 2^31-1 ms. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;

export interface RenewalOptions {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  readonly cache: SecureCache;
  readonly serviceId: Ed25519PeerId;
  /** Asked anew for each round, best first. */
  readonly superPeers: () => readonly SuperPeerAddress[];
  readonly onRenewed: (standing: Standing) => void;
  readonly log: Log;
}

export class Renewal implements AsyncDisposable {
  readonly #options: RenewalOptions;
  #standing: Standing;
  readonly #closed = new AbortController();
  /** Aborted to make the next renewal due at once. */
  #hurry = new AbortController();
  readonly #running: Promise<void>;

  constructor(standing: Standing, options: RenewalOptions) {
    this.#standing = standing;
    this.#options = options;
    this.#running = this.#run();
  }

  get standing(): Standing {
    return this.#standing;
  }

  /** Renews at once when the service has moved to another epoch than the credential is of. */
  follow(epoch: number): void {
    if (this.#standing.credential.value.epoch !== epoch) this.#hurry.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      await this.#wait(dueIn(this.#standing));
      for (let wait = FIRST_RETRY_MS; !signal.aborted; wait = Math.min(2 * wait, LAST_RETRY_MS)) {
        if (await this.#round()) break;
        await sleep(wait, undefined, { signal }).catch(() => {});
      }
    }
  }

  async #wait(ms: number): Promise<void> {
    const signal = AbortSignal.any([this.#closed.signal, this.#hurry.signal]);
    await sleep(Math.min(ms, LONGEST_WAIT_MS), undefined, { signal }).catch(() => {});
    this.#hurry = new AbortController();
  }

  /** @returns whether one super-peer renewed */
  async #round(): Promise<boolean> {
    const { host, key, cache, serviceId, log, onRenewed } = this.#options;
    for (const { peerId, multiaddr } of this.#options.superPeers()) {
      const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(TRY_TIMEOUT_MS)]);
      try {
        const stream = await host.libp2p.dialProtocol(multiaddr, ADMISSION_PROTOCOL, { signal });
        const { credential, renewalKey } = this.#standing;
        const multiaddrs = host.multiaddrs().slice(0, 8);
        const own = { credential, renewalKey, multiaddrs };
        const renewed = await requestRenewal(stream, {
          ...{ key, superPeer: peerId, serviceId, signal, ...own },
        });
        await saveStanding(cache, renewed);
        this.#standing.renewalKey.fill(0);
        this.#standing = renewed;
        const until = new Date(renewed.credential.value.notAfter * 1000).toISOString();
        log('renewed', { by: peerId, until });
        onRenewed(renewed);
        return true;
      } catch (error) {
        if (this.#closed.signal.aborted) return false;
        log('renewal-failed', { superPeer: peerId, why: String(error) });
      }
    }
    return false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed.abort();
    await this.#running;
  }
}

/** Milliseconds until a renewal is due. */
function dueIn({ credential: { value } }: Standing): number {
  const lifetime = value.notAfter - value.notBefore;
  const latest = value.notBefore + Math.floor((lifetime * 2) / 3);
  const due = latest - randomInt(Math.max(1, Math.floor(lifetime / 10)));
  return Math.max(0, due * 1000 - Date.now());
}

/**
 * How a node comes to its standing.
 *
 * ```
 *  cache ─┬─ holds ───────────────────────────────────────────▶ standing
 *         ├─ has ended ──▶ renewal at any super-peer ─ granted ─▶ standing
 *         │                       └─ all refuse ─▶ admission, where a secret is at hand
 *         └─ nothing, or another name or roles wanted ─▶ admission
 * ```
 */
import { randomInt } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdmissionRefusedError, ClockError, RevokedError } from '../admission/errors.ts';
import { MAX_MULTIADDRS } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import { CLOCK_SKEW_SECONDS } from '../records/credential.ts';
import { type AdmissionWish, admitAtAny } from './admit.ts';
import { SuperPeersError } from './ask-super-peers.ts';
import { Waiting } from './patience.ts';
import { renewAtAny } from './renew.ts';
import { shuffled } from './shuffled.ts';
import { hasEnded, loadStanding, type Standing, saveStanding } from './standing.ts';
import type { NodeState } from './state.ts';

/** Pauses between rounds over all super-peers, in milliseconds: doubled each time, and as much again at random. */
const PAUSE_MS = { first: 1_000, most: 15_000 };

export interface StandingWish
  extends Omit<AdmissionWish, 'key' | 'multiaddrs' | 'secret' | 'vmid' | 'roles'> {
  /** The service secret or a ticket; undefined when it was forgotten. */
  readonly secret: string | undefined;
  /** As asked for now; left out, as before, or the host name. */
  readonly vmid?: string;
  /** As asked for now; left out, as before, or those of the ticket. */
  readonly roles?: readonly string[];
}

/** The VM was admitted under another name or with other roles than it is started with. */
export class IdentityChangedError extends IcvpnError {
  constructor(was: string, wanted: string) {
    super(
      'ERR_IDENTITY_CHANGED',
      `this VM was admitted as ${was}, not as ${wanted}`,
      'leave --vmid and --role out to go on as before, or give --bootstrap with the service secret to be admitted anew',
    );
  }
}

/**
 * @returns what the cache has; where that has ended, what a super-peer renewed it to; where there is
 * none, or another name or other roles are wanted, what a new admission gave
 * @throws IdentityChangedError when a new admission would need the secret, which is not known
 * @throws SuperPeersError, ClockError
 */
export async function obtainStanding(state: NodeState, wish: StandingWish): Promise<Standing> {
  const kept = await loadStanding(state.cache);
  if (kept === undefined || !kept.credential.value.serviceId.equals(wish.serviceId)) {
    return admitted(state, wish, wish);
  }
  const { value } = kept.credential;
  const { vmid = value.vmid, roles = value.roles } = wish;
  const [was, wanted] = [nameOf(value), nameOf({ vmid, roles })];
  if (was !== wanted) {
    if (wish.secret === undefined) throw new IdentityChangedError(was, wanted);
    wish.log('identity-changed', { was, wanted });
    return admitted(state, wish, { vmid, roles });
  }
  if (hasEnded(kept)) return wayBack(state, kept, wish);
  const ahead = Math.floor(Date.now() / 1000) - value.notBefore;
  if (ahead < -CLOCK_SKEW_SECONDS) throw new ClockError(ahead, kept.credential.signer);
  return kept;
}

const nameOf = ({ vmid, roles }: { vmid: string; roles: readonly string[] }): string =>
  roles.length === 0 ? `${vmid} without roles` : `${vmid} with the roles ${[...roles].sort()}`;

async function admitted(
  state: NodeState,
  { secret, ...wish }: StandingWish,
  { vmid = hostname(), roles = [] }: { vmid?: string; roles?: readonly string[] },
): Promise<Standing> {
  if (secret === undefined) {
    throw new IcvpnError(
      'ERR_NO_SECRET',
      'this VM has no credential and no secret to be admitted with',
      "give the service's bootstrap data with --bootstrap",
    );
  }
  const multiaddrs = wish.host.multiaddrs().slice(0, MAX_MULTIADDRS);
  const asked = { ...wish, secret, vmid, roles: [...roles], key: state.key, multiaddrs };
  const { answer: admission, at } = await admitAtAny(asked);
  await saveStanding(state.cache, admission);
  wish.log('was-admitted', { service: wish.serviceId, by: at.peerId });
  return admission;
}

const isRefusal = (error: Error): boolean =>
  error instanceof AdmissionRefusedError || error instanceof RevokedError;

/**
 * The way back of a member whose credential has ended: super-peers renew it as long as the renewal key
 * proves that it was the bearer's. Waits for them without end: there is nothing else that would help.
 *
 * @throws SuperPeersError when all refuse, and there is no secret to be admitted with
 */
async function wayBack(state: NodeState, kept: Standing, wish: StandingWish): Promise<Standing> {
  const { signal, log, host, serviceId, subnets = [] } = wish;
  const superPeers = shuffled(wish.superPeers);
  const ended = new Date(kept.credential.value.notAfter * 1000).toISOString();
  log('credential-ended', { at: ended });
  using waiting = new Waiting(`a super-peer to renew the credential that ended at ${ended}`, log);
  for (let pause = PAUSE_MS.first; ; pause = Math.min(2 * pause, PAUSE_MS.most)) {
    try {
      const own = { host, serviceId, subnets, log, key: state.key, cache: state.cache };
      const renewed = await renewAtAny(kept, { ...own, superPeers: () => superPeers }, signal);
      kept.epochPsk.fill(0);
      return renewed;
    } catch (error) {
      if (!(error instanceof SuperPeersError)) throw error;
      if (error.failures.every((each) => isRefusal(each.error))) {
        if (wish.secret === undefined) throw error;
        return admitted(state, wish, kept.credential.value);
      }
      waiting.because(error.message);
      await sleep(pause + randomInt(pause), undefined, { signal });
    }
  }
}

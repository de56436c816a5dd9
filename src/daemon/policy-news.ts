/** Learning at start what policy the service has, before anybody is let near. */
import { setTimeout as delay } from 'node:timers/promises';
import { IcvpnError } from '../errors.ts';
import type { DirectoryClient } from '../overlay/directory-client.ts';
import type { ServiceTrust } from '../overlay/service-trust.ts';
import type { Log } from './log.ts';
import type { Tier } from './tier.ts';

/** Super-peers asked, the same one again if need be, and milliseconds between. */
const ATTEMPTS = 3;
const PAUSE_MS = 300;

/**
 * Asks the super-peer that this member is attached to.
 *
 * A policy from before a restart will do when none answers: a newer one comes when somebody does.
 *
 * @throws IcvpnError ERR_POLICY_UNKNOWN when nobody tells whether there is one
 */
export async function learnPolicy(
  tier: Pick<Tier, 'learn'> & { readonly trust: Pick<ServiceTrust, 'policy'> },
  directory: Pick<DirectoryClient, 'superPeer'>,
  { log, signal }: { log: Log; signal: AbortSignal },
): Promise<void> {
  let why: unknown = 'attached to none';
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (attempt > 0) await delay(PAUSE_MS, undefined, { signal });
    const { superPeer } = directory;
    if (superPeer === undefined) continue;
    try {
      return await tier.learn(superPeer, { signal });
    } catch (error) {
      signal.throwIfAborted();
      why = error;
      log('policy-unknown', { superPeer, why: String(error) });
    }
  }
  if (tier.trust.policy !== undefined) return;
  throw new IcvpnError(
    'ERR_POLICY_UNKNOWN',
    'no super-peer tells whether the service has a policy',
    'check that a super-peer runs and can be reached, then start again',
    { cause: why },
  );
}

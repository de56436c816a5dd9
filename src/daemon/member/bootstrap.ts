/**
 * What a member keeps of its service's bootstrap data across restarts. The service secret is in it until
 * the member holds a credential and what renews it; from then on it is nowhere in the cache.
 */
import { IcvpnError } from '../../errors.ts';
import {
  type Bootstrap,
  formatBootstrap,
  type KnownService,
  parseKnownService,
} from '../../records/bootstrap.ts';
import type { NodeState } from '../state.ts';

const ENTRY = 'bootstrap';

export class MemberError extends IcvpnError {}

/**
 * @param given takes the place of what was kept. It is not written here: see {@link keepService}
 * @throws MemberError when there is neither, or when it is of an overlay
 */
export async function knownService(
  state: NodeState,
  given: Bootstrap | undefined,
): Promise<KnownService> {
  if (given?.descriptor !== undefined) {
    throw new MemberError(
      'ERR_BOOTSTRAP_OF_OVERLAY',
      `the bootstrap data is of "${given.name}", an overlay, which super-peers join and VMs do not`,
      "give a service's bootstrap data; a super-peer starts with icvpn super-peer run --overlay",
    );
  }
  if (given !== undefined) return given;
  const kept = await state.cache.get(ENTRY);
  if (kept !== undefined) {
    try {
      return parseKnownService(new TextDecoder().decode(kept));
    } finally {
      kept.fill(0);
    }
  }
  throw new MemberError(
    'ERR_NO_BOOTSTRAP',
    `${state.dir} knows no service`,
    "give the service's bootstrap data with --bootstrap at the first start",
  );
}

/** Writes what a restart needs. */
export async function keepService({ cache }: NodeState, service: KnownService): Promise<void> {
  const raw = new TextEncoder().encode(formatBootstrap(service));
  await cache.put(ENTRY, raw);
  raw.fill(0);
}

/** Forgets the service secret: the way back is by the credential and its renewal key. */
export function forgetSecret(state: NodeState, service: KnownService): Promise<void> {
  return keepService(state, { ...service, secret: undefined });
}

/** The bootstrap data of a member, which outlives a restart. */
import { IcvpnError } from '../../errors.ts';
import { type Bootstrap, formatBootstrap, parseBootstrap } from '../../records/bootstrap.ts';
import type { NodeState } from '../state.ts';

export class MemberError extends IcvpnError {}

/** Bootstrap data given now takes the place of what was kept. @throws MemberError when there is neither */
export async function keepBootstrap(
  state: NodeState,
  given: Bootstrap | undefined,
): Promise<Bootstrap> {
  if (given !== undefined) {
    await state.cache.put('bootstrap', new TextEncoder().encode(formatBootstrap(given)));
    return given;
  }
  const kept = await state.cache.get('bootstrap');
  if (kept !== undefined) return parseBootstrap(new TextDecoder().decode(kept));
  throw new MemberError(
    'ERR_NO_BOOTSTRAP',
    `${state.dir} knows no service`,
    "give the service's bootstrap data with --bootstrap at the first start",
  );
}

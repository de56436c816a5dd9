/** Which states and policies of the kernel are ours, and how they go. */
import { randomInt } from 'node:crypto';
import type { CallOptions } from '../netlink/inflight.ts';
import { canonicalAddress } from '../xfrm/address.ts';
import type { XfrmClient } from '../xfrm/client.ts';
import { XfrmError } from '../xfrm/errors.ts';
import { XfrmKey } from '../xfrm/key.ts';
import type { Policy } from '../xfrm/policy.ts';
import type { State } from '../xfrm/state.ts';
import { noEsp, notRoot } from './errors.ts';
import type { VirtualAddresses } from './peer.ts';
import { GATE_PRIORITY } from './policies.ts';

/** How the policies and states of a data plane are known. */
export interface Ownership {
  readonly ifId: number;
  readonly virtualAddresses: VirtualAddresses;
  /** Whether an interface is the service's, or none any more. */
  readonly ownsInterface: (index: number) => boolean;
  /** The first of the block of reqids; undefined before it is reserved. */
  readonly firstReqid: number | undefined;
}

/** Deletes the policies, then the states: without policies nothing passes, and nothing is acquired anew. */
export async function removeOwned(
  xfrm: XfrmClient,
  owner: Ownership,
  call: CallOptions,
): Promise<void> {
  const policies = (await xfrm.policies(call)).filter((policy) => isOurPolicy(policy, owner));
  const ids = policies.map(({ direction, index, type, ifId }) => ({
    direction,
    index,
    type,
    ifId,
  }));
  rethrow(await xfrm.deletePolicies(ids, call));
  await removeStates(xfrm, (state) => isOurState(state, owner), call);
}

function isOurPolicy(policy: Policy, owner: Ownership): boolean {
  if (policy.ifId !== undefined) return policy.ifId === owner.ifId;
  if (policy.priority !== GATE_PRIORITY) return false;
  const { source, interfaceIndex } = policy.selector;
  if (interfaceIndex !== undefined) return owner.ownsInterface(interfaceIndex);
  const own = Object.values(owner.virtualAddresses).map(canonicalAddress);
  return own.includes(source.split('/')[0] ?? '');
}

/** Those that a gate acquired have no if_id, but a reqid of the block. */
function isOurState(state: State, { ifId, firstReqid }: Ownership): boolean {
  if (state.ifId !== undefined) return state.ifId === ifId;
  const block = Math.floor(state.reqid / BLOCK_SIZE) * BLOCK_SIZE;
  return state.spi === 0 && block === firstReqid;
}

/** Deletes the states that `wanted` says, larval ones too. */
export async function removeStates(
  xfrm: XfrmClient,
  wanted: (state: State) => boolean,
  call: CallOptions,
): Promise<void> {
  const states = (await xfrm.states(call)).filter(wanted);
  for (const state of states) {
    if (state.spi === 0) await removeAcquired(xfrm, state, call);
  }
  const named = states.filter((state) => state.spi !== 0);
  rethrow(await xfrm.deleteStates(named, call));
}

/** What names a state that an ACQUIRE made. */
export type Acquired = Pick<
  State,
  'source' | 'destination' | 'mode' | 'reqid' | 'sequence' | 'ifId' | 'protocol'
>;

/**
 * A state that an ACQUIRE left behind has no SPI, and only by SPI can it be named: so it gets one,
 * then goes. Until then, up to `net.core.xfrm_acq_expires` seconds, no further ACQUIRE would come.
 */
export async function removeAcquired(
  xfrm: XfrmClient,
  state: Acquired,
  call: CallOptions,
): Promise<void> {
  const { source, destination, mode, reqid, sequence, ifId, protocol } = state;
  try {
    const request = { source, destination, mode, reqid, sequence, ifId, protocol };
    const { spi } = await xfrm.allocateSpi(request, call);
    await xfrm.deleteState({ destination, spi, protocol }, call);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof XfrmError && error.code === 'ERR_XFRM_NOT_FOUND';
}

export function isTaken(error: unknown): boolean {
  return error instanceof XfrmError && error.code === 'ERR_XFRM_EXISTS';
}

/** Throws the first failure that is not "was gone already". */
export function rethrow(failures: readonly { readonly error: unknown }[]): void {
  const serious = failures.find(({ error }) => !isNotFound(error));
  if (serious !== undefined) throw serious.error;
}

/**
 * Tries out what the data plane needs, on a state that no packet can use. The signal is looked at
 * between the steps only, so that none is given up with its state left behind.
 *
 * @throws DataPlaneError `ERR_NOT_ROOT`, `ERR_NO_ESP`
 */
export async function probeKernel(
  xfrm: XfrmClient,
  ifId: number,
  call: CallOptions,
): Promise<void> {
  for (const address of ['127.0.0.1', '::1']) {
    call.signal?.throwIfAborted();
    const ends = { source: address, destination: address, ifId, mode: 'tunnel' } as const;
    const key = XfrmKey.of(new Uint8Array(36));
    let spi: number | undefined;
    try {
      ({ spi } = await xfrm.allocateSpi(ends));
      const aead = { name: 'rfc4106(gcm(aes))', key, icvBits: 128 };
      await xfrm.updateState({ ...ends, spi, aead, replay: { window: 32, esn: true } });
    } catch (error) {
      if (!(error instanceof XfrmError)) throw error;
      if (error.errnoName === 'EPERM') throw notRoot(error);
      throw noEsp(error.errnoName === 'ENOSYS' ? 'AES-GCM for ESP' : 'ESP', error);
    } finally {
      if (spi !== undefined) rethrow(await xfrm.deleteStates([{ destination: address, spi }]));
    }
  }
}

/** Reqids below belong to setkey(8) and to people (IPSEC_MANUAL_REQID_MAX). */
const BLOCK_SIZE = 0x1_0000;

/** A block of 65,536 reqids that no state or policy uses. @returns its first. */
export async function reserveReqids(xfrm: XfrmClient, call: CallOptions): Promise<number> {
  const used = new Set<number>();
  for (const { templates } of await xfrm.policies(call)) {
    for (const { reqid = 0 } of templates) used.add(Math.floor(reqid / BLOCK_SIZE));
  }
  for (const { reqid } of await xfrm.states(call)) used.add(Math.floor(reqid / BLOCK_SIZE));
  let block = randomInt(1, BLOCK_SIZE);
  while (used.has(block)) block = randomInt(1, BLOCK_SIZE);
  return block * BLOCK_SIZE;
}

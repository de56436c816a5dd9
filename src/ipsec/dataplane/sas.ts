/** The SAs of one peer in the kernel. Each call is to follow the one before on the same peer ({@link PeerRecord.serially}). */
import type { XfrmClient } from '../xfrm/client.ts';
import type { State } from '../xfrm/state.ts';
import { closeGate, openGate } from './gate.ts';
import { isNotFound, isTaken, removeAcquired, removeStates, rethrow } from './ownership.ts';
import { type SaDirection, type SaKeys, saEnds, saState } from './peer.ts';
import type { PeerRecord } from './peer-record.ts';
import { remapped } from './remap.ts';
import type { SaOptions } from './types.ts';

/** @returns the SPI, which the kernel keeps for `net.core.xfrm_acq_expires` seconds */
export async function reserve(xfrm: XfrmClient, peer: PeerRecord): Promise<number> {
  const { reqid, ifId, underlay } = peer.context;
  const request = { ...saEnds(underlay, 'in'), mode: 'tunnel', reqid, ifId } as const;
  const { spi } = await xfrm.allocateSpi(request);
  peer.put({ spi, direction: 'in', larval: true });
  return spi;
}

/**
 * An outbound SPI is of the peer's choice: another peer's, or another service's, may have it already at the same address.
 *
 * @param key.spi reserved, if it is inbound
 */
export async function install(
  xfrm: XfrmClient,
  peer: PeerRecord,
  { spi, direction }: { readonly spi: number; readonly direction: SaDirection },
  keys: SaKeys,
  options: SaOptions,
): Promise<void> {
  const spec = saState(peer.context, direction, spi, keys, options);
  try {
    await (direction === 'in' ? xfrm.updateState(spec) : xfrm.addState(spec));
    peer.put({ spi, direction, larval: false });
  } catch (error) {
    // After a time limit, say, it may be there all the same; what is somebody else's is left alone.
    if (!isTaken(error)) peer.put({ spi, direction, larval: false });
    throw error;
  } finally {
    spec.aead.key.wipe();
  }
  if (direction === 'in') return;
  await openGate(xfrm, peer);
  await settle(xfrm, peer);
}

/** SAs in UDP follow the peer to another port. */
export async function remap(xfrm: XfrmClient, peer: PeerRecord, remotePort: number): Promise<void> {
  for (const { spi, direction, larval } of peer.sas) {
    if (larval) continue;
    const state = await find(xfrm, peer, spi, direction);
    const spec = state && remapped(state, direction, remotePort);
    if (spec !== undefined) await xfrm.updateState(spec);
  }
}

/** @returns undefined if it is gone, or another's by now */
export async function find(
  xfrm: XfrmClient,
  peer: PeerRecord,
  spi: number,
  direction: SaDirection,
): Promise<State | undefined> {
  const { destination } = saEnds(peer.underlay, direction);
  try {
    const state = await xfrm.getState({ destination, spi });
    return state.reqid === peer.reqid && !state.larval ? state : undefined;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Nothing unless it is this peer's. It may be gone already. */
export async function remove(
  xfrm: XfrmClient,
  peer: PeerRecord,
  spi: number,
  direction: SaDirection,
): Promise<void> {
  if (!peer.drop(direction, spi)) return;
  await closeGate(xfrm, peer);
  const { destination } = saEnds(peer.underlay, direction);
  rethrow(await xfrm.deleteStates([{ destination, spi }]));
}

export async function removeAll(xfrm: XfrmClient, peer: PeerRecord): Promise<void> {
  await removeStates(xfrm, (state) => state.reqid === peer.reqid, {});
  for (const { direction, spi } of peer.sas) peer.drop(direction, spi);
  peer.wanted = false;
  peer.acquired = [];
}

/** The kernel's question is answered: it may ask again when it has to. */
export async function settle(xfrm: XfrmClient, peer: PeerRecord): Promise<void> {
  const acquired = peer.acquired;
  peer.acquired = [];
  for (const state of acquired) await removeAcquired(xfrm, state, {});
  peer.wanted = false;
}

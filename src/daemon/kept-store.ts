/**
 * The admission store of a super-peer's state directory, which is never made anew in silence: it says which tickets
 * are used and which addresses are leased.
 *
 * ```
 * admission.db │ entry admission-store in the secure cache, or lines in the audit log
 * there        │ whatever                    ▶ opened
 * missing      │ neither                     ▶ first start: made, then the entry
 * missing      │ one of them                 ▶ ERR_ADMISSION_STORE_LOST, unless the operator says: anew
 * ```
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AdmissionStore } from '../admission/store.ts';
import { IcvpnError } from '../errors.ts';
import { auditPath } from './audit-path.ts';
import type { NodeState } from './state.ts';

/** In the secure cache, once there is a store; its content says nothing. */
const MARK = 'admission-store';

/**
 * @param anew the operator's word that a lost store is to be made anew
 * @throws IcvpnError `ERR_ADMISSION_STORE_LOST`, `ERR_ADMISSION_STORE_THERE`, StoreError
 */
export async function openKeptStore(state: NodeState, anew: boolean): Promise<AdmissionStore> {
  const path = join(state.dir, 'admission.db');
  const marked = (await state.cache.names()).includes(MARK);
  if (anew && (await hasContent(path))) {
    throw new IcvpnError(
      'ERR_ADMISSION_STORE_THERE',
      `there is an admission store, ${path}`,
      'leave --new-admission-store out; move the file away first if it is damaged',
    );
  }
  const had = marked || (await hasContent(auditPath(state.dir)));
  const store = new AdmissionStore(path, { make: anew || !had });
  if (!marked) await state.cache.put(MARK, Uint8Array.of(1));
  return store;
}

async function hasContent(path: string): Promise<boolean> {
  try {
    return (await stat(path)).size > 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return false;
    throw error;
  }
}

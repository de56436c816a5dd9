/**
 * A node's standing in a service: what admission gave it, kept in the secure cache so that a
 * restart needs no new admission.
 */

import { bytes, message, required } from '../codec/protobuf.ts';
import type { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import { CREDENTIAL, type Credential } from '../records/credential.ts';
import { DESCRIPTOR, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open } from '../records/envelope.ts';
import { type AdmissionWish, admitAtAny } from './admit.ts';
import type { NodeState } from './state.ts';

export interface Standing {
  readonly credential: Opened<Credential>;
  readonly descriptor: Opened<ServiceDescriptor>;
  /** 32 bytes, known to the members of this epoch. */
  readonly epochPsk: Uint8Array;
  /** For renewal without SRP. */
  readonly renewalKey: Uint8Array;
}

const stored = message({
  credential: required(1, bytes({ max: CREDENTIAL.maxLength })),
  descriptor: required(2, bytes({ max: DESCRIPTOR.maxLength })),
  epochPsk: required(3, bytes({ length: 32 })),
  renewalKey: required(4, bytes({ max: 1024 })),
});

export async function saveStanding(cache: SecureCache, standing: Standing): Promise<void> {
  const raw = stored.encode({
    ...standing,
    credential: standing.credential.bytes,
    descriptor: standing.descriptor.bytes,
  });
  await cache.put('standing', raw);
  raw.fill(0);
}

/** @returns the standing in the cache; where there is none, admits this node, once */
export async function obtainStanding(
  state: NodeState,
  wish: Omit<AdmissionWish, 'key' | 'multiaddrs'>,
): Promise<Standing> {
  const kept = await loadStanding(state.cache, Date.now() / 1000);
  if (kept?.credential.value.serviceId.equals(wish.serviceId)) return kept;
  const multiaddrs = wish.host.multiaddrs();
  const { admission, at } = await admitAtAny({ ...wish, key: state.key, multiaddrs });
  await saveStanding(state.cache, admission);
  wish.log('was-admitted', { service: wish.serviceId, by: at.peerId });
  return admission;
}

/** @returns undefined when there is none, or its credential ended before `now` (seconds since 1970) */
export async function loadStanding(cache: SecureCache, now: number): Promise<Standing | undefined> {
  const raw = await cache.get('standing');
  if (raw === undefined) return undefined;
  const value = stored.decode(raw);
  raw.fill(0);
  const credential = await open(CREDENTIAL, value.credential);
  if (credential.value.notAfter <= now) return undefined;
  return { ...value, credential, descriptor: await openDescriptor(value.descriptor) };
}

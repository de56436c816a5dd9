/**
 * A node's standing in a service: what admission gave it, kept in the secure cache so that a
 * restart needs no new admission.
 */

import { bytes, message, required } from '../codec/protobuf.ts';
import type { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import { CREDENTIAL, type Credential } from '../records/credential.ts';
import { DESCRIPTOR, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open } from '../records/envelope.ts';

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

export async function saveStanding(
  cache: Pick<SecureCache, 'put'>,
  standing: Standing,
): Promise<void> {
  const raw = stored.encode({
    ...standing,
    credential: standing.credential.bytes,
    descriptor: standing.descriptor.bytes,
  });
  await cache.put('standing', raw);
  raw.fill(0);
}

/** Whether the credential has ended by this machine's clock. */
export function hasEnded({ credential }: Standing): boolean {
  return credential.value.notAfter <= Date.now() / 1000;
}

/** @returns undefined when there is none; the credential may have ended */
export async function loadStanding(cache: SecureCache): Promise<Standing | undefined> {
  const raw = await cache.get('standing');
  if (raw === undefined) return undefined;
  const value = stored.decode(raw);
  raw.fill(0);
  const credential = await open(CREDENTIAL, value.credential);
  return { ...value, credential, descriptor: await openDescriptor(value.descriptor) };
}

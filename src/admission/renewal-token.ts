/**
 * What lets any super-peer of a service renew a credential without having admitted its bearer.
 *
 * Super-peers share no session state. So the state travels with the member, sealed under a key that
 * the service's super-peers have from the owner (`renewalSecret`) and members have not:
 *
 * ```
 * token = nonce (12 bytes) | AES-256-GCM{ renewal key, PeerID, serial of the credential }
 * key   = HKDF(renewalSecret, salt = ServiceID, "icvpn renewal token 1")
 * ```
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { bytes, type Infer, message, required } from '../codec/protobuf.ts';
import { peerId } from '../records/peer-id.ts';

export const RENEWAL_KEY_LENGTH = 32;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;

const codec = message({
  renewalKey: required(1, bytes({ length: RENEWAL_KEY_LENGTH })),
  peerId: required(2, peerId()),
  serial: required(3, bytes({ length: 16 })),
});

/** The member's side of it is the renewal key alone. */
export type RenewalState = Infer<typeof codec>;

function tokenKey(renewalSecret: Uint8Array, serviceId: Ed25519PeerId): Uint8Array {
  const salt = serviceId.toMultihash().bytes;
  return new Uint8Array(hkdfSync('sha256', renewalSecret, salt, 'icvpn renewal token 1', 32));
}

/** @returns the token, for the member to keep and show at its next renewal */
export function sealRenewalState(
  state: RenewalState,
  renewalSecret: Uint8Array,
  serviceId: Ed25519PeerId,
): Uint8Array {
  const key = tokenKey(renewalSecret, serviceId);
  const plain = codec.encode(state);
  const nonce = randomBytes(NONCE_LENGTH);
  const cipher = createCipheriv('aes-256-gcm', key, nonce);
  const token = Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  for (const each of [key, plain]) each.fill(0);
  return token;
}

/** @returns undefined when no super-peer of this service made the token under this secret */
export function openRenewalState(
  token: Uint8Array,
  renewalSecret: Uint8Array,
  serviceId: Ed25519PeerId,
): RenewalState | undefined {
  if (token.length < NONCE_LENGTH + TAG_LENGTH) return undefined;
  const key = tokenKey(renewalSecret, serviceId);
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, token.subarray(0, NONCE_LENGTH), {
      authTagLength: TAG_LENGTH,
    });
    decipher.setAuthTag(token.subarray(-TAG_LENGTH));
    const body = decipher.update(token.subarray(NONCE_LENGTH, -TAG_LENGTH));
    return codec.decode(Uint8Array.from(Buffer.concat([body, decipher.final()])));
  } catch {
    return undefined;
  } finally {
    key.fill(0);
  }
}

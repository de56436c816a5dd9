/**
 * Key schedule of an admission: from SRP's key and the transcript to the keys that are used.
 *
 * ```
 *   transcript = {version, suite, PeerID of the VM, PeerID of the super-peer, ServiceID, I,
 *                 both nonces, s, kdf, A, B}                       canonical protobuf
 *   TH = SHA-256("icvpn admission 1" | transcript)
 *   PRK = HKDF-Extract(salt = TH, K)
 *   each key = HKDF-Expand(PRK, label, 32)
 *     "confirm vm", "confirm super-peer"    HMAC-SHA-256 over TH
 *     "seal vm", "seal super-peer"          AES-256-GCM, one message each, so the nonce is zero
 *     "renewal"                             the first renewal key
 * ```
 *
 * Why the PeerIDs are in it: Noise proves them, but SRP knows nothing of Noise. Somebody who carries
 * a VM's SRP messages over their own connection would otherwise be admitted in its place. With them
 * the two ends of a carried run disagree on every key.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  hkdfSync,
  timingSafeEqual,
} from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { message, required } from '../codec/protobuf.ts';
import { peerId } from '../records/peer-id.ts';
import { Challenge, Hello } from './messages.ts';

const Transcript = message({
  vm: required(1, peerId()),
  superPeer: required(2, peerId()),
  hello: required(3, Hello),
  challenge: required(4, Challenge),
});

/** Both ends, as Noise proved them, and what was said before the proof. */
export interface TranscriptParts {
  readonly vm: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  readonly hello: Hello;
  readonly challenge: Challenge;
}

/** @returns TH, 32 bytes */
export function transcriptHash(parts: TranscriptParts): Uint8Array {
  return createHash('sha256').update('icvpn admission 1').update(Transcript.encode(parts)).digest();
}

export type End = 'vm' | 'super-peer';

/** The keys of one run. `wipe` it when the run is over, however it ends. */
export class AdmissionKeys {
  readonly #key: Uint8Array;
  readonly #transcript: Uint8Array;

  /** @param key SRP's K; the caller overwrites its own copy */
  constructor(key: Uint8Array, parts: TranscriptParts) {
    this.#key = Uint8Array.from(key);
    this.#transcript = transcriptHash(parts);
  }

  /** @returns what `end` sends to prove that it has K and was in this very run: 32 bytes */
  confirmation(end: End): Uint8Array {
    const key = this.#derive(`confirm ${end}`);
    const mac = createHmac('sha256', key).update(this.#transcript).digest();
    key.fill(0);
    return mac;
  }

  confirms(end: End, mac: Uint8Array): boolean {
    return mac.length === 32 && timingSafeEqual(mac, this.confirmation(end));
  }

  /** Encrypts the one message that `end` sends. */
  seal(end: End, plain: Uint8Array): Uint8Array {
    const key = this.#derive(`seal ${end}`);
    const sealed = sealOnce(key, plain);
    key.fill(0);
    return sealed;
  }

  /** @throws Error when it was altered or is of another run */
  unseal(end: End, sealed: Uint8Array): Uint8Array {
    const key = this.#derive(`seal ${end}`);
    try {
      return openOnce(key, sealed);
    } finally {
      key.fill(0);
    }
  }

  /** @returns 32 bytes for the next renewal, to be overwritten by the caller */
  renewalKey(): Uint8Array {
    return this.#derive('renewal');
  }

  wipe(): void {
    this.#key.fill(0);
  }

  #derive(label: string): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#key, this.#transcript, label, 32));
  }
}

const TAG_LENGTH = 16;
const ZERO_NONCE = new Uint8Array(12);

/** AES-256-GCM under a key that encrypts one message in its life. */
export function sealOnce(key: Uint8Array, plain: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, ZERO_NONCE);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/** @throws Error when it is not what `sealOnce` made under this key */
export function openOnce(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', key, ZERO_NONCE, { authTagLength: TAG_LENGTH });
  decipher.setAuthTag(sealed.subarray(-TAG_LENGTH));
  const body = decipher.update(sealed.subarray(0, -TAG_LENGTH));
  return Uint8Array.from(Buffer.concat([body, decipher.final()]));
}

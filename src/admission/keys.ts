/**
 * Key schedule: from a secret that both ends have and a transcript to the keys that are used.
 *
 * ```
 *   admission: secret = SRP's K
 *     TH = SHA-256("icvpn admission 1" | {PeerID of the VM, PeerID of the super-peer, Hello, Challenge})
 *   renewal, question: secret = the member's renewal key
 *     TH = SHA-256("icvpn renewal 1" | {PeerID of the VM, PeerID of the super-peer, RenewalHello})
 *   renewal, answer: secret = the same
 *     TH = SHA-256("icvpn renewal answer 1" | TH of the question | nonce of the super-peer)
 *
 *   PRK = HKDF-Extract(salt = TH, secret);  each key = HKDF-Expand(PRK, label, 32)
 *     "confirm vm", "confirm super-peer"    HMAC-SHA-256 over TH
 *     "seal vm", "seal super-peer"          AES-256-GCM, one message each, so the nonce is zero
 *     "renewal"                             the member's next renewal key
 * ```
 *
 * {…} is canonical protobuf. Hello and Challenge hold version, suite, ServiceID, I, both nonces, s,
 * kdf, A and B.
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
import { Challenge, Hello, RenewalHello } from './messages.ts';

const Transcript = message({
  vm: required(1, peerId()),
  superPeer: required(2, peerId()),
  hello: required(3, Hello),
  challenge: required(4, Challenge),
});

const RenewalTranscript = message({
  vm: required(1, peerId()),
  superPeer: required(2, peerId()),
  hello: required(3, RenewalHello),
});

/** Both ends, as Noise proved them. */
export interface Ends {
  readonly vm: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
}

/** @returns TH of an admission, 32 bytes */
export function admissionTranscript(
  run: Ends & { readonly hello: Hello; readonly challenge: Challenge },
): Uint8Array {
  return digest('icvpn admission 1', Transcript.encode(run));
}

/** @returns TH of the question of a renewal, 32 bytes */
export function renewalTranscript(run: Ends & { readonly hello: RenewalHello }): Uint8Array {
  return digest('icvpn renewal 1', RenewalTranscript.encode(run));
}

/** @returns TH of the answer of a renewal, 32 bytes */
export function renewalAnswerTranscript(question: Uint8Array, nonce: Uint8Array): Uint8Array {
  return digest('icvpn renewal answer 1', question, nonce);
}

function digest(label: string, ...parts: Uint8Array[]): Uint8Array {
  const state = createHash('sha256').update(label);
  for (const part of parts) state.update(part);
  return state.digest();
}

export type End = 'vm' | 'super-peer';

/** The keys of one run. `wipe` it when the run is over, however it ends. */
export class RunKeys {
  readonly #key: Uint8Array;
  readonly #transcript: Uint8Array;

  /** @param secret SRP's K or a renewal key; the caller overwrites its own copy */
  constructor(secret: Uint8Array, transcript: Uint8Array) {
    this.#key = Uint8Array.from(secret);
    this.#transcript = transcript;
  }

  /** @returns what `end` sends to prove that it has the secret and is in this very run: 32 bytes */
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

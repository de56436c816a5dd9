/**
 * Transcript and key schedule: HKDF-SHA-256 (RFC 5869) in the shape of TLS 1.3 (RFC 8446, section 7.1).
 *
 * ```
 *   0 ─────▶ Extract ◀───── epoch PSK
 *              │ "derived"
 *              ▼
 *           Extract ◀───── [ML-KEM secret |] X25519 secret
 *              ├──"m2 seal", "m2 mac"──▶ over th1
 *              ├──"m3 seal", "m3 mac"──▶ over th2
 *              │ "derived"
 *              ▼
 *           Extract ◀───── 0
 *              ├──"m4"──▶ finished key, over total
 *              └──"esp"─▶ key, salt initiator to responder | key, salt back; over PIDs and total
 *
 *   th0 = H("th0", PID initiator, PID responder)          as Noise proved them
 *   th1 = H("th1", th0, m1, hello of m2)
 *   th2 = H("th2", th1, m2)
 *   total = H("total", th2, m3)
 * ```
 */

import type { Ed25519PeerId } from '@libp2p/interface';
import { concat } from 'uint8arrays/concat';
import { PEER_ID_LENGTH } from '../../records/peer-id.ts';
import { MAC_LENGTH } from './messages.ts';
import { digest, hmac, joined } from './primitives.ts';

export const PSK_LENGTH = 32;
const ESP_KEY_LENGTH = 32;
/** Salt of AES-GCM in ESP: RFC 4106, section 4. */
const ESP_SALT_LENGTH = 4;

const HASH_LENGTH = 32;
const ZEROS = new Uint8Array(HASH_LENGTH);
const EMPTY = new Uint8Array();

const label = (name: string): Uint8Array => new TextEncoder().encode(`icvpn exchange 1 ${name}`);

export type Role = 'initiator' | 'responder';

/** The two ends, in the same order at both. */
export interface Parties {
  readonly initiator: Ed25519PeerId;
  readonly responder: Ed25519PeerId;
}

const idBytes = (id: Ed25519PeerId): Uint8Array => {
  const { bytes } = id.toMultihash();
  if (bytes.length !== PEER_ID_LENGTH) throw new TypeError(`${id} is not an Ed25519 PeerID`);
  return bytes;
};

const TH0 = label('th0');
const TH1 = label('th1');
const TH2 = label('th2');
const TOTAL = label('total');

export const transcript = {
  th0: (parties: Parties): Uint8Array =>
    digest(TH0, idBytes(parties.initiator), idBytes(parties.responder)),
  th1: (th0: Uint8Array, m1: Uint8Array, hello: Uint8Array): Uint8Array =>
    digest(TH1, th0, m1, hello),
  th2: (th1: Uint8Array, m2: Uint8Array): Uint8Array => digest(TH2, th1, m2),
  total: (th2: Uint8Array, m3: Uint8Array): Uint8Array => digest(TOTAL, th2, m3),
};

const extract = (salt: Uint8Array, input: Uint8Array): Uint8Array => hmac(salt, input);

/** HKDF-Expand with info = label and context, each preceded by its length. */
function expand(
  secret: Uint8Array,
  name: Uint8Array,
  context: Uint8Array,
  length: number,
): Uint8Array {
  const info = joined(name, context);
  const out = new Uint8Array(Math.ceil(length / HASH_LENGTH) * HASH_LENGTH);
  let block: Uint8Array = EMPTY;
  for (let at = 0; at < length; at += HASH_LENGTH) {
    block = hmac(secret, concat([block, info, Uint8Array.of(at / HASH_LENGTH + 1)]));
    out.set(block, at);
  }
  return out.subarray(0, length);
}

const DERIVED = label('derived');
const SEAL = { responder: label('m2 seal'), initiator: label('m3 seal') };
const MAC = { responder: label('m2 mac'), initiator: label('m3 mac') };
const M4 = label('m4');
const ESP = label('esp');

/** The secret that both ends share after M2. It overwrites its inputs. */
export function handshakeSecret(psk: Uint8Array, secrets: readonly Uint8Array[]): Uint8Array {
  const early = extract(ZEROS, psk);
  const salt = expand(early, DERIVED, EMPTY, HASH_LENGTH);
  const input = concat([...secrets]);
  const handshake = extract(salt, input);
  wipe(early, salt, input, ...secrets);
  return handshake;
}

/** Keys of one proof: `role` is its sender; `th` is th1 for the responder, th2 for the initiator. */
export function proofKeys(
  handshake: Uint8Array,
  role: Role,
  th: Uint8Array,
): { seal: Uint8Array; mac: Uint8Array } {
  return {
    seal: expand(handshake, SEAL[role], th, 32),
    mac: expand(handshake, MAC[role], th, MAC_LENGTH),
  };
}

export interface DirectionKeys {
  /** 32 bytes, AES-256-GCM. */
  readonly key: Uint8Array;
  /** 4 bytes, the fixed part of the GCM nonce. */
  readonly salt: Uint8Array;
}

export interface FinalKeys {
  readonly finished: Uint8Array;
  readonly initiatorToResponder: DirectionKeys;
  readonly responderToInitiator: DirectionKeys;
}

/** The keys after M3. It overwrites `handshake`. */
export function finalKeys(handshake: Uint8Array, parties: Parties, total: Uint8Array): FinalKeys {
  const salt = expand(handshake, DERIVED, EMPTY, HASH_LENGTH);
  const master = extract(salt, ZEROS);
  const finishedKey = expand(master, M4, total, HASH_LENGTH);
  const context = concat([idBytes(parties.initiator), idBytes(parties.responder), total]);
  const one = ESP_KEY_LENGTH + ESP_SALT_LENGTH;
  const esp = expand(master, ESP, context, 2 * one);
  const direction = (at: number): DirectionKeys => ({
    key: esp.slice(at, at + ESP_KEY_LENGTH),
    salt: esp.slice(at + ESP_KEY_LENGTH, at + one),
  });
  const keys = {
    finished: hmac(finishedKey, total),
    initiatorToResponder: direction(0),
    responderToInitiator: direction(one),
  };
  wipe(handshake, salt, master, finishedKey, esp);
  return keys;
}

/** Overwrites secrets with zeros. */
export function wipe(...secrets: Uint8Array[]): void {
  for (const secret of secrets) secret.fill(0);
}

/**
 * Made-up secrets for services and identities that do not exist.
 *
 * A super-peer answers everybody with a challenge. Who asks for something unknown gets one that is
 * made from the name asked for and a key that only this super-peer has: the same each time, of the
 * same sizes, at the same cost, and never provable. So a challenge tells nothing about what exists.
 */
import { createHmac, hkdfSync } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { DEFAULT_SCRYPT, type ScryptParameters } from './kdf.ts';
import { GROUP_2048 } from './srp/group.ts';

/** The part of a service's admission secrets that SRP needs. */
export interface SrpRecord {
  readonly salt: Uint8Array;
  readonly kdf: ScryptParameters | undefined;
  readonly verifier: Uint8Array;
}

export class Decoys {
  readonly #key: Uint8Array;

  /** @param key the super-peer's, so that decoys outlive a restart */
  constructor(key: PrivateKey) {
    this.#key = new Uint8Array(hkdfSync('sha256', key.raw, '', 'icvpn admission decoys 1', 32));
  }

  of(serviceId: Ed25519PeerId, identity: string): SrpRecord {
    const seed = createHmac('sha256', this.#key)
      .update(serviceId.toMultihash().bytes)
      .update(identity)
      .digest();
    const salt = new Uint8Array(hkdfSync('sha256', seed, '', 'salt', 32));
    const length = GROUP_2048.N.length;
    const verifier = new Uint8Array(hkdfSync('sha256', seed, '', 'verifier', length));
    // Below N, whose first byte is above 0x7f, and above 1.
    verifier[0] = (verifier[0] ?? 0) & 0x7f;
    verifier[length - 1] = (verifier[length - 1] ?? 0) | 2;
    // Some services have machine-made secrets and some have human ones, so some decoys do too.
    const human = ((seed[0] ?? 0) & 1) === 1;
    return { salt, kdf: human ? DEFAULT_SCRYPT : undefined, verifier };
  }
}

/** Counts what many members cost: signatures of super-peers, updates that come to members. */
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { type DirectorySeal, PLAIN } from '../../../src/overlay/directory.ts';

/** @returns the key, telling each time that it signs an envelope, which names its public key */
export function countingKey(key: Ed25519PrivateKey, onSign: () => void): Ed25519PrivateKey {
  return new Proxy(key, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'publicKey') onSign();
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** Directory updates that came to one member. */
export class CountingSeal implements Pick<DirectorySeal, 'open'> {
  updates = 0;
  bytes = 0;

  reset(): void {
    this.updates = 0;
    this.bytes = 0;
  }

  open(sealed: Uint8Array, nonce: Uint8Array | undefined): Promise<Uint8Array> {
    this.updates++;
    this.bytes += sealed.length;
    return PLAIN.open(sealed, nonce);
  }
}

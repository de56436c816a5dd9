/**
 * The state directory of one node: who it is, and what it must not forget.
 *
 * ```
 * <dir>/                0700
 *   cache/              secure cache: node-key and what the daemon puts beside it
 *   control.sock        while a daemon runs
 * ```
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { SecureCache } from '../keymgmt/cache/secure-cache.ts';

export class NodeState implements AsyncDisposable {
  readonly dir: string;
  readonly cache: SecureCache;
  /** Made at first start; never leaves this machine. */
  readonly key: Ed25519PrivateKey;
  readonly peerId: Ed25519PeerId;

  private constructor(dir: string, cache: SecureCache, key: Ed25519PrivateKey) {
    this.dir = dir;
    this.cache = cache;
    this.key = key;
    this.peerId = peerIdFromPrivateKey(key);
  }

  /** Opens the directory, and makes it and the node key at the first start. */
  static async open(dir: string, options: { keyFile?: string }): Promise<NodeState> {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    const cache = await SecureCache.open(join(dir, 'cache'), options);
    try {
      return new NodeState(dir, cache, await nodeKey(cache));
    } catch (error) {
      await cache.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache.close();
  }
}

async function nodeKey(cache: SecureCache): Promise<Ed25519PrivateKey> {
  const stored = await cache.get('node-key');
  if (stored !== undefined) {
    const key = privateKeyFromProtobuf(stored);
    stored.fill(0);
    if (key.type === 'Ed25519') return key;
  }
  const key = await generateKeyPair('Ed25519');
  await cache.put('node-key', privateKeyToProtobuf(key));
  return key;
}

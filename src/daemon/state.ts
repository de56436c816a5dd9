/**
 * The state directory of one node: who it is, and what it must not forget.
 *
 * ```
 * <dir>/                0700
 *   cache/              secure cache: node-key and what the daemon puts beside it
 *   control.sock        while a daemon runs
 * ```
 */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { IcvpnError } from '../errors.ts';
import { makeDirectory } from '../files/atomic.ts';
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
    await makeDirectory(dir);
    const cache = await SecureCache.open(join(dir, 'cache'), options);
    try {
      return new NodeState(dir, cache, await nodeKey(dir, cache));
    } catch (error) {
      await cache.close();
      throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cache.close();
  }
}

/** What a node makes only once it has a key. */
const TRACES = ['admission.db', 'audit.log', 'records'];

/** @throws IcvpnError `ERR_NODE_KEY_LOST` where a node had one: it would go on as another node, unnoticed */
async function nodeKey(dir: string, cache: SecureCache): Promise<Ed25519PrivateKey> {
  const stored = await cache.get('node-key');
  if (stored !== undefined) {
    const key = privateKeyFromProtobuf(stored);
    stored.fill(0);
    if (key.type === 'Ed25519') return key;
  }
  const files = await readdir(dir);
  const traces = [...(await cache.names()), ...TRACES.filter((each) => files.includes(each))];
  if (traces.length > 0) {
    throw new IcvpnError(
      'ERR_NODE_KEY_LOST',
      `the key of the node in ${dir} is lost, which has ${traces.join(', ')}`,
      `restore ${join(dir, 'cache')} from a backup; or remove ${dir} and begin anew as another node: a super-peer with a new card, a member with its bootstrap data`,
    );
  }
  const key = await generateKeyPair('Ed25519');
  await cache.put('node-key', privateKeyToProtobuf(key));
  return key;
}

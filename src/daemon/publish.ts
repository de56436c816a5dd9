/** Hands a service's descriptor to the super-peers that it names. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { AbortOptions } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { createHost, type Host } from '../overlay/host.ts';
import { publishDescriptor } from '../overlay/publish.ts';
import { readDescriptor } from '../owner/service.ts';
import type { Admitter } from '../records/descriptor.ts';

/** One address gets this long. */
const TRY_TIMEOUT_MS = 15_000;

export interface Publication {
  readonly superPeer: string;
  /** Why this super-peer did not take it; null when it did. */
  readonly failure: string | null;
}

/**
 * @param dir the owner's directory of the service
 * @throws the last failure when no super-peer took the descriptor
 */
export async function publishService(dir: string, options: AbortOptions): Promise<Publication[]> {
  const descriptor = await readDescriptor(dir);
  // Whoever publishes proves nothing by its connection: the descriptor itself is signed.
  const host = await createHost({ key: await generateKeyPair('Ed25519'), listen: [] });
  try {
    const results: Publication[] = [];
    let last: unknown;
    for (const admitter of descriptor.value.admitters) {
      const failure = await publishAt(host, admitter, descriptor.bytes, options);
      last = failure ?? last;
      const why = failure instanceof Error ? failure.message : failure;
      results.push({
        superPeer: admitter.peerId.toString(),
        failure: why === undefined ? null : String(why),
      });
    }
    if (results.every((each) => each.failure !== null)) throw last;
    return results;
  } finally {
    await host.close();
  }
}

/** @returns why no address of this super-peer took it; undefined when one did */
async function publishAt(
  host: Host,
  { peerId, multiaddrs }: Admitter,
  descriptor: Uint8Array,
  options: AbortOptions,
): Promise<unknown> {
  let last: unknown = 'the descriptor names no address of it';
  for (const each of multiaddrs) {
    const limit = AbortSignal.timeout(TRY_TIMEOUT_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
    try {
      await publishDescriptor(host, multiaddr(`${each}/p2p/${peerId}`), descriptor, { signal });
      return undefined;
    } catch (error) {
      options.signal?.throwIfAborted();
      last = error;
    }
  }
  return last;
}

/** Hands what the owner signed to the super-peers that the service's descriptor names. */
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { AbortOptions, PrivateKey } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { dialled } from '../codec/multiaddr.ts';
import { createHost } from '../overlay/host.ts';
import { MAX_UNPROVEN, PublishError, publishRecord } from '../overlay/publish.ts';
import type { StoredKind } from '../overlay/stored-kinds.ts';
import type { Admitter, ServiceDescriptor } from '../records/descriptor.ts';

/** One address gets this long. */
const TRY_TIMEOUT_MS = 15_000;

export interface Publication {
  readonly superPeer: string;
  /** Why this super-peer did not take it; null when it did. */
  readonly failure: string | null;
}

export interface PublishOptions extends AbortOptions {
  /**
   * The service's own key. A super-peer that is flooded keeps room for it, and takes records above 60 KiB from
   * it alone. Default: a key of this publication only.
   */
  readonly key?: PrivateKey;
}

/**
 * @param service names the super-peers
 * @param record descriptor, policy or revocation list, as a signed envelope
 * @throws PublishError `ERR_PUBLISH_KEY`; the last failure when no super-peer took it
 */
export async function publishAtAll<T>(
  service: ServiceDescriptor,
  kind: StoredKind<T>,
  record: Uint8Array,
  options: PublishOptions,
): Promise<Publication[]> {
  if (record.length > MAX_UNPROVEN && options.key === undefined) {
    throw new PublishError(
      'ERR_PUBLISH_KEY',
      `a record of ${record.length} bytes is taken from the service's own key only`,
      "publish it where the owner's directory is",
    );
  }
  const host = await createHost({
    key: options.key ?? (await generateKeyPair('Ed25519')),
    listen: [],
  });
  try {
    const publish = (at: Multiaddr, signal: AbortSignal): Promise<number> =>
      publishRecord(host, at, kind, record, { signal });
    // At once: one that is silent must not hold up what the others are to know.
    const failures = await Promise.all(
      service.admitters.map((admitter) => atAnyAddress(admitter, publish, options)),
    );
    if (failures.every((failure) => failure !== undefined)) throw failures.at(-1);
    return service.admitters.map(({ peerId }, i) => {
      const failure = failures[i];
      const why = failure instanceof Error ? failure.message : failure;
      return { superPeer: peerId.toString(), failure: why === undefined ? null : String(why) };
    });
  } finally {
    await host.close();
  }
}

/** @returns why no address of this super-peer took it; undefined when one did */
async function atAnyAddress(
  { peerId, multiaddrs }: Admitter,
  publish: (at: Multiaddr, signal: AbortSignal) => Promise<number>,
  options: AbortOptions,
): Promise<unknown> {
  let last: unknown = 'the descriptor names no address of it';
  for (const each of multiaddrs) {
    const limit = AbortSignal.timeout(TRY_TIMEOUT_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
    try {
      await publish(dialled(each, peerId), signal);
      return undefined;
    } catch (error) {
      options.signal?.throwIfAborted();
      last = error;
    }
  }
  return last;
}

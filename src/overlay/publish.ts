/**
 * How a service's owner gets a descriptor into tier 1: `/icvpn/publish/1.0.0`, owner → super-peer.
 *
 * Open to everybody, since the owner is no member: the super-peer takes only what the service's own
 * key signed, that names this super-peer, of a service that its operator allows, and that is newer
 * than what it has.
 */
import type { AbortOptions, Ed25519PeerId, Stream } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { bytes, message, optional, required, string, uint32 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import {
  admitterOf,
  DESCRIPTOR,
  openDescriptor,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import { Frames } from './frames.ts';
import { type Host, timeLimit } from './host.ts';
import type { Records } from './records.ts';
import { DESCRIPTOR_RECORD } from './stored-kinds.ts';

export const PUBLISH_PROTOCOL = '/icvpn/publish/1.0.0';
/** Milliseconds for the owner's message to come, and for its descriptor to be stored. */
const LIMIT = 15_000;
/** Publications served at the same time, from all owners together. */
const MAX_PARALLEL = 8;

const REQUEST = message({ descriptor: required(1, bytes({ max: DESCRIPTOR.maxLength })) });
const MAX_REQUEST = DESCRIPTOR.maxLength + 16;

const REPLY = message({
  /** Super-peers, this one included, that hold the descriptor now; absent when it was refused. */
  holders: optional(1, uint32()),
  code: optional(2, string({ max: 64 })),
  reason: optional(3, string({ max: 512 })),
});
const MAX_REPLY = 1024;

/** The super-peer did not take the descriptor, or could not be reached. */
export class PublishError extends IcvpnError {}

export interface PublishServerOptions {
  readonly host: Host;
  /** Of tier 1. */
  readonly records: Records;
  /** Whether the operator of this super-peer lets it serve a service. */
  readonly allow: (serviceId: Ed25519PeerId) => boolean;
}

export class PublishServer {
  readonly #options: PublishServerOptions;
  readonly #life = new AbortController();
  #serving = 0;

  constructor(options: PublishServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.#options.host.libp2p.handle(PUBLISH_PROTOCOL, (stream) => this.#serve(stream), {
      maxInboundStreams: 1,
    });
  }

  async close(): Promise<void> {
    this.#life.abort(new PublishError('ERR_PUBLISH_CLOSED', 'closed', 'try another super-peer'));
    await this.#options.host.libp2p.unhandle(PUBLISH_PROTOCOL);
  }

  async #serve(stream: Stream): Promise<void> {
    const signal = timeLimit(LIMIT, this.#life.signal);
    this.#serving++;
    try {
      if (this.#serving > MAX_PARALLEL) throw new Error('busy');
      const frames = new Frames(stream, { reads: REQUEST, writes: REPLY, maxLength: MAX_REQUEST });
      const { descriptor } = await frames.read({ signal });
      await frames.write(await this.#take(descriptor, signal), { signal });
      await stream.close({ signal });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#serving--;
    }
  }

  async #take(raw: Uint8Array, signal: AbortSignal): Promise<ReturnType<typeof REPLY.decode>> {
    try {
      const opened = await openDescriptor(raw);
      this.#check(opened.value);
      const { replicas } = await this.#options.records.putSealed(DESCRIPTOR_RECORD, raw, {
        signal,
      });
      return { holders: replicas + 1, code: undefined, reason: undefined };
    } catch (error) {
      if (!(error instanceof IcvpnError)) throw error;
      return { holders: undefined, code: error.code, reason: error.message.slice(0, 256) };
    }
  }

  #check(descriptor: ServiceDescriptor): void {
    const { host, allow } = this.#options;
    if (admitterOf(descriptor, host.peerId) === undefined) {
      throw new PublishError(
        'ERR_PUBLISH_NOT_NAMED',
        `the descriptor does not name this super-peer, ${host.peerId}`,
        'add this super-peer’s card to the service, or publish at one that is named',
      );
    }
    if (!allow(descriptor.serviceId)) {
      throw new PublishError(
        'ERR_PUBLISH_NOT_ALLOWED',
        `this super-peer does not serve ${descriptor.serviceId}`,
        'ask its operator to allow the service',
      );
    }
  }
}

const REMEDIES: Readonly<Record<string, string>> = {
  ERR_PUBLISH_NOT_NAMED: 'add this super-peer’s card to the service, or publish at one it names',
  ERR_PUBLISH_NOT_ALLOWED: 'ask the super-peer’s operator to allow the service',
  ERR_RECORD_OLD: 'publish a descriptor with a higher sequence',
};

/**
 * Gives a descriptor to a super-peer.
 *
 * @param host a host of the owner's tool; its key plays no part
 * @param superPeer one of the super-peer's addresses, ending in `/p2p/<PeerID>`
 * @returns how many super-peers hold the descriptor now
 * @throws PublishError with the super-peer's code (`ERR_PUBLISH_NOT_NAMED`,
 *   `ERR_PUBLISH_NOT_ALLOWED`, `ERR_RECORD_OLD`, `ERR_ENVELOPE`), or `ERR_PUBLISH_UNREACHABLE`
 */
export async function publishDescriptor(
  host: Host,
  superPeer: Multiaddr,
  descriptor: Uint8Array,
  options: AbortOptions = {},
): Promise<number> {
  const signal = timeLimit(LIMIT, options.signal);
  const reply = await ask(host, superPeer, descriptor, signal).catch((cause: unknown) => {
    options.signal?.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PublishError(
      'ERR_PUBLISH_UNREACHABLE',
      `no answer from ${superPeer}: ${why}`,
      'check the address and that the super-peer runs',
      { cause },
    );
  });
  if (reply.holders !== undefined) return reply.holders;
  const code = reply.code ?? 'ERR_PUBLISH_REFUSED';
  const remedy = REMEDIES[code] ?? 'correct the descriptor and publish it again';
  throw new PublishError(code, `the super-peer refuses: ${reply.reason ?? 'no reason'}`, remedy);
}

async function ask(
  host: Host,
  superPeer: Multiaddr,
  descriptor: Uint8Array,
  signal: AbortSignal,
): Promise<ReturnType<typeof REPLY.decode>> {
  const stream = await host.libp2p.dialProtocol(superPeer, PUBLISH_PROTOCOL, { signal });
  try {
    const frames = new Frames(stream, { reads: REPLY, writes: REQUEST, maxLength: MAX_REPLY });
    await frames.write({ descriptor }, { signal });
    const reply = await frames.read({ signal });
    await stream.close({ signal });
    return reply;
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

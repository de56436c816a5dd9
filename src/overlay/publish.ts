/**
 * How a service's owner gets a descriptor, a policy or a revocation list into tier 1, and asks which are there:
 * `/icvpn/publish/1.0.0`, owner → super-peer.
 *
 * Open to everybody, since the owner is no member: the super-peer takes only what the service's own
 * key signed, of a service whose descriptor names this super-peer and which its operator allows, and
 * only what is newer than what it has.
 *
 * ```
 *  the node that dials                        what it may do here
 *  has the service's own key: ServiceID       up to 512 KiB, always a place
 *  has any other key                          up to 60 KiB, and one of 64 places, shared out by host and site
 * ```
 */
import type {
  AbortOptions,
  Connection,
  Ed25519PeerId,
  PeerId,
  PrivateKey,
  Stream,
} from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { Multiaddr } from '@multiformats/multiaddr';
import {
  bytes,
  type Infer,
  message,
  optional,
  repeated,
  required,
  uint32,
} from '../codec/protobuf.ts';
import { plainText, remark } from '../codec/text.ts';
import { IcvpnError } from '../errors.ts';
import { type PolicyDocument, parsePolicy } from '../policy/document.ts';
import { PolicyError } from '../policy/errors.ts';
import { checkRoutes } from '../policy/routes.ts';
import { admitterOf, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { EnvelopeError, open } from '../records/envelope.ts';
import { virtualPrefixes } from '../records/virtual-address.ts';
import { Places } from '../shares/places.ts';
import { MessageStream } from '../wire/message-stream.ts';
import { originAt } from './arrivals.ts';
import { type Host, timeLimit } from './host.ts';
import {
  answerQuery,
  HELD_RECORD,
  type HeldRecord,
  MAX_HELD,
  OWNER_QUERY_NAMESPACE,
  sealQuery,
} from './owner-query.ts';
import type { Records } from './records.ts';
import { DESCRIPTOR_RECORD, POLICY_RECORD, SPREAD_KINDS, type StoredKind } from './stored-kinds.ts';

export const PUBLISH_PROTOCOL = '/icvpn/publish/1.0.0';
/** Milliseconds for the owner's message to come, and for its descriptor to be stored. */
const LIMIT = 15_000;
/**
 * Publications of those who have not proved to be an owner, at the same time. Shared out by host and site, so
 * that silent ones make room (`shares/places.ts`).
 */
const STRANGERS = 64;
/** Milliseconds after which one makes room for another of the same host. */
const SILENT = 1_000;

const MAX_ENVELOPE = Math.max(...SPREAD_KINDS.map(({ record }) => record.maxLength));

const REQUEST = message({
  /** Namespace of the record's kind, or `OWNER_QUERY_NAMESPACE`: the envelope is a question then. */
  namespace: required(1, plainText({ max: 64 })),
  envelope: required(2, bytes({ max: MAX_ENVELOPE })),
});
type Request = Infer<typeof REQUEST>;
const MAX_REQUEST = MAX_ENVELOPE + 128;
/** Bytes of the largest record taken from a node that has not proved the owner's key (P5). */
export const MAX_UNPROVEN = 60 * 1024;

const REPLY = message({
  /** Super-peers, this one included, that hold the record now; absent when it was refused. */
  holders: optional(1, uint32()),
  code: optional(2, plainText({ max: 64 })),
  reason: optional(3, remark({ max: 512 })),
  /** What was asked for. */
  held: repeated(4, HELD_RECORD, { max: SPREAD_KINDS.length }),
});
type Reply = Infer<typeof REPLY>;
const MAX_REPLY = MAX_HELD + 1024;

/** An owner that has proved its key needs none of the places for strangers. */
const OWNERS_PLACE = { leave: (): void => {} };

/** The super-peer did not take the record, or could not be reached. */
export class PublishError extends IcvpnError {}

export interface PublishServerOptions {
  /** Places for those who have not proved to be an owner; default 64. */
  readonly strangers?: number;
  readonly host: Host;
  /** Of tier 1. */
  readonly records: Records;
  /** Whether the operator of this super-peer lets it serve a service. */
  readonly allow: (serviceId: Ed25519PeerId) => boolean;
  /**
   * Resolves when what was stored of a service has taken effect; the owner is answered then.
   * @throws IcvpnError when it has not: the owner is told why
   */
  readonly settled?: (serviceId: Ed25519PeerId) => Promise<void>;
}

export class PublishServer {
  readonly #options: PublishServerOptions;
  readonly #life = new AbortController();
  readonly #strangers: Places;

  constructor(options: PublishServerOptions) {
    this.#options = options;
    this.#strangers = new Places({
      ...{ capacity: options.strangers ?? STRANGERS, silent: SILENT },
      clock: performance.now.bind(performance),
    });
  }

  async start(): Promise<void> {
    const { host } = this.#options;
    const isOwner = ({ remotePeer }: Connection): boolean => this.#isOwner(remotePeer);
    const forget = host.strangers.except(isOwner);
    this.#life.signal.addEventListener('abort', forget, { once: true });
    await host.libp2p.handle(
      PUBLISH_PROTOCOL,
      (stream, connection) => this.#serve(stream, connection),
      // One after the other; the end of one may be seen here after the beginning of the next.
      { maxInboundStreams: 2 },
    );
  }

  async close(): Promise<void> {
    this.#life.abort(new PublishError('ERR_PUBLISH_CLOSED', 'closed', 'try another super-peer'));
    await this.#options.host.libp2p.unhandle(PUBLISH_PROTOCOL);
  }

  /** Noise has proved the owner's key, which is the ServiceID. */
  #isOwner(peer: PeerId): boolean {
    return peer.type === 'Ed25519' && this.#options.allow(peer);
  }

  async #serve(stream: Stream, connection: Connection): Promise<void> {
    const signal = timeLimit(LIMIT, this.#life.signal);
    const evict = (): void => stream.abort(new Error('others need the place'));
    const isOwner = this.#isOwner(connection.remotePeer);
    const place = isOwner
      ? OWNERS_PLACE
      : this.#strangers.enter(originAt(connection.remoteAddr), evict);
    try {
      if (place === undefined) throw new Error('busy');
      const frames = new MessageStream(stream, {
        reads: REQUEST,
        writes: REPLY,
        maxLength: isOwner ? MAX_REQUEST : MAX_UNPROVEN + 128,
      });
      const reply = await this.#answer(
        await frames.read({ signal }),
        connection.remotePeer,
        signal,
      );
      await frames.write(reply, { signal });
      await stream.close({ signal });
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    } finally {
      place?.leave();
    }
  }

  async #answer(request: Request, remote: PeerId, signal: AbortSignal): Promise<Reply> {
    const { records, host, allow } = this.#options;
    try {
      if (request.namespace !== OWNER_QUERY_NAMESPACE) return await this.#take(request, signal);
      const context = { records, self: host.peerId, remote, allow, signal };
      const held = await answerQuery(request.envelope, context);
      return { holders: 0, code: undefined, reason: undefined, held };
    } catch (error) {
      if (!(error instanceof IcvpnError)) throw error;
      const { code, message } = error;
      return { holders: undefined, code, reason: message.slice(0, 256), held: [] };
    }
  }

  async #take({ namespace, envelope }: Request, signal: AbortSignal): Promise<Reply> {
    const { records } = this.#options;
    const kind = SPREAD_KINDS.find((each) => each.namespace === namespace);
    if (kind === undefined) {
      throw new PublishError('ERR_PUBLISH_KIND', `${namespace} is not published`, 'update');
    }
    const { value, signer } = await open(kind.record, envelope);
    const service = kind.service(value);
    if (!signer.equals(service)) {
      throw new EnvelopeError(kind.record.name, 'it is not signed by the key of the service');
    }
    const descriptor =
      kind === DESCRIPTOR_RECORD
        ? (await openDescriptor(envelope)).value
        : records.latest(DESCRIPTOR_RECORD, service)?.value;
    const named = this.#check(service, descriptor);
    if (kind === POLICY_RECORD) await checkPolicy(envelope, named);
    const { replicas } = await records.putSealed(kind, envelope, { signal });
    await this.#options.settled?.(service);
    return { holders: replicas + 1, code: undefined, reason: undefined, held: [] };
  }

  #check(service: Ed25519PeerId, descriptor: ServiceDescriptor | undefined): ServiceDescriptor {
    const { host, allow } = this.#options;
    if (descriptor === undefined || admitterOf(descriptor, host.peerId) === undefined) {
      throw new PublishError(
        'ERR_PUBLISH_NOT_NAMED',
        `the descriptor of ${service} does not name this super-peer, ${host.peerId}`,
        'add this super-peer’s card to the service, or publish at one that is named',
      );
    }
    if (!allow(service)) {
      throw new PublishError(
        'ERR_PUBLISH_NOT_ALLOWED',
        `this super-peer does not serve ${service}`,
        'ask its operator to allow the service',
      );
    }
    return descriptor;
  }
}

/** @throws PolicyError when it routes members' own addresses. What else may be wrong with it, the store says */
async function checkPolicy(
  envelope: Uint8Array,
  { serviceId, ipv4Prefix }: ServiceDescriptor,
): Promise<void> {
  const { document } = (await open(POLICY_RECORD.record, envelope)).value;
  let parsed: PolicyDocument;
  try {
    parsed = parsePolicy(document);
  } catch (error) {
    if (error instanceof PolicyError) return;
    throw error;
  }
  checkRoutes(parsed, virtualPrefixes(serviceId, ipv4Prefix));
}

const REMEDIES: Readonly<Record<string, string>> = {
  ERR_PUBLISH_NOT_NAMED: 'add this super-peer’s card to the service, or publish at one it names',
  ERR_PUBLISH_NOT_ALLOWED: 'ask the super-peer’s operator to allow the service',
  ERR_RECORD_OLD: 'publish one with a higher sequence',
  ERR_RECORD_CONTENT: 'correct it and publish it again',
  ERR_RECORD_NOT_STORED: 'have room made on the super-peer’s disk, then publish again',
  ERR_NOT_SERVED: 'see the super-peer’s log, or have its operator do so, then publish again',
  ERR_SEALED_SECRETS: 'add the super-peer’s current card to the service, then publish again',
};

/**
 * Gives what the owner signed to a super-peer.
 *
 * @param host a host of the owner's tool; with the service's own key it is always heard, and may publish more
 * @param superPeer one of the super-peer's addresses, ending in `/p2p/<PeerID>`
 * @param kind descriptor, policy or revocation list
 * @returns how many super-peers hold the record now
 * @throws PublishError with the super-peer's code (`ERR_PUBLISH_NOT_NAMED`,
 *   `ERR_PUBLISH_NOT_ALLOWED`, `ERR_RECORD_OLD`, `ERR_ENVELOPE`), or `ERR_PUBLISH_UNREACHABLE`
 */
export async function publishRecord<T>(
  host: Host,
  superPeer: Multiaddr,
  kind: StoredKind<T>,
  envelope: Uint8Array,
  options: AbortOptions = {},
): Promise<number> {
  const request = { namespace: kind.namespace, envelope };
  const { holders, ...reply } = await answerTo(host, superPeer, request, options);
  if (holders !== undefined) return holders;
  throw refusal(reply);
}

/**
 * Asks a super-peer which records of a service it holds.
 *
 * @param host a host of the owner's tool
 * @param superPeer its PeerID, and one of its addresses, ending in `/p2p/<PeerID>`
 * @throws PublishError as `publishRecord`
 */
export async function heldRecords(
  host: Host,
  superPeer: { readonly peerId: Ed25519PeerId; readonly multiaddr: Multiaddr },
  ownerKey: PrivateKey,
  options: AbortOptions = {},
): Promise<readonly HeldRecord[]> {
  const serviceId = peerIdFromPrivateKey(ownerKey);
  if (serviceId.type !== 'Ed25519') throw new TypeError('an owner key is an Ed25519 key');
  const ends = { serviceId, superPeer: superPeer.peerId, asker: host.peerId };
  const request = { namespace: OWNER_QUERY_NAMESPACE, envelope: await sealQuery(ownerKey, ends) };
  const reply = await answerTo(host, superPeer.multiaddr, request, options);
  if (reply.holders !== undefined) return reply.held;
  throw refusal(reply);
}

/** @throws PublishError `ERR_PUBLISH_UNREACHABLE`, or the caller's own reason to abort */
async function answerTo(
  host: Host,
  superPeer: Multiaddr,
  request: Request,
  options: AbortOptions,
): Promise<Reply> {
  try {
    return await ask(host, superPeer, request, timeLimit(LIMIT, options.signal));
  } catch (cause) {
    options.signal?.throwIfAborted();
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new PublishError(
      'ERR_PUBLISH_UNREACHABLE',
      `no answer from ${superPeer}: ${why}`,
      'check the address and that the super-peer runs',
      { cause },
    );
  }
}

function refusal(reply: Pick<Reply, 'code' | 'reason'>): PublishError {
  const code = reply.code ?? 'ERR_PUBLISH_REFUSED';
  const remedy = REMEDIES[code] ?? 'correct what you publish and publish it again';
  return new PublishError(code, `the super-peer refuses: ${reply.reason ?? 'no reason'}`, remedy);
}

async function ask(
  host: Host,
  superPeer: Multiaddr,
  request: Request,
  signal: AbortSignal,
): Promise<Reply> {
  const stream = await host.libp2p.dialProtocol(superPeer, PUBLISH_PROTOCOL, { signal });
  try {
    const frames = new MessageStream(stream, {
      reads: REPLY,
      writes: REQUEST,
      maxLength: MAX_REPLY,
    });
    await frames.write(request, { signal });
    const reply = await frames.read({ signal });
    await stream.close({ signal });
    return reply;
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

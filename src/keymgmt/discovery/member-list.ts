/**
 * Member lists that only members read, and that nobody but a super-peer writes.
 *
 *     statement = envelope signed by the super-peer over
 *                 { ServiceID, epoch, sequence, expiry, hash, and PeerID and nonce of who asked, if one asked }
 *     hash      = SHA-256(SHA-256(header) || body)        header and body: body.ts
 *
 * The list itself is bytes to this module. For a requester it is fresh, since the requester's nonce is in the
 * statement. Without one it is for all members of the epoch, and as fresh as its sequence and expiry say. What is
 * stored is a shard: shard-seal.ts.
 *
 * Attribute-based encryption proves nothing about who encrypted: the statement is checked first, and
 * nothing is decrypted that it does not cover.
 */
import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { CLOCK_SKEW_SECONDS } from '../../records/credential.ts';
import { EnvelopeError, type Opened, open, seal } from '../../records/envelope.ts';
import { decodePart, openBody, sealBody, sha256 } from './body.ts';
import type { DataKey, UnwrapKey } from './data-key.ts';
import { type ListFault, MemberListError } from './errors.ts';
import { LIST_STATEMENT, type ListStatement, MAX_LIST_BYTES, sealedList } from './messages.ts';

/** Whom a list is for. */
export interface Requester {
  readonly peerId: Ed25519PeerId;
  /** 16 to 32 bytes, chosen for this request. */
  readonly nonce: Uint8Array;
}

/** A list as a super-peer makes it. */
export interface MemberList {
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  /** Larger than in every earlier list of this super-peer for the service. */
  readonly sequence: number;
  /** Seconds since 1970, exclusive. */
  readonly notAfter: number;
  /** Absent in what is for all members of the epoch. */
  readonly requester?: Requester | undefined;
  /** At most 4 MiB. */
  readonly content: Uint8Array;
}

/**
 * @param dataKey under a policy that the requester satisfies; its clear half is not kept and not overwritten
 * @param key the super-peer's own
 * @throws RangeError for a list that breaks a limit
 */
export async function sealMemberList(
  list: MemberList,
  dataKey: DataKey,
  key: PrivateKey,
  options?: AbortOptions,
): Promise<Uint8Array> {
  const { serviceId, epoch, sequence, notAfter, requester, content } = list;
  if (content.length > MAX_LIST_BYTES) {
    throw new RangeError(`a member list of ${content.length} bytes; at most ${MAX_LIST_BYTES}`);
  }
  const { header, body } = sealBody(content, dataKey);
  const ciphertextHash = sha256(sha256(header), body);
  const facts = { serviceId, epoch, sequence, notAfter, ciphertextHash };
  const statement = await seal(LIST_STATEMENT, { ...facts, requester }, key, options);
  return sealedList.encode({ statement, header, body });
}

/** What a reader of lists knows. */
export interface ListContext {
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  /** The super-peers that the service's newest descriptor names. */
  readonly admitters: readonly Ed25519PeerId[];
  /** Seconds since 1970. */
  readonly now: number;
  /** Who asked, with which nonce; absent where a list for all is wanted. */
  readonly requester?: Requester | undefined;
  /** The largest sequence already seen from a super-peer, or undefined. */
  readonly lastSequence?: (superPeer: Ed25519PeerId) => number | undefined;
}

/** A list whose statement holds. It is still encrypted. */
interface CheckedList {
  readonly superPeer: Ed25519PeerId;
  readonly sequence: number;
  readonly notAfter: number;
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

/** Checks everything but the content, without a key. */
async function checkMemberList(
  bytes: Uint8Array,
  context: ListContext,
  options?: AbortOptions,
): Promise<CheckedList> {
  const { statement, header, body } = decodePart(sealedList, 'format', bytes);
  let opened: Opened<ListStatement>;
  try {
    opened = await open(LIST_STATEMENT, statement, options);
  } catch (cause) {
    if (!(cause instanceof EnvelopeError)) throw cause;
    throw new MemberListError('format', cause.message, { cause });
  }
  const { signer, value } = opened;
  const wrong = (fault: ListFault, message: string): never => {
    throw new MemberListError(fault, `a member list signed by ${signer}: ${message}`);
  };
  if (!context.admitters.some((id) => id.equals(signer))) {
    wrong('signer', 'not a super-peer of this service');
  }
  if (!value.serviceId.equals(context.serviceId)) wrong('service', 'for another service');
  if (value.epoch !== context.epoch) {
    wrong('epoch', `of epoch ${value.epoch}, the service is in ${context.epoch}`);
  }
  if (!sameRequester(value.requester, context.requester)) {
    wrong('requester', 'not the answer to this request');
  }
  if (context.now >= value.notAfter + CLOCK_SKEW_SECONDS) wrong('expired', 'it has expired');
  const last = context.lastSequence?.(signer);
  if (last !== undefined && value.sequence < last) {
    wrong('old', `number ${value.sequence}, after number ${last} was seen`);
  }
  if (!equals(value.ciphertextHash, sha256(sha256(header), body))) {
    wrong('hash', 'the statement is about another list');
  }
  const { sequence, notAfter } = value;
  return { superPeer: signer, sequence, notAfter, header, body };
}

function sameRequester(a: Requester | undefined, b: Requester | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.peerId.equals(b.peerId) && equals(a.nonce, b.nonce);
}

/**
 * Checks a list, then opens it.
 *
 * @param unwrap gives the data key, for this function to overwrite; called after all checks
 * @throws MemberListError (ERR_MEMBER_LIST) whose `fault` says which check failed; what `unwrap` throws,
 *   if the list is for others
 */
export async function openMemberList(
  bytes: Uint8Array,
  unwrap: UnwrapKey,
  context: ListContext,
  options?: AbortOptions,
): Promise<CheckedList & { readonly content: Uint8Array }> {
  const checked = await checkMemberList(bytes, context, options);
  return { ...checked, content: await openBody(checked, unwrap) };
}

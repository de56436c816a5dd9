/**
 * Member lists that only members read, and that nobody but a super-peer writes.
 *
 *     statement = envelope signed by the super-peer over
 *                 { ServiceID, epoch, sequence, expiry, hash, and PeerID and nonce of who asked }
 *     header    = { data key under the policy, IV }
 *     body      = AES-256-GCM(data key, IV, list), associated data SHA-256(header)
 *     hash      = SHA-256(SHA-256(header) || body)
 *
 * The list itself is bytes to this module. Two forms. For a requester, under `PeerID and ServiceID`: fresh,
 * since the requester's nonce is in the statement. For an epoch, under `ServiceID and epoch`: made once, the same for all, kept and passed on
 * by nodes that must not read it; it is as fresh as its sequence and expiry say.
 *
 * Attribute-based encryption proves nothing about who encrypted: the statement is checked first, and
 * nothing is decrypted that it does not cover.
 */
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from 'node:crypto';
import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { DecodeError, type MessageCodec } from '../../codec/protobuf.ts';
import { CLOCK_SKEW_SECONDS } from '../../records/credential.ts';
import { EnvelopeError, type Opened, open, seal } from '../../records/envelope.ts';
import { epochPolicy, requesterPolicy } from './attributes.ts';
import type { DataKey } from './data-key.ts';
import { type ListFault, MemberListError } from './errors.ts';
import {
  header,
  IV_BYTES,
  LIST_STATEMENT,
  type ListStatement,
  MAX_LIST_BYTES,
  sealedList,
  TAG_BYTES,
} from './messages.ts';

/** Whom a list is for. */
export interface Requester {
  readonly peerId: Ed25519PeerId;
  /** 16 to 32 bytes, chosen for this request; absent where the list itself proves to be fresh. */
  readonly nonce?: Uint8Array | undefined;
}

/** A list as a super-peer makes it. */
export interface MemberList {
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  /** Larger than in every earlier list of this super-peer for the service. */
  readonly sequence: number;
  /** Seconds since 1970, exclusive. */
  readonly notAfter: number;
  /** For whom; absent for the whole epoch. */
  readonly requester?: Requester | undefined;
  /** At most 4 MiB. */
  readonly content: Uint8Array;
}

const CIPHER = 'aes-256-gcm';

function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
}

/** The policy under which the data key of a list belongs. */
export function policyFor(list: Pick<MemberList, 'serviceId' | 'epoch' | 'requester'>): string {
  const { serviceId, epoch, requester } = list;
  return requester === undefined
    ? epochPolicy(serviceId, epoch)
    : requesterPolicy(requester.peerId, serviceId);
}

/**
 * @param dataKey made for `policyFor(list)`; its clear half is not kept and not overwritten
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
  const iv = randomFillSync(new Uint8Array(IV_BYTES));
  const headerBytes = header.encode({ wrappedKey: dataKey.wrapped, iv });
  const headerHash = sha256(headerBytes);
  const cipher = createCipheriv(CIPHER, dataKey.key, iv).setAAD(headerHash);
  const body = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  const ciphertextHash = sha256(headerHash, body);
  const facts = { serviceId, epoch, sequence, notAfter, ciphertextHash };
  const asked = requester && { peerId: requester.peerId, nonce: requester.nonce };
  const statement = await seal(LIST_STATEMENT, { ...facts, requester: asked }, key, options);
  return sealedList.encode({ statement, header: headerBytes, body });
}

/** What a reader or keeper of lists knows. */
export interface ListContext {
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  /** The super-peers that the service's newest descriptor names. */
  readonly admitters: readonly Ed25519PeerId[];
  /** Seconds since 1970. */
  readonly now: number;
  /** Who asked with which nonce; absent where a list for the epoch is wanted. */
  readonly requester?: Requester | undefined;
  /** The largest sequence already seen from a super-peer, or undefined. */
  readonly lastSequence?: (superPeer: Ed25519PeerId) => number | undefined;
}

/** A list whose statement holds. It is still encrypted. */
export interface CheckedList {
  readonly superPeer: Ed25519PeerId;
  readonly sequence: number;
  readonly notAfter: number;
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

function decode<T>(codec: MessageCodec<T>, fault: ListFault, bytes: Uint8Array): T {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new MemberListError(fault, `a member list: ${cause.message}`, { cause });
  }
}

/**
 * Checks everything but the content; needs no key, so that a node which must not read lists can keep
 * only genuine ones.
 *
 * @throws MemberListError (ERR_MEMBER_LIST) whose `fault` says which check failed
 */
export async function checkMemberList(
  bytes: Uint8Array,
  context: ListContext,
  options?: AbortOptions,
): Promise<CheckedList> {
  const { statement, header, body } = decode(sealedList, 'format', bytes);
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
  if (a.nonce === undefined || b.nonce === undefined) {
    return a.peerId.equals(b.peerId) && a.nonce === b.nonce;
  }
  return a.peerId.equals(b.peerId) && equals(a.nonce, b.nonce);
}

/**
 * Checks a list, then opens it.
 *
 * @param unwrap gives the data key, for this function to overwrite; called after all checks
 * @throws MemberListError (ERR_MEMBER_LIST); what `unwrap` throws, if the list is for others
 */
export async function openMemberList(
  bytes: Uint8Array,
  unwrap: (wrappedKey: Uint8Array) => Uint8Array,
  context: ListContext,
  options?: AbortOptions,
): Promise<CheckedList & { readonly content: Uint8Array }> {
  const checked = await checkMemberList(bytes, context, options);
  const { wrappedKey, iv } = decode(header, 'content', checked.header);
  const dataKey = unwrap(wrappedKey);
  try {
    return { ...checked, content: decryptBody(dataKey, iv, checked) };
  } finally {
    dataKey.fill(0);
  }
}

function decryptBody(key: Uint8Array, iv: Uint8Array, { header, body }: CheckedList): Uint8Array {
  const end = body.length - TAG_BYTES;
  try {
    const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES })
      .setAAD(sha256(header))
      .setAuthTag(body.subarray(end));
    // A copy with memory of its own, which is not Node's pool of Buffers.
    return new Uint8Array(
      Buffer.concat([decipher.update(body.subarray(0, end)), decipher.final()]),
    );
  } catch (cause) {
    throw new MemberListError('content', 'a member list: its body does not open', { cause });
  }
}

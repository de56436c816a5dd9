/**
 * Signed envelopes: every document that one node may take from another without trusting it.
 *
 * The format is libp2p's signed envelope (https://github.com/libp2p/specs/blob/master/RFC/0002-signed-envelopes.md):
 *
 * ```
 * Envelope { publicKey = 1, payloadType = 2, payload = 3, signature = 5 }
 * signature over  len(domain) domain  len(type) type  len(payload) payload
 * ```
 *
 * The kind of document is both the domain and the payload type, so that a signature on one kind can
 * never be shown as another. Only Ed25519 signs, and only the canonical encoding is taken: two
 * nodes that hold the same envelope hold the same bytes.
 */

import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPublicKey } from '@libp2p/peer-id';
import { RecordEnvelope } from '@libp2p/peer-record';
import { equals } from 'uint8arrays/equals';
import { DecodeError, type MessageCodec } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';

/** The bytes of an envelope are not one, or are not signed by who they must be signed by. */
export class EnvelopeError extends IcvpnError {
  constructor(kind: string, reason: string, options?: ErrorOptions) {
    super(
      'ERR_ENVELOPE',
      `not a valid ${kind}: ${reason}`,
      'discard it and ask another node; if it came in a file, get the file anew',
      options,
    );
  }
}

/** One kind of signed document: its name, its fields, its largest size. */
export interface RecordKind<T> {
  readonly name: string;
  readonly codec: MessageCodec<T>;
  /** Largest envelope accepted, in bytes. */
  readonly maxLength: number;
}

/** An envelope whose signature was checked. */
export interface Opened<T> {
  readonly signer: Ed25519PeerId;
  readonly value: T;
  /** The envelope as it came, to be passed on or stored. */
  readonly bytes: Uint8Array;
}

const domain = (name: string): string => `icvpn ${name} 1`;
const payloadType = (name: string): Uint8Array => new TextEncoder().encode(`/icvpn/${name}/1`);

/** @returns the envelope of `value` signed with `key`. @throws RangeError when `value` breaks the schema */
export async function seal<T>(
  kind: RecordKind<T>,
  value: T,
  key: PrivateKey,
  options?: AbortOptions,
): Promise<Uint8Array> {
  const payload = kind.codec.encode(value);
  const record = {
    domain: domain(kind.name),
    codec: payloadType(kind.name),
    marshal: () => payload,
    equals: () => false,
  };
  const bytes = (await RecordEnvelope.seal(record, key, options)).marshal();
  if (bytes.length > kind.maxLength) {
    throw new RangeError(`${kind.name} of ${bytes.length} bytes; at most ${kind.maxLength}`);
  }
  return bytes;
}

/**
 * Checks the signature and parses the payload. Who may sign which kind is for the caller to check.
 *
 * @throws EnvelopeError
 */
export async function open<T>(
  kind: RecordKind<T>,
  bytes: Uint8Array,
  options?: AbortOptions,
): Promise<Opened<T>> {
  if (bytes.length > kind.maxLength) {
    throw new EnvelopeError(kind.name, `${bytes.length} bytes; at most ${kind.maxLength}`);
  }
  const envelope = await certify(kind.name, bytes, options);
  options?.signal?.throwIfAborted();
  if (!equals(envelope.payloadType, payloadType(kind.name))) {
    throw new EnvelopeError(kind.name, 'it is of another kind');
  }
  if (envelope.publicKey.type !== 'Ed25519') {
    throw new EnvelopeError(kind.name, `signed with ${envelope.publicKey.type}, not Ed25519`);
  }
  if (!equals(envelope.marshal(), bytes)) {
    throw new EnvelopeError(kind.name, 'its encoding is not the canonical one');
  }
  try {
    const value = kind.codec.decode(envelope.payload);
    return { signer: peerIdFromPublicKey(envelope.publicKey), value, bytes };
  } catch (cause) {
    if (cause instanceof DecodeError) throw new EnvelopeError(kind.name, cause.message, { cause });
    throw cause;
  }
}

async function certify(
  name: string,
  bytes: Uint8Array,
  options?: AbortOptions,
): Promise<RecordEnvelope> {
  try {
    return await RecordEnvelope.openAndCertify(bytes, domain(name), options);
  } catch (cause) {
    options?.signal?.throwIfAborted();
    throw new EnvelopeError(name, 'its signature does not hold', { cause });
  }
}

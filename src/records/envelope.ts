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
 * nodes that hold the same envelope hold the same bytes. A codec of our own, since the library's
 * decodes loosely and costs half of a verification more.
 */

import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { concat } from 'uint8arrays/concat';
import { equals } from 'uint8arrays/equals';
import { ByteWriter } from '../codec/bytes.ts';
import {
  DecodeError,
  type Infer,
  type MessageCodec,
  message,
  required,
  view,
} from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import { ed25519Sign, ed25519Verify } from './ed25519.ts';
import { ED25519_PREFIX, peerIdFromEd25519 } from './peer-id.ts';

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

/** An envelope whose signer has vouched for it. */
export interface Opened<T> {
  readonly signer: Ed25519PeerId;
  readonly value: T;
  /** The envelope as it came, to be passed on or stored. */
  readonly bytes: Uint8Array;
}

/** Bounded by the kind's `maxLength` as a whole. */
const part = view({ max: Number.MAX_SAFE_INTEGER });
const envelopeCodec = message({
  /** A public key as libp2p writes it: type, then the key. */
  publicKey: required(1, part),
  payloadType: required(2, part),
  payload: required(3, part),
  signature: required(5, part),
});

interface KindBytes {
  readonly domain: Uint8Array;
  readonly payloadType: Uint8Array;
}

const text = new TextEncoder();
/** By name of the kind; the kinds are this program's own. */
const kindBytes = new Map<string, KindBytes>();

function bytesOf(name: string): KindBytes {
  const known = kindBytes.get(name);
  if (known !== undefined) return known;
  const domain = text.encode(`icvpn ${name} 1`);
  const made = { domain, payloadType: text.encode(`/icvpn/${name}/1`) };
  kindBytes.set(name, made);
  return made;
}

function signed(name: string, payload: Uint8Array): Uint8Array {
  const out = new ByteWriter();
  const { domain, payloadType } = bytesOf(name);
  for (const each of [domain, payloadType, payload]) {
    out.varint(each.length);
    out.bytes(each);
  }
  return out.finish();
}

/**
 * @param key an Ed25519 key
 * @returns the envelope of `value` signed with `key`
 * @throws RangeError when `value` breaks the schema, TypeError when `key` is of another kind
 */
export async function seal<T>(
  kind: RecordKind<T>,
  value: NoInfer<T>,
  key: PrivateKey,
  options?: AbortOptions,
): Promise<Uint8Array> {
  options?.signal?.throwIfAborted();
  const payload = kind.codec.encode(value);
  const sealed = envelopeCodec.encode({
    signature: ed25519Sign(key, signed(kind.name, payload)),
    publicKey: concat([ED25519_PREFIX, key.publicKey.raw]),
    payloadType: bytesOf(kind.name).payloadType,
    payload,
  });
  if (sealed.length > kind.maxLength) {
    throw new RangeError(`${kind.name} of ${sealed.length} bytes; at most ${kind.maxLength}`);
  }
  return sealed;
}

/**
 * Checks the signature and parses the payload. Who may sign which kind is for the caller to check.
 *
 * @throws EnvelopeError
 */
export async function open<T>(
  kind: RecordKind<T>,
  raw: Uint8Array,
  options?: AbortOptions,
): Promise<Opened<T>> {
  options?.signal?.throwIfAborted();
  const opened = parse(kind, raw, (signer, { payload, signature }) =>
    ed25519Verify(signer.publicKey.raw, signed(kind.name, payload), signature),
  );
  if (opened === undefined) throw new EnvelopeError(kind.name, 'its signature does not hold');
  return opened;
}

/**
 * Parses an envelope that stands within a document which `signer` has signed. What the same key vouches
 * for with the whole document needs no second check: it could have signed the part at any time.
 *
 * @returns undefined when the envelope claims another signer
 * @throws EnvelopeError
 */
export function openWithin<T>(
  kind: RecordKind<T>,
  raw: Uint8Array,
  signer: Ed25519PeerId,
): Opened<T> | undefined {
  return parse(kind, raw, (claimed) => claimed.equals(signer));
}

/** @returns undefined when `accept` says no; the payload is not looked at then */
function parse<T>(
  kind: RecordKind<T>,
  raw: Uint8Array,
  accept: (signer: Ed25519PeerId, envelope: Infer<typeof envelopeCodec>) => boolean,
): Opened<T> | undefined {
  if (raw.length > kind.maxLength) {
    throw new EnvelopeError(kind.name, `${raw.length} bytes; at most ${kind.maxLength}`);
  }
  try {
    const envelope = envelopeCodec.decode(raw);
    const signer = signerOf(kind.name, envelope);
    if (!accept(signer, envelope)) return undefined;
    return { signer, value: kind.codec.decode(envelope.payload), bytes: raw };
  } catch (cause) {
    if (cause instanceof DecodeError) throw new EnvelopeError(kind.name, cause.message, { cause });
    throw cause;
  }
}

/** @returns who is said to have signed the envelope. @throws EnvelopeError */
function signerOf(name: string, envelope: Infer<typeof envelopeCodec>): Ed25519PeerId {
  if (!equals(envelope.payloadType, bytesOf(name).payloadType)) {
    throw new EnvelopeError(name, 'it is of another kind');
  }
  const signer = peerIdFromEd25519(envelope.publicKey);
  if (signer === undefined) throw new EnvelopeError(name, 'signed with a key that is not Ed25519');
  return signer;
}

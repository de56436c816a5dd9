/**
 * The messages of the exchange, as canonical protobuf.
 *
 * ```
 * Frame { m1 = 1 | m2 = 2 | m3 = 3 | m4 = 4 | cookie = 5 | refusal = 6 | version = 7 }  exactly one of them
 *
 * M1    { version = 1, serviceId = 2, epoch = 3, suites = 4*, lifetimes = 5, nonce = 6 (32),
 *         x25519 = 7 (32), mlkem768 = 8 (1184, with suite 2 only), cookie = 9 (after a challenge),
 *         path = 10 PathOffer }
 * M2    { hello = 1 { suite = 1, lifetimes = 2, nonce = 3 (32), x25519 = 4 (32), mlkem768 = 5 (1088),
 *                     path = 6 PathChoice },
 *         sealed = 2 (AES-256-GCM of Proof) }
 * M3    { sealed = 1 (AES-256-GCM of Proof) }
 * M4    { finished = 1 (32) }
 * Proof { credential = 1, spi = 2, signature = 3 (64), mac = 4 (32) }
 * ```
 *
 * The frame names the message, so that none can be taken for another. Because there is one encoding
 * per value, hashing what was received and hashing what it means are the same.
 */
import {
  bytes,
  DecodeError,
  type Infer,
  type MessageCodec,
  message,
  optional,
  refine,
  repeated,
  required,
  uint32,
} from '../../codec/protobuf.ts';
import { CREDENTIAL } from '../../records/credential.ts';
import { peerId } from '../../records/peer-id.ts';
import { ExchangeError, type Refusal } from './errors.ts';
import { pathChoiceCodec, pathOfferCodec } from './path.ts';
import { lifetimesCodec } from './suite.ts';

export const VERSION = 1;
export const NONCE_LENGTH = 32;
const X25519_LENGTH = 32;
/** FIPS 203, table 3. */
const MLKEM768_KEY_LENGTH = 1184;
const MLKEM768_CIPHERTEXT_LENGTH = 1088;
const SIGNATURE_LENGTH = 64;
export const MAC_LENGTH = 32;
export const TAG_LENGTH = 16;
const COOKIE_LENGTH = 36;
/** Room for field tags and lengths. */
const FRAMING = 64;
/** Largest frame that is read from a stream, in bytes. */
export const MAX_FRAME_LENGTH =
  CREDENTIAL.maxLength + SIGNATURE_LENGTH + MAC_LENGTH + MLKEM768_KEY_LENGTH + 4 * FRAMING;

/** Numbers below 256 are reserved: RFC 4303, section 2.1. */
export const MIN_SPI = 256;

const m1Codec = message({
  version: required(1, uint32()),
  serviceId: required(2, peerId()),
  epoch: required(3, uint32()),
  suites: repeated(4, uint32(), { max: 8 }),
  lifetimes: required(5, lifetimesCodec),
  nonce: required(6, bytes({ length: NONCE_LENGTH })),
  x25519: required(7, bytes({ length: X25519_LENGTH })),
  mlkem768: optional(8, bytes({ length: MLKEM768_KEY_LENGTH })),
  cookie: optional(9, bytes({ length: COOKIE_LENGTH })),
  path: required(10, pathOfferCodec),
});
export type M1 = Infer<typeof m1Codec>;

export const helloCodec = message({
  suite: required(1, uint32()),
  lifetimes: required(2, lifetimesCodec),
  nonce: required(3, bytes({ length: NONCE_LENGTH })),
  x25519: required(4, bytes({ length: X25519_LENGTH })),
  mlkem768: optional(5, bytes({ length: MLKEM768_CIPHERTEXT_LENGTH })),
  path: required(6, pathChoiceCodec),
});
export type Hello = Infer<typeof helloCodec>;

export const proofCodec = message({
  credential: required(1, bytes({ min: 1, max: CREDENTIAL.maxLength })),
  spi: required(2, uint32()),
  signature: required(3, bytes({ length: SIGNATURE_LENGTH })),
  mac: required(4, bytes({ length: MAC_LENGTH })),
});
export type Proof = Infer<typeof proofCodec>;

const sealed = bytes({
  min: TAG_LENGTH,
  max: CREDENTIAL.maxLength + SIGNATURE_LENGTH + MAC_LENGTH + TAG_LENGTH + FRAMING,
});
const m2Codec = message({ hello: required(1, helloCodec), sealed: required(2, sealed) });
export type M2 = Infer<typeof m2Codec>;
const m3Codec = message({ sealed: required(1, sealed) });
const m4Codec = message({ finished: required(1, bytes({ length: MAC_LENGTH })) });

const REFUSALS: readonly Refusal[] = ['epoch', 'suite', 'collision', 'overload', 'message', 'path'];

const frameCodec = message({
  m1: optional(1, m1Codec),
  m2: optional(2, m2Codec),
  m3: optional(3, m3Codec),
  m4: optional(4, m4Codec),
  cookie: optional(5, bytes({ length: COOKIE_LENGTH })),
  refusal: optional(
    6,
    refine<number, Refusal>(uint32(), {
      parse(number) {
        const refusal = REFUSALS[number - 1];
        if (refusal === undefined) throw new RangeError(`${number} is no refusal`);
        return refusal;
      },
      format: (refusal) => REFUSALS.indexOf(refusal) + 1,
    }),
  ),
  /** In answer to an M1 of a version that this node does not speak: the one that it speaks. */
  version: optional(7, uint32()),
});
type Frame = Infer<typeof frameCodec>;
type Name = keyof Frame;

const NOTHING: Frame = {
  m1: undefined,
  m2: undefined,
  m3: undefined,
  m4: undefined,
  cookie: undefined,
  refusal: undefined,
  version: undefined,
};

/** @throws RangeError when a value breaks the schema */
export const encodeFrame = (frame: Partial<Frame>): Uint8Array =>
  frameCodec.encode({ ...NOTHING, ...frame });

/**
 * The version of an M1, which may have other fields than this node knows: it stands first in every version.
 *
 * @returns undefined where the bytes begin as no M1 does
 */
export function versionOf(raw: Uint8Array): number | undefined {
  const length = varint(raw, 1);
  if (raw[0] !== tag(1, 2) || length === undefined || raw[length.end] !== tag(1, 0)) {
    return undefined;
  }
  return varint(raw, length.end + 1)?.value;
}

/** @param version that the peer speaks */
export const otherVersion = (version: number): ExchangeError =>
  new ExchangeError(
    'version',
    `the peer speaks version ${version} of the exchange, and this node version ${VERSION}`,
  );

/** Of a field: its number, and its wire type (0 varint, 2 bytes behind their length). */
const tag = (field: number, type: 0 | 2): number => (field << 3) | type;

/** A varint of at most four bytes. */
function varint(raw: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = raw[at + i];
    if (byte === undefined) return undefined;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { value, end: at + i + 1 };
  }
  return undefined;
}

/**
 * Reads a frame that must hold one of the messages `expected`.
 *
 * @throws ExchangeError with fault `message`
 */
export function decodeFrame<N extends Name>(
  raw: Uint8Array,
  expected: readonly N[],
): Pick<Frame, N> {
  const frame = decode(frameCodec, raw);
  const present = Object.entries(frame).filter(([, value]) => value !== undefined);
  const [only] = present;
  if (only === undefined || present.length > 1 || !expected.some((name) => name === only[0])) {
    const found = present.map(([name]) => name).join(' and ') || 'nothing';
    throw new ExchangeError('message', `expected ${expected.join(' or ')}, received ${found}`);
  }
  return frame;
}

/** @throws ExchangeError with fault `message` */
export function decode<T>(codec: MessageCodec<T>, raw: Uint8Array): T {
  try {
    return codec.decode(raw);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new ExchangeError('message', `not a message of the exchange: ${cause.message}`, {
      cause,
    });
  }
}

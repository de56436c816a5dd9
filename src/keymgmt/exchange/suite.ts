/** What two peers negotiate: the suite of primitives, and how long an SA may live. */
import { type Infer, message, required, uint53 } from '../../codec/protobuf.ts';

/**
 * `x25519`: X25519, Ed25519, HKDF-SHA-256, AES-256-GCM, and ESP with AES-256-GCM (RFC 4106) and ESN.
 * `x25519-mlkem768`: the same with ML-KEM-768 (FIPS 203) beside X25519, against recordings that are
 * decrypted once there is a quantum computer.
 */
export type Suite = 'x25519' | 'x25519-mlkem768';

/** Best first: what a node offers and takes when nothing else is said. */
export const ALL_SUITES: readonly Suite[] = ['x25519-mlkem768', 'x25519'];

const NUMBERS: Readonly<Record<Suite, number>> = { x25519: 1, 'x25519-mlkem768': 2 };

/** The number of a suite on the wire. */
export const suiteNumber = (suite: Suite): number => NUMBERS[suite];

export const suiteOf = (number: number): Suite | undefined =>
  ALL_SUITES.find((suite) => NUMBERS[suite] === number);

/**
 * The responder's rule: the first of its own suites that the initiator offered. Numbers that it does
 * not know are passed over.
 */
export const chooseSuite = (own: readonly Suite[], offered: readonly number[]): Suite | undefined =>
  own.find((suite) => offered.includes(NUMBERS[suite]));

export const lifetimesCodec = message({
  /** Seconds after installation. */
  seconds: required(1, uint53()),
  /** Bytes in one direction. */
  bytes: required(2, uint53()),
  /** Packets in one direction. */
  packets: required(3, uint53()),
});

/** Hard limits of an SA: whichever comes first ends it. Rekeying starts at a part of each. */
export type Lifetimes = Infer<typeof lifetimesCodec>;

/** @throws RangeError unless every limit is a positive whole number */
export function assertLifetimes(lifetimes: Lifetimes): void {
  for (const [name, value] of Object.entries(lifetimes)) {
    if (!Number.isSafeInteger(value) || value < 1) {
      throw new RangeError(`lifetime in ${name} is ${value}, not a positive whole number`);
    }
  }
}

/** The responder's rule: of each limit the lower. */
export const chooseLifetimes = (a: Lifetimes, b: Lifetimes): Lifetimes => ({
  seconds: Math.min(a.seconds, b.seconds),
  bytes: Math.min(a.bytes, b.bytes),
  packets: Math.min(a.packets, b.packets),
});

/** Whether a choice is one that follows from the offer: nothing above it, nothing without meaning. */
export const withinOffer = (choice: Lifetimes, offer: Lifetimes): boolean =>
  choice.seconds >= 1 &&
  choice.bytes >= 1 &&
  choice.packets >= 1 &&
  choice.seconds <= offer.seconds &&
  choice.bytes <= offer.bytes &&
  choice.packets <= offer.packets;

import type { AbortOptions } from '@libp2p/interface';
import {
  assertContext,
  type ExchangeContext,
  type ExchangeKeys,
  localId,
  orient,
} from './context.ts';
import { ExchangeError } from './errors.ts';
import {
  decodeFrame,
  encodeFrame,
  type Hello,
  helloCodec,
  type M1,
  NONCE_LENGTH,
  otherVersion,
  VERSION,
  versionOf,
} from './messages.ts';
import { choosePath, type PathChoice, pathOf } from './path.ts';
import { mlkem768Encapsulate, systemRandomness, x25519 } from './primitives.ts';
import { checkProof, makeProof } from './proof.ts';
import { finalKeys, handshakeSecret, transcript } from './schedule.ts';
import { chooseLifetimes, chooseSuite, type Suite, suiteNumber } from './suite.ts';

/**
 * The responder's side, a machine without input or output.
 *
 * ```
 *  readM1 ──▶ respond ──m2──▶ AwaitingM3 ──onM3(m3)──▶ m4, keys
 * ```
 *
 * Any error ends the run and overwrites its secrets; nothing may be called after it.
 */
export interface AwaitingM3 {
  /**
   * @returns the keys, the caller's from here on, and M4, to be sent when both SAs are installed
   * @throws ExchangeError
   */
  onM3(frame: Uint8Array, options?: AbortOptions): Promise<{ m4: Uint8Array; keys: ExchangeKeys }>;
  /** Ends the run from outside and overwrites its secrets. */
  abandon(): void;
}

/** An M1 that is well formed and could be answered. No cryptography was done yet. */
export interface ReceivedM1 {
  readonly raw: Uint8Array;
  readonly m1: M1;
  readonly suite: Suite;
  readonly path: PathChoice;
}

/**
 * Reads M1 and sees whether this node could answer it: cheap, so that load and collisions are dealt
 * with before any key is made.
 *
 * @throws ExchangeError with fault `message`, `version`, `service`, `epoch`, `suite`, `path` or `lifetimes`
 */
export function readM1(context: ExchangeContext, raw: Uint8Array): ReceivedM1 {
  const version = versionOf(raw);
  if (version !== undefined && version !== VERSION) throw otherVersion(version);
  const { m1 } = decodeFrame(raw, ['m1']);
  if (m1 === undefined) throw new ExchangeError('message', 'no M1');
  if (!m1.serviceId.equals(context.serviceId)) {
    throw new ExchangeError('service', `the peer asks for service ${m1.serviceId}`);
  }
  if (m1.epoch !== context.epoch) {
    throw new ExchangeError('epoch', `the peer is in epoch ${m1.epoch}, not ${context.epoch}`);
  }
  if (Object.values(m1.lifetimes).some((limit) => limit < 1)) {
    throw new ExchangeError('lifetimes', 'the peer offers a lifetime of nothing');
  }
  const suite = chooseSuite(context.suites, m1.suites);
  if (suite === undefined) {
    throw new ExchangeError(
      'suite',
      `the peer offers suites ${m1.suites}, none of which is allowed`,
    );
  }
  const offersKem = m1.suites.includes(suiteNumber('x25519-mlkem768'));
  if (offersKem !== (m1.mlkem768 !== undefined)) {
    throw new ExchangeError('message', 'the shares in M1 are not those of its suites');
  }
  const path = choosePath(m1.path, context.path);
  if (path === undefined) {
    const { policy } = context.path;
    throw new ExchangeError('path', `the peer wants ${m1.path.policy}, this node ${policy}`);
  }
  return { raw, m1, suite, path };
}

/**
 * Answers an M1.
 *
 * @throws ExchangeError with fault `share`; RangeError or TypeError when `context` or the SPI make no sense
 */
export function respond(
  context: ExchangeContext,
  received: ReceivedM1,
  options: { inboundSpi: number },
): { m2: Uint8Array; next: AwaitingM3 } {
  assertContext(context, options.inboundSpi);
  const { m1, suite } = received;
  const random = context.random ?? systemRandomness;
  // The KEM first: it refuses a bad key before an ephemeral key pair was made for nothing.
  const kem =
    suite === 'x25519-mlkem768' && m1.mlkem768 !== undefined
      ? mlkem768Encapsulate(random, m1.mlkem768)
      : undefined;
  const ecdh = random.x25519();
  const hello: Hello = {
    suite: suiteNumber(suite),
    lifetimes: chooseLifetimes(context.lifetimes, m1.lifetimes),
    nonce: random.bytes(NONCE_LENGTH),
    x25519: ecdh.share,
    mlkem768: kem?.ciphertext,
    path: received.path,
  };
  let shared: Uint8Array;
  try {
    shared = x25519(ecdh.privateKey, m1.x25519);
  } catch (error) {
    kem?.sharedKey.fill(0);
    throw error;
  }
  const handshake = handshakeSecret(context.psk, kem ? [kem.sharedKey, shared] : [shared]);

  const parties = { initiator: context.peer, responder: localId(context) };
  const th1 = transcript.th1(transcript.th0(parties), received.raw, helloCodec.encode(hello));
  const sealed = makeProof(context, 'responder', handshake, th1, options.inboundSpi);
  const m2 = encodeFrame({ m2: { hello, sealed } });
  const th2 = transcript.th2(th1, m2);

  let ended = false;
  const abandon = (): void => {
    ended = true;
    handshake.fill(0);
  };
  const onM3: AwaitingM3['onM3'] = async (raw, abort) => {
    if (ended) throw new ExchangeError('message', 'the exchange has ended');
    ended = true;
    try {
      const { m3 } = decodeFrame(raw, ['m3']);
      if (m3 === undefined) throw new ExchangeError('message', 'expected m3');
      const peer = await checkProof(context, 'initiator', handshake, th2, m3.sealed, abort);
      abort?.signal?.throwIfAborted();
      const transcriptHash = transcript.total(th2, raw);
      const final = finalKeys(handshake, parties, transcriptHash);
      const keys: ExchangeKeys = {
        peerCredential: peer.credential,
        ...orient('responder', final, { inbound: options.inboundSpi, outbound: peer.spi }),
        suite,
        lifetimes: hello.lifetimes,
        path: pathOf(hello.path, 'responder', context.path, m1.path.udpPort),
        transcriptHash,
      };
      return { m4: encodeFrame({ m4: { finished: final.finished } }), keys };
    } catch (error) {
      abandon();
      throw error;
    }
  };
  return { m2, next: { onM3, abandon } };
}

import { timingSafeEqual } from 'node:crypto';
import type { AbortOptions } from '@libp2p/interface';
import {
  assertContext,
  type ExchangeContext,
  type ExchangeKeys,
  localId,
  orient,
  wipeKeys,
} from './context.ts';
import { ExchangeError } from './errors.ts';
import {
  decodeFrame,
  encodeFrame,
  type Hello,
  helloCodec,
  type M1,
  type M2,
  NONCE_LENGTH,
  otherVersion,
  VERSION,
} from './messages.ts';
import { acceptable, pathOf } from './path.ts';
import { type KeyShare, mlkem768Decapsulate, systemRandomness, x25519 } from './primitives.ts';
import { checkProof, makeProof } from './proof.ts';
import { finalKeys, handshakeSecret, transcript, wipe } from './schedule.ts';
import { type Suite, suiteNumber, suiteOf, withinOffer } from './suite.ts';

/**
 * The initiator's side, a machine without input or output.
 *
 * ```
 *  startExchange ──m1──▶ AwaitingM2 ──onM2(cookie)──▶ m1 again, once
 *                             │
 *                             └──onM2(m2)──▶ m3, keys ──confirm(m4)──▶ done
 * ```
 *
 * Any error ends the run and overwrites its secrets; nothing may be called after it.
 */
export interface AwaitingM2 {
  /**
   * Takes the responder's answer to M1.
   *
   * @throws ExchangeError; with `refusal` set when the responder said no
   */
  onM2(frame: Uint8Array, options?: AbortOptions): Promise<CookieStep | M3Step>;
  /** Ends the run from outside and overwrites its secrets. */
  abandon(): void;
}

/** The responder is under load and wants to see M1 again with its cookie. */
export interface CookieStep {
  readonly kind: 'cookie';
  readonly m1: Uint8Array;
}

export interface M3Step {
  readonly kind: 'm3';
  /** To be sent once the inbound SA is installed. */
  readonly m3: Uint8Array;
  /** The caller's from here on. `inbound` may be used now, `outbound` after `confirm`. */
  readonly keys: ExchangeKeys;
  /**
   * Checks M4: the responder has both SAs.
   *
   * @throws ExchangeError with fault `message` or `finished`; the keys are then overwritten
   */
  confirm(m4: Uint8Array): void;
}

/** @throws RangeError or TypeError when `context` or the SPI make no sense */
export function startExchange(
  context: ExchangeContext,
  options: { inboundSpi: number },
): { m1: Uint8Array; next: AwaitingM2 } {
  assertContext(context, options.inboundSpi);
  const random = context.random ?? systemRandomness;
  const ecdh = random.x25519();
  const kem = context.suites.includes('x25519-mlkem768') ? random.mlkem768() : undefined;
  const m1: M1 = {
    version: VERSION,
    serviceId: context.serviceId,
    epoch: context.epoch,
    suites: context.suites.map(suiteNumber),
    lifetimes: context.lifetimes,
    nonce: random.bytes(NONCE_LENGTH),
    x25519: ecdh.share,
    mlkem768: kem?.share,
    cookie: undefined,
    path: context.path,
  };
  return {
    m1: encodeFrame({ m1 }),
    next: new Initiator(context, options.inboundSpi, m1, ecdh, kem),
  };
}

class Initiator implements AwaitingM2 {
  readonly #context: ExchangeContext;
  readonly #inboundSpi: number;
  #m1: M1;
  readonly #ecdh: KeyShare;
  readonly #kem: KeyShare | undefined;
  #ended = false;
  #handshake: Uint8Array | undefined;

  constructor(
    context: ExchangeContext,
    inboundSpi: number,
    m1: M1,
    ecdh: KeyShare,
    kem: KeyShare | undefined,
  ) {
    this.#context = context;
    this.#inboundSpi = inboundSpi;
    this.#m1 = m1;
    this.#ecdh = ecdh;
    this.#kem = kem;
  }

  abandon(): void {
    this.#ended = true;
    this.#handshake?.fill(0);
  }

  async onM2(raw: Uint8Array, options?: AbortOptions): Promise<CookieStep | M3Step> {
    if (this.#ended) throw new ExchangeError('message', 'the exchange has ended');
    try {
      const frame = decodeFrame(raw, ['m2', 'cookie', 'refusal', 'version']);
      if (frame.cookie !== undefined) return this.#retry(frame.cookie);
      // One answer is all: a second could only be an attempt at trying values out.
      this.#ended = true;
      if (frame.m2 !== undefined) return await this.#answer(frame.m2, raw, options);
      if (frame.version !== undefined) throw otherVersion(frame.version);
      const refusal = frame.refusal ?? 'message';
      throw new ExchangeError(refusal, `${this.#context.peer} refused: ${refusal}`, { refusal });
    } catch (error) {
      this.abandon();
      throw error;
    }
  }

  #retry(cookie: Uint8Array): CookieStep {
    if (this.#m1.cookie !== undefined) throw new ExchangeError('cookie', 'a second cookie');
    this.#m1 = { ...this.#m1, cookie };
    return { kind: 'cookie', m1: encodeFrame({ m1: this.#m1 }) };
  }

  async #answer(m2: M2, raw: Uint8Array, options?: AbortOptions): Promise<M3Step> {
    const context = this.#context;
    const suite = this.#checkChoice(m2.hello);
    const parties = { initiator: localId(context), responder: context.peer };
    const th0 = transcript.th0(parties);
    const th1 = transcript.th1(th0, encodeFrame({ m1: this.#m1 }), helloCodec.encode(m2.hello));
    const handshake = handshakeSecret(context.psk, this.#secrets(m2.hello));
    this.#handshake = handshake;
    const peer = await checkProof(context, 'responder', handshake, th1, m2.sealed, options);
    options?.signal?.throwIfAborted();

    const th2 = transcript.th2(th1, raw);
    const sealed = makeProof(context, 'initiator', handshake, th2, this.#inboundSpi);
    const m3 = encodeFrame({ m3: { sealed } });
    const transcriptHash = transcript.total(th2, m3);
    const final = finalKeys(handshake, parties, transcriptHash);
    const keys: ExchangeKeys = {
      peerCredential: peer.credential,
      ...orient('initiator', final, { inbound: this.#inboundSpi, outbound: peer.spi }),
      suite,
      lifetimes: m2.hello.lifetimes,
      path: pathOf(m2.hello.path, 'initiator', context.path, m2.hello.path.udpPort),
      transcriptHash,
    };
    return { kind: 'm3', m3, keys, confirm: (m4) => confirm(m4, final.finished, keys) };
  }

  /** The responder may only choose among what was offered. */
  #checkChoice(hello: Hello): Suite {
    const suite = suiteOf(hello.suite);
    if (suite === undefined || !this.#context.suites.includes(suite)) {
      throw new ExchangeError(
        'suite',
        `the peer chose suite ${hello.suite}, which was not offered`,
      );
    }
    if ((suite === 'x25519-mlkem768') !== (hello.mlkem768 !== undefined)) {
      throw new ExchangeError('message', 'the shares in M2 are not those of its suite');
    }
    if (!withinOffer(hello.lifetimes, this.#context.lifetimes)) {
      throw new ExchangeError('lifetimes', 'the peer chose lifetimes that were not offered');
    }
    if (!acceptable(hello.path, this.#context.path)) {
      throw new ExchangeError('path', 'the peer chose an encapsulation that was not offered');
    }
    return suite;
  }

  #secrets(hello: Hello): Uint8Array[] {
    const ecdh = x25519(this.#ecdh.privateKey, hello.x25519);
    if (hello.mlkem768 === undefined || this.#kem === undefined) return [ecdh];
    return [mlkem768Decapsulate(this.#kem.privateKey, hello.mlkem768), ecdh];
  }
}

function confirm(raw: Uint8Array, finished: Uint8Array, keys: ExchangeKeys): void {
  try {
    const { m4 } = decodeFrame(raw, ['m4']);
    if (m4 === undefined || !timingSafeEqual(m4.finished, finished)) {
      throw new ExchangeError('finished', 'the confirmation of the peer does not hold');
    }
  } catch (error) {
    wipeKeys(keys);
    throw error;
  } finally {
    wipe(finished);
  }
}

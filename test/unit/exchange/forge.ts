/** A responder that lies on demand: it knows all that a member knows, and follows the rules where it is not told otherwise. */
import type { ExchangeContext } from '../../../src/keymgmt/exchange/context.ts';
import { localId } from '../../../src/keymgmt/exchange/context.ts';
import {
  encodeFrame,
  type Hello,
  helloCodec,
  proofCodec,
} from '../../../src/keymgmt/exchange/messages.ts';
import {
  digest,
  hmac,
  joined,
  seal,
  systemRandomness,
  x25519,
} from '../../../src/keymgmt/exchange/primitives.ts';
import { readM1 } from '../../../src/keymgmt/exchange/responder.ts';
import { handshakeSecret, proofKeys, transcript } from '../../../src/keymgmt/exchange/schedule.ts';
import { ed25519Sign } from '../../../src/records/ed25519.ts';

export interface Lies {
  readonly spi?: number;
  readonly hello?: Partial<Hello>;
  /** The role in the signed statement. */
  readonly role?: string;
  /** Signs and MACs this in the place of the transcript. */
  readonly transcript?: Uint8Array;
  readonly mac?: (mac: Uint8Array) => Uint8Array;
  readonly signature?: (signature: Uint8Array) => Uint8Array;
  /** What is sealed instead of the proof. */
  readonly plain?: (plain: Uint8Array) => Uint8Array;
}

/** @returns an M2 for `m1` as `context` would send it, but for the lies */
export function forgeM2(context: ExchangeContext, m1: Uint8Array, lies: Lies): Uint8Array {
  const ecdh = systemRandomness.x25519();
  const hello: Hello = {
    suite: 1,
    lifetimes: context.lifetimes,
    nonce: systemRandomness.bytes(32),
    x25519: ecdh.share,
    mlkem768: undefined,
    path: { why: 'direct', natted: 0, udpPort: undefined },
    ...lies.hello,
  };
  const parties = { initiator: context.peer, responder: localId(context) };
  const th1 = transcript.th1(transcript.th0(parties), m1, helloCodec.encode(hello));
  const shared = x25519(ecdh.privateKey, readM1(context, m1).m1.x25519);
  const keys = proofKeys(handshakeSecret(context.psk, [shared]), 'responder', th1);
  const { key, credential } = context.identity;
  const spi = lies.spi ?? 0x1000;
  const said = joined(
    new TextEncoder().encode(`icvpn exchange 1 ${lies.role ?? 'responder'} signature`),
    lies.transcript ?? th1,
    digest(credential),
    Uint8Array.of(spi >>> 24, spi >>> 16, spi >>> 8, spi),
  );
  const mac = hmac(keys.mac, said);
  const signature = ed25519Sign(key, said);
  const plain = proofCodec.encode({
    credential,
    spi,
    signature: lies.signature?.(signature) ?? signature,
    mac: lies.mac?.(mac) ?? mac,
  });
  return encodeFrame({
    m2: { hello, sealed: seal(keys.seal, lies.plain?.(plain) ?? plain, th1) },
  });
}

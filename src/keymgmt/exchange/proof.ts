/**
 * The sealed part of M2 and M3: who the sender is, shown three ways.
 *
 * The signature covers the transcript with both ephemeral shares, the hash of the credential and the
 * SPI: it is the sender's key that speaks, here and now, under this credential. The MAC covers the
 * same with the shared secret: who signed also knows the secret, so that nobody can put his name on
 * another's exchange (Krawczyk, SIGMA, CRYPTO 2003, section 5.1). The seal hides both from others.
 */
import { timingSafeEqual } from 'node:crypto';
import type { AbortOptions } from '@libp2p/interface';
import type { Credential } from '../../records/credential.ts';
import { ed25519Sign, ed25519Verify } from '../../records/ed25519.ts';
import type { Opened } from '../../records/envelope.ts';
import type { ExchangeContext } from './context.ts';
import { ExchangeError } from './errors.ts';
import { decode, MIN_SPI, proofCodec } from './messages.ts';
import { digest, hmac, joined, seal, unseal } from './primitives.ts';
import { proofKeys, type Role, wipe } from './schedule.ts';

const SIGNED = {
  initiator: new TextEncoder().encode('icvpn exchange 1 initiator signature'),
  responder: new TextEncoder().encode('icvpn exchange 1 responder signature'),
};

function spiBytes(spi: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, spi);
  return out;
}

/** What is signed. Its first byte is 0, with which nothing begins that a node key signs elsewhere. */
const statement = (role: Role, th: Uint8Array, credential: Uint8Array, spi: number): Uint8Array =>
  joined(SIGNED[role], th, digest(credential), spiBytes(spi));

/** @param th th1 for the responder's proof, th2 for the initiator's */
export function makeProof(
  context: ExchangeContext,
  role: Role,
  handshake: Uint8Array,
  th: Uint8Array,
  spi: number,
): Uint8Array {
  const { key, credential } = context.identity;
  const keys = proofKeys(handshake, role, th);
  const said = statement(role, th, credential, spi);
  const plain = proofCodec.encode({
    credential,
    spi,
    signature: ed25519Sign(key, said),
    mac: hmac(keys.mac, said),
  });
  const sealed = seal(keys.seal, plain, th);
  wipe(keys.seal, keys.mac, plain);
  return sealed;
}

/**
 * Opens and checks the proof of the other end, whose role is `role`.
 *
 * @throws ExchangeError with fault `seal`, `message`, `mac`, `signature`, `credential` or `spi`
 */
export async function checkProof(
  context: ExchangeContext,
  role: Role,
  handshake: Uint8Array,
  th: Uint8Array,
  sealed: Uint8Array,
  options?: AbortOptions,
): Promise<{ credential: Opened<Credential>; spi: number }> {
  const keys = proofKeys(handshake, role, th);
  try {
    const proof = decode(proofCodec, unseal(keys.seal, sealed, th));
    const said = statement(role, th, proof.credential, proof.spi);
    if (!timingSafeEqual(hmac(keys.mac, said), proof.mac)) {
      throw new ExchangeError('mac', `the ${role} does not know the shared secret`);
    }
    if (!ed25519Verify(context.peer.publicKey.raw, said, proof.signature)) {
      throw new ExchangeError('signature', `not signed by ${context.peer}`);
    }
    if (proof.spi < MIN_SPI) throw new ExchangeError('spi', `SPI ${proof.spi} is reserved`);
    return {
      credential: await checkCredential(context, proof.credential, options),
      spi: proof.spi,
    };
  } finally {
    wipe(keys.seal, keys.mac);
  }
}

async function checkCredential(
  context: ExchangeContext,
  envelope: Uint8Array,
  options?: AbortOptions,
): Promise<Opened<Credential>> {
  let opened: Opened<Credential>;
  try {
    opened = await context.verify(envelope, options);
  } catch (cause) {
    options?.signal?.throwIfAborted();
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new ExchangeError('credential', reason, { cause });
  }
  // Whatever the caller's check looked at: these three are what this exchange is between.
  const { peerId, serviceId, epoch } = opened.value;
  if (
    !peerId.equals(context.peer) ||
    !serviceId.equals(context.serviceId) ||
    epoch !== context.epoch
  ) {
    throw new ExchangeError('credential', `the credential is not ${context.peer}'s for this epoch`);
  }
  return opened;
}

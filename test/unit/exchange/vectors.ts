/**
 * Test vectors of the exchange. `node test/unit/exchange/vectors.ts` writes them anew.
 *
 * Every value is hexadecimal. Seeds are SHA-256 of the vector's name and the seed's, so that nobody
 * can suspect them of being chosen.
 */
import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { PathOffer } from '../../../src/keymgmt/exchange/path.ts';
import type { Lifetimes, Suite } from '../../../src/keymgmt/exchange/suite.ts';
import {
  contextOf,
  exchange,
  idOf,
  issue,
  PATH_A,
  PATH_B,
  type Service,
  SPI_A,
  SPI_B,
} from './fixture.ts';
import { type Seeds, seeded } from './seeded.ts';

export const VECTORS_FILE = new URL('../../vectors/exchange.json', import.meta.url);

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

interface Case {
  readonly name: string;
  readonly initiatorSuites: readonly Suite[];
  readonly responderSuites: readonly Suite[];
  readonly initiatorLifetimes: Lifetimes;
  readonly responderLifetimes: Lifetimes;
  readonly initiatorPath: PathOffer;
  readonly responderPath: PathOffer;
}

const HOUR: Lifetimes = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };
/** Behind a NAT, which shows it as 198.51.100.1. */
const NATTED: PathOffer = { ...PATH_A, addresses: ['10.0.0.2', 'fd00::2'] };
const SEES_NAT: PathOffer = { ...PATH_B, seen: '198.51.100.1', udpPort: 4501 };
const SHORT: Lifetimes = { seconds: 900, bytes: 2 ** 41, packets: 1000 };

const CASES: readonly Case[] = [
  {
    name: 'X25519',
    initiatorSuites: ['x25519'],
    responderSuites: ['x25519'],
    initiatorLifetimes: HOUR,
    responderLifetimes: HOUR,
    initiatorPath: PATH_A,
    responderPath: PATH_B,
  },
  {
    name: 'X25519 and ML-KEM-768, different lifetimes',
    initiatorSuites: ['x25519-mlkem768', 'x25519'],
    responderSuites: ['x25519-mlkem768', 'x25519'],
    initiatorLifetimes: HOUR,
    responderLifetimes: SHORT,
    initiatorPath: NATTED,
    responderPath: SEES_NAT,
  },
  {
    name: 'X25519 chosen where both were offered',
    initiatorSuites: ['x25519-mlkem768', 'x25519'],
    responderSuites: ['x25519'],
    initiatorLifetimes: SHORT,
    responderLifetimes: HOUR,
    initiatorPath: { ...PATH_A, seen: undefined, udpPort: undefined },
    responderPath: { ...PATH_B, policy: 'esp', udpPort: undefined, blocked: 1 },
  },
];

/** All vectors, made by running the exchange. */
export async function makeVectors() {
  return await Promise.all(CASES.map(makeVector));
}

async function makeVector(made: Case) {
  const seed = (what: string): Uint8Array =>
    createHash('sha256').update(`icvpn exchange vector ${made.name}: ${what}`).digest();
  const keyOf = (who: string) => generateKeyPairFromSeed('Ed25519', seed(`${who} key`));
  const service: Service = {
    owner: await keyOf('owner'),
    superPeer: await keyOf('super-peer'),
    psk: seed('psk'),
    epoch: 7,
  };
  const [a, b] = [await keyOf('initiator'), await keyOf('responder')];
  const seedsOf = (who: string): Seeds => ({
    nonce: seed(`${who} nonce`),
    x25519: seed(`${who} x25519`),
    mlkem768: Buffer.concat([seed(`${who} d`), seed(`${who} z`)]),
    encapsulation: seed(`${who} m`),
  });
  const [seedsA, seedsB] = [seedsOf('initiator'), seedsOf('responder')];
  const [credentialA, credentialB] = [await issue(service, a), await issue(service, b)];
  const run = await exchange(
    {
      ...contextOf(service, { key: a, credential: credentialA }, idOf(b), made.initiatorPath),
      suites: made.initiatorSuites,
      lifetimes: made.initiatorLifetimes,
      random: seeded(seedsA),
    },
    {
      ...contextOf(service, { key: b, credential: credentialB }, idOf(a), made.responderPath),
      suites: made.responderSuites,
      lifetimes: made.responderLifetimes,
      random: seeded(seedsB),
    },
  );
  const { initiator, messages } = run;
  const hybrid = made.initiatorSuites.includes('x25519-mlkem768');
  return {
    name: made.name,
    serviceId: hex(idOf(service.owner).toMultihash().bytes),
    epoch: service.epoch,
    psk: hex(service.psk),
    initiator: {
      privateKey: hex(a.raw.subarray(0, 32)),
      peerId: hex(idOf(a).toMultihash().bytes),
      credential: hex(credentialA),
      suites: made.initiatorSuites,
      lifetimes: made.initiatorLifetimes,
      path: made.initiatorPath,
      spi: SPI_A,
      nonce: hex(seedsA.nonce),
      x25519PrivateKey: hex(seedsA.x25519),
      ...(hybrid ? { mlkem768Seed: hex(seedsA.mlkem768) } : {}),
    },
    responder: {
      privateKey: hex(b.raw.subarray(0, 32)),
      peerId: hex(idOf(b).toMultihash().bytes),
      credential: hex(credentialB),
      suites: made.responderSuites,
      lifetimes: made.responderLifetimes,
      path: made.responderPath,
      spi: SPI_B,
      nonce: hex(seedsB.nonce),
      x25519PrivateKey: hex(seedsB.x25519),
      ...(initiator.suite === 'x25519-mlkem768'
        ? { mlkem768Randomness: hex(seedsB.encapsulation) }
        : {}),
    },
    suite: initiator.suite,
    lifetimes: initiator.lifetimes,
    path: initiator.path,
    m1: hex(messages.m1),
    m2: hex(messages.m2),
    m3: hex(messages.m3),
    m4: hex(messages.m4),
    transcriptHash: hex(initiator.transcriptHash),
    initiatorToResponder: {
      spi: initiator.outbound.spi,
      key: hex(initiator.outbound.key),
      salt: hex(initiator.outbound.salt),
    },
    responderToInitiator: {
      spi: initiator.inbound.spi,
      key: hex(initiator.inbound.key),
      salt: hex(initiator.inbound.salt),
    },
  };
}

export type Vector = Awaited<ReturnType<typeof makeVector>>;

if (import.meta.main) {
  await writeFile(VECTORS_FILE, `${JSON.stringify(await makeVectors(), null, 2)}\n`);
}

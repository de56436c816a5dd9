/** Two members of a service, their credentials and everything that an exchange between them needs. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { ExchangeContext, ExchangeKeys } from '../../../src/keymgmt/exchange/context.ts';
import { startExchange } from '../../../src/keymgmt/exchange/initiator.ts';
import type { PathOffer } from '../../../src/keymgmt/exchange/path.ts';
import { readM1, respond } from '../../../src/keymgmt/exchange/responder.ts';
import { ALL_SUITES, type Lifetimes } from '../../../src/keymgmt/exchange/suite.ts';
import { CREDENTIAL, type Credential, checkCredential } from '../../../src/records/credential.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import { planFor } from '../records/plan.ts';

export const NOW = 1_800_000_000;
export const LIFETIMES: Lifetimes = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };

/** Two ends that see each other as they are: A at 192.0.2.1, B at 192.0.2.2. */
export const PATH_A: PathOffer = {
  policy: 'auto',
  addresses: ['192.0.2.1'],
  seen: '192.0.2.2',
  udpPort: 4500,
  blocked: 0,
};
export const PATH_B: PathOffer = { ...PATH_A, addresses: ['192.0.2.2'], seen: '192.0.2.1' };

/** Of ends that know nothing of each other's addresses. */
const UNSEEN: PathOffer = { ...PATH_A, addresses: [], seen: undefined };

export function idOf(key: PrivateKey): Ed25519PeerId {
  const id = peerIdFromPrivateKey(key);
  assert.ok(id.type === 'Ed25519');
  return id;
}

export const newKey = (): Promise<PrivateKey> => generateKeyPair('Ed25519');

export interface Service {
  readonly owner: PrivateKey;
  readonly superPeer: PrivateKey;
  readonly psk: Uint8Array;
  readonly epoch: number;
}

export const newService = async (): Promise<Service> => ({
  owner: await newKey(),
  superPeer: await newKey(),
  psk: randomBytes(32),
  epoch: 3,
});

export const issue = (
  service: Service,
  member: PrivateKey,
  change: Partial<Credential> = {},
): Promise<Uint8Array> =>
  seal(
    CREDENTIAL,
    {
      serviceId: idOf(service.owner),
      peerId: idOf(member),
      vmid: 'i-0123',
      roles: ['web'],
      ipv6: ipv6Address(idOf(service.owner), idOf(member)),
      ipv4: '100.64.0.1',
      epoch: service.epoch,
      notBefore: NOW,
      notAfter: NOW + 3600,
      serial: new Uint8Array(16),
      admittedBy: idOf(service.superPeer),
      subnets: [],
      lease: undefined,
      vouched: undefined,
      ...change,
    },
    service.superPeer,
  );

/** The context of `local` for an exchange with `peer`. */
export function contextOf(
  service: Service,
  local: { key: PrivateKey; credential: Uint8Array },
  peer: Ed25519PeerId,
  path: PathOffer = UNSEEN,
): ExchangeContext {
  return {
    identity: local,
    serviceId: idOf(service.owner),
    epoch: service.epoch,
    psk: service.psk,
    peer,
    suites: ALL_SUITES,
    lifetimes: LIFETIMES,
    path,
    async verify(envelope, options) {
      const opened = await open(CREDENTIAL, envelope, options);
      checkCredential(opened, {
        serviceId: idOf(service.owner),
        bearer: peer,
        epoch: service.epoch,
        admitters: [idOf(service.superPeer)],
        addresses: planFor([idOf(service.superPeer)]),
        now: NOW + 1,
      });
      return opened;
    },
  };
}

export interface Pair {
  readonly service: Service;
  readonly a: ExchangeContext;
  readonly b: ExchangeContext;
}

/** A is the initiator. */
export async function newPair(): Promise<Pair> {
  const service = await newService();
  const [a, b] = [await newKey(), await newKey()];
  return {
    service,
    a: contextOf(service, { key: a, credential: await issue(service, a) }, idOf(b), PATH_A),
    b: contextOf(service, { key: b, credential: await issue(service, b) }, idOf(a), PATH_B),
  };
}

export const SPI_A = 0x0a0a0a0a;
export const SPI_B = 0xfb0b0b0b;

export type MessageName = 'm1' | 'm2' | 'm3' | 'm4';
export type Tamper = (name: MessageName, bytes: Uint8Array) => Uint8Array;

export interface Run {
  readonly messages: Record<MessageName, Uint8Array>;
  readonly initiator: ExchangeKeys;
  readonly responder: ExchangeKeys;
}

/** One whole run in memory; `tamper` sits between the ends. */
export async function exchange(
  a: ExchangeContext,
  b: ExchangeContext,
  tamper: Tamper = (_, bytes) => bytes,
): Promise<Run> {
  const start = startExchange(a, { inboundSpi: SPI_A });
  const m1 = tamper('m1', start.m1);
  const answer = respond(b, readM1(b, m1), { inboundSpi: SPI_B });
  const m2 = tamper('m2', answer.m2);
  const step = await start.next.onM2(m2);
  assert.ok(step.kind === 'm3');
  const m3 = tamper('m3', step.m3);
  const end = await answer.next.onM3(m3);
  const m4 = tamper('m4', end.m4);
  step.confirm(m4);
  return { messages: { m1, m2, m3, m4 }, initiator: step.keys, responder: end.keys };
}

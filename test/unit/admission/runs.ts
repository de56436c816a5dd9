/** Admissions and renewals in memory: both sessions, no network, SRP on this thread. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Admission } from '../../../src/admission/accept.ts';
import { ClientSession } from '../../../src/admission/client-session.ts';
import { Decoys } from '../../../src/admission/decoy.ts';
import { type Login, loginOf } from '../../../src/admission/login.ts';
import { RenewalSession, renew } from '../../../src/admission/renewal-session.ts';
import { type ServerContext, ServerSession } from '../../../src/admission/server-session.ts';
import { SrpEngine } from '../../../src/admission/srp/engine.ts';
import { SUITE_SRP_2048 } from '../../../src/admission/srp/group.ts';
import { dhModExp } from '../../../src/admission/srp/modexp.ts';
import type { Verdict } from '../../../src/admission/verdict.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { addressesIn, ipv4Text } from '../../../src/records/address-range.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import type { Identity, Service } from './world.ts';

const engine = new SrpEngine(SUITE_SRP_2048, dhModExp(SUITE_SRP_2048.group));

const random = (length: number): Uint8Array => randomBytes(length);

export function contextOf(
  superPeer: Identity,
  services: readonly Service[],
  change: Partial<ServerContext> = {},
): ServerContext {
  return {
    ...{ key: superPeer.key, self: superPeer.id, decoys: new Decoys(superPeer.key) },
    services: (id) => services.find(({ owner }) => owner.id.toString() === id)?.served,
    ...{
      tickets: undefined,
      barred: () => false,
      ticketRevoked: () => false,
      revoked: () => false,
      isStranded: () => false,
      allowedSubnets: () => [],
      random,
      clock: Date.now,
    },
    leaseIpv4: async ({ descriptor }, _peer, held) =>
      held ?? firstOf(descriptor.value, superPeer.id),
    srp: {
      start: async ({ verifier, b }) => engine.serverPublic(verifier, b),
      finish: async ({ login, A, M1, ...own }) => engine.serverSession(login, own, A, M1),
    },
    ...change,
  };
}

/** The first address of a super-peer's range. */
function firstOf({ ipv4Prefix, admitters }: ServiceDescriptor, superPeer: Ed25519PeerId) {
  const own = admitters.find(({ peerId }) => peerId.equals(superPeer));
  assert.ok(own);
  return { ipv4: ipv4Text(addressesIn(ipv4Prefix, own.range).from), since: 1000 };
}

interface Attempt {
  readonly vm: Identity;
  readonly serviceId: Ed25519PeerId;
  readonly secret: string | Login;
  readonly vmid?: string;
  readonly roles?: string[];
  /** The super-peer that a ticket is for, if not the one that is asked. */
  readonly ticketFor?: Ed25519PeerId;
  /** Who the super-peer takes the VM for, if not for itself. */
  readonly subnets?: string[];
  readonly seenAs?: Ed25519PeerId;
  /** Whom the VM takes the super-peer for, if not for itself. */
  readonly believes?: Ed25519PeerId;
}

export async function attemptAdmission(context: ServerContext, attempt: Attempt) {
  const { vm, serviceId, secret, vmid = 'i-1', roles = [] } = attempt;
  const superPeer = attempt.believes ?? context.self;
  const at = attempt.ticketFor ?? context.self;
  const { clock } = context;
  const client = new ClientSession({
    ...{ self: vm.id, superPeer, serviceId, vmid, random, clock },
    login:
      typeof secret === 'string' ? await loginOf(secret, { serviceId, superPeer: at }) : secret,
    request: { vmid, roles, multiaddrs: [], subnets: attempt.subnets ?? [] },
  });
  const server = new ServerSession(context, {
    peerId: attempt.seenAs ?? vm.id,
    address: '192.0.2.9',
  });
  const answer = await server.hello(client.hello());
  assert.ok('challenge' in answer && answer.challenge);
  const verdict = await server.proof(await client.challenge(answer.challenge));
  return { verdict, client };
}

/** Runs an admission that must succeed. */
export async function admission(context: ServerContext, attempt: Attempt): Promise<Admission> {
  const { verdict, client } = await attemptAdmission(context, attempt);
  assert.equal(verdict.outcome, 'admitted', why(verdict));
  assert.ok(verdict.reply.grant);
  return client.grant(verdict.reply.grant);
}

export async function attemptRenewal(
  context: ServerContext,
  attempt: {
    vm: Identity;
    serviceId: Ed25519PeerId;
    seenAs?: Ed25519PeerId;
    last: Admission;
    subnets?: string[];
  },
) {
  const { vm, serviceId, last } = attempt;
  const { credential, renewalKey: state } = last;
  const { vmid } = credential.value;
  const { self: superPeer, clock } = context;
  const request = {
    multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.9/tcp/1')],
    subnets: attempt.subnets ?? [],
  };
  const client = new RenewalSession(
    { self: vm.id, superPeer, serviceId, vmid, clock },
    { credential, state, request, nonce: randomBytes(32) },
  );
  const remote = { peerId: attempt.seenAs ?? vm.id, address: '192.0.2.9' };
  return { client, verdict: await renew(context, remote, client.opening()) };
}

/** Runs a renewal that must succeed. */
export async function renewal(
  context: ServerContext,
  attempt: { vm: Identity; serviceId: Ed25519PeerId; last: Admission; subnets?: string[] },
): Promise<Admission> {
  const { client, verdict } = await attemptRenewal(context, attempt);
  assert.equal(verdict.outcome, 'renewed', why(verdict));
  assert.ok(verdict.reply.renewal);
  return client.renewal(verdict.reply.renewal);
}

/** @returns the cause of a refusal; fails for anything else */
export function why(verdict: Verdict): string {
  return verdict.outcome === 'refused' ? verdict.cause : verdict.outcome;
}

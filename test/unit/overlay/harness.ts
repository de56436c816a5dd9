/**
 * Whole nodes on libp2p over loopback, wired as the daemon wires them, with the parts of admission
 * that tests need: who may admit is a list, a credential is signed on demand.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey, PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { Multiaddr } from '@multiformats/multiaddr';
import { dialled } from '../../../src/codec/multiaddr.ts';
import { everybodyIn, superPeersOf } from '../../../src/overlay/audience.ts';
import { Dht } from '../../../src/overlay/dht.ts';
import { type DirectorySeal, PLAIN } from '../../../src/overlay/directory.ts';
import { DirectoryClient } from '../../../src/overlay/directory-client.ts';
import { DirectoryServer } from '../../../src/overlay/directory-server.ts';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import { createHost, type Host } from '../../../src/overlay/host.ts';
import { Membership } from '../../../src/overlay/membership.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { Spread } from '../../../src/overlay/spread.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  MEMBERSHIP_RECORD,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import { CREDENTIAL, type Credential } from '../../../src/records/credential.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../../src/records/envelope.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import { planFor } from '../records/plan.ts';

export interface Identity {
  readonly key: Ed25519PrivateKey;
  readonly id: Ed25519PeerId;
}

export async function identity(): Promise<Identity> {
  const key = await generateKeyPair('Ed25519');
  return { key, id: peerIdFromPrivateKey(key) };
}

export async function identities(count: number): Promise<Identity[]> {
  return Promise.all(Array.from({ length: count }, identity));
}

/** One of a list that is known to be long enough. */
export function nth<T>(list: readonly T[], index: number): T {
  const item = list[index];
  assert.ok(item !== undefined, `no item ${index}`);
  return item;
}

/** Closes in reverse order what a test opened. */
export class Cleanup {
  #tasks: (() => unknown)[] = [];

  add<T extends { close(): unknown }>(resource: T): T {
    this.#tasks.push(() => resource.close());
    return resource;
  }

  async run(): Promise<void> {
    for (const task of this.#tasks.splice(0).reverse()) await task();
  }
}

/** What a node trusts of a service in its first epoch with these super-peers, which give any address. */
export function trustIn(admitters: readonly Ed25519PeerId[]): Trust {
  return { epoch: 1, admitters, addresses: planFor(admitters) };
}

const seconds = (): number => Math.floor(Date.now() / 1000);

/** Signs a credential as a super-peer would. */
export async function credentialFor(
  service: Ed25519PeerId,
  signer: Ed25519PrivateKey,
  member: Ed25519PeerId,
  change: Partial<Credential> = {},
): Promise<Opened<Credential>> {
  const value: Credential = {
    serviceId: service,
    peerId: member,
    vmid: `vm-${member.toString().slice(-6)}`,
    roles: ['web'],
    ipv6: ipv6Address(service, member),
    ipv4: '100.64.0.1',
    epoch: 1,
    notBefore: seconds(),
    notAfter: seconds() + 3600,
    serial: randomBytes(16),
    admittedBy: peerIdFromPrivateKey(signer),
    subnets: [],
    lease: undefined,
    vouched: undefined,
    ...change,
  };
  return open(CREDENTIAL, await seal(CREDENTIAL, value, signer));
}

/** A credential of which only the bytes matter. */
export function bytesOnly(member: Ed25519PeerId, bytes: Uint8Array): Opened<Credential> {
  const ids = { serviceId: member, peerId: member, admittedBy: member };
  const addresses = { ipv4: '100.64.0.1', ipv6: 'fd00::1', lease: undefined, subnets: [] };
  const times = { epoch: 1, notBefore: 0, notAfter: 0, serial: new Uint8Array(16) };
  return {
    signer: member,
    value: { ...ids, ...addresses, ...times, vmid: 'vm', roles: [], vouched: undefined },
    bytes,
  };
}

export function descriptorOf(
  service: Ed25519PeerId,
  admitters: readonly Host[],
  change: Partial<ServiceDescriptor> = {},
): ServiceDescriptor {
  return {
    serviceId: service,
    name: 'shop',
    sequence: 1,
    epoch: 1,
    ipv4Prefix: { network: '100.64.0.0', length: 16 },
    credentialLifetime: 3600,
    attributePublicKey: undefined,
    epochId: undefined,
    retired: [],
    admitters: admitters.map((host, i) => ({
      peerId: host.peerId,
      multiaddrs: host.multiaddrs(),
      range: { first: i * 16, count: 16 },
      sealedSecrets: new Uint8Array(),
    })),
    ...change,
  };
}

export const LOOPBACK = ['/ip4/127.0.0.1/tcp/0'];

export function addresses(host: Host): Multiaddr[] {
  return host.multiaddrs().map((each) => dialled(each, host.peerId));
}

/** The gate of a member that `admitter` let in, open. */
export async function memberGate(
  host: Host,
  service: Ed25519PeerId,
  admitter: Identity,
): Promise<{ gate: Gate; credential: Opened<Credential> }> {
  const credential = await credentialFor(service, admitter.key, host.peerId);
  const gate = new Gate(host, {
    overlayId: service,
    credential: () => credential.bytes,
    trust: () => trustIn([admitter.id]),
  });
  await gate.start();
  return { gate, credential };
}

/** A gate with a kad-dht and records behind it. */
export class Tier {
  readonly gate: Gate;
  readonly store: RecordStore;
  readonly dht: Dht;
  readonly records: Records;

  constructor(
    host: Host,
    overlayId: Ed25519PeerId,
    credential: () => Uint8Array | undefined,
    trust: () => Trust,
  ) {
    this.gate = new Gate(host, { overlayId, credential, trust });
    this.store = new RecordStore({ kinds: [...SPREAD_KINDS, MEMBERSHIP_RECORD, ENDPOINT_RECORD] });
    this.dht = new Dht(this.gate, this.store);
    this.records = new Records({ store: this.store, network: this.dht });
  }

  async start(): Promise<void> {
    await this.gate.start();
    await this.dht.start();
  }

  async close(): Promise<void> {
    await this.records.close();
    await this.dht.close();
    await this.gate.close();
  }
}

/** A super-peer of one service: its part of tier 1, and the service's directory. */
export class SuperPeer {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  readonly tier1: Tier;
  readonly gate: Gate;
  readonly membership: Membership;
  readonly directory: DirectoryServer;
  readonly #spreads: Spread[];

  constructor(
    host: Host,
    key: Ed25519PrivateKey,
    overlayId: Ed25519PeerId,
    overlayTrust: () => Trust,
    serviceId: Ed25519PeerId,
    trust: () => Trust,
  ) {
    this.host = host;
    this.key = key;
    this.tier1 = new Tier(host, overlayId, () => undefined, overlayTrust);
    this.gate = new Gate(host, { overlayId: serviceId, credential: () => undefined, trust });
    const { records } = this.tier1;
    this.membership = new Membership({ records, serviceId, superPeer: host.peerId, key, trust });
    this.directory = new DirectoryServer({
      gate: this.gate,
      membership: this.membership,
      key,
      trust,
    });
    const { store } = this.tier1;
    const superPeers = (service: Ed25519PeerId) =>
      (records.latest(DESCRIPTOR_RECORD, service)?.value.admitters ?? [])
        .filter(({ peerId }) => !peerId.equals(host.peerId))
        .map(({ peerId, multiaddrs }) => ({
          peerId,
          target: multiaddrs.map((each) => dialled(each, peerId)),
        }));
    this.#spreads = [
      new Spread({
        gate: this.tier1.gate,
        store,
        kinds: [...SPREAD_KINDS, MEMBERSHIP_RECORD],
        audience: superPeersOf(host.peerId, superPeers),
      }),
      new Spread({
        gate: this.gate,
        store,
        kinds: SPREAD_KINDS,
        audience: everybodyIn(this.gate, {
          heeds: (issuer) =>
            [serviceId, ...trust().admitters].some((each) => each.toString() === issuer),
        }),
      }),
    ];
  }

  async start(): Promise<void> {
    await this.tier1.start();
    await this.gate.start();
    await this.directory.start();
    for (const spread of this.#spreads) await spread.start();
  }

  async close(): Promise<void> {
    for (const spread of this.#spreads) await spread.close();
    await this.directory.close();
    await this.membership.close({ signal: AbortSignal.abort() });
    await this.gate.close();
    await this.tier1.close();
    await this.host.close();
  }
}

/** A member: its part of tier 2, and the directory's other end. */
export class MemberNode {
  readonly host: Host;
  readonly key: PrivateKey;
  readonly tier2: Tier;
  readonly directory: DirectoryClient;
  readonly spread: Spread;
  credential: Opened<Credential>;

  constructor(
    host: Host,
    key: PrivateKey,
    serviceId: Ed25519PeerId,
    credential: Opened<Credential>,
    trust: () => Trust,
    superPeers: () => Multiaddr[][],
    seal: Pick<DirectorySeal, 'open'> = PLAIN,
  ) {
    this.host = host;
    this.key = key;
    this.credential = credential;
    this.tier2 = new Tier(host, serviceId, () => this.credential.bytes, trust);
    this.directory = new DirectoryClient({
      gate: this.tier2.gate,
      superPeers,
      multiaddrs: () => host.multiaddrs(),
      trust,
      seal,
    });
    const { gate, store } = this.tier2;
    this.spread = new Spread({
      gate,
      store,
      kinds: SPREAD_KINDS,
      audience: everybodyIn(gate, { fanout: 8 }),
    });
  }

  async start(): Promise<void> {
    await this.tier2.start();
    await this.spread.start();
  }

  async close(): Promise<void> {
    await this.spread.close();
    await this.directory.close();
    await this.tier2.close();
    await this.host.close();
  }
}

export async function listen(key: PrivateKey): Promise<Host> {
  return createHost({ key, listen: LOOPBACK });
}

/** Waits for a condition that some event of `emitter` makes true. */
export async function until(
  emitter: {
    on(name: string, listener: () => void): unknown;
    off(name: string, listener: () => void): unknown;
  },
  name: string,
  holds: () => boolean,
  limit = 30_000,
): Promise<void> {
  if (holds()) return;
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onEvent = (): void => {
    if (holds()) resolve();
  };
  const timer = setTimeout(() => reject(new Error(`never: ${holds}`)), limit);
  emitter.on(name, onEvent);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    emitter.off(name, onEvent);
  }
}

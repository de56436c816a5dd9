/**
 * One service at one super-peer: its door (secrets for admission), its gate, its member list, and
 * the attribute authority that seals it.
 *
 * ```
 * publish or tier 1 ─▶ descriptor ─▶ secrets unsealed ─▶ admission ─▶ membership shard ─▶ tier 1
 *                                                                           │
 *                                      members attached ◀── directory ◀─────┘ shards of all
 *                                                       ◀── spread: descriptor, policy, revocations
 * ```
 */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import type { AddressClaim } from '../admission/lease-table.ts';
import { type AdmissionSecrets, openSealedSecrets } from '../admission/sealed.ts';
import type { Applicant, ServedService as Door } from '../admission/server.ts';
import type { AdmissionStore } from '../admission/store.ts';
import type { Prefix } from '../codec/ip.ts';
import { everybodyIn } from '../overlay/audience.ts';
import { DirectoryServer } from '../overlay/directory-server.ts';
import { Gate, type Trust } from '../overlay/gate.ts';
import { Membership } from '../overlay/membership.ts';
import { Refusals } from '../overlay/refusals.ts';
import { seenFirst } from '../overlay/seen-address.ts';
import { ServiceTrust } from '../overlay/service-trust.ts';
import { Spread } from '../overlay/spread.ts';
import { SPREAD_KINDS } from '../overlay/stored-kinds.ts';
import { allowedSubnets } from '../policy/evaluate.ts';
import type { Credential } from '../records/credential.ts';
import { admitterOf, type ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { Ipv4Pool, ipv6Prefix } from '../records/virtual-address.ts';
import { AddressLeases } from './address-leases.ts';
import { authorityKeys, DiscoveryServer } from './discovery-server.ts';
import type { DuplicateDesk } from './duplicate-desk.ts';
import type { Log } from './log.ts';
import type { Tier } from './tier.ts';

/** For tier 1 to tell what it knows of a service, before this super-peer admits to it all the same. */
const CATCH_UP_LIMIT_MS = 5_000;

export interface ServedServiceOptions {
  /** Tier 1. */
  readonly tier: Tier;
  readonly key: Ed25519PrivateKey;
  readonly peerId: Ed25519PeerId;
  readonly sealingPrivateKey: Uint8Array;
  readonly store: AdmissionStore;
  readonly duplicates: DuplicateDesk;
  readonly log: Log;
}

/** What the newest descriptor gave this super-peer. */
interface Terms {
  readonly secrets: AdmissionSecrets;
  readonly pool: Ipv4Pool;
}

export class ServedService implements AsyncDisposable {
  readonly #options: ServedServiceOptions;
  readonly trust: ServiceTrust;
  readonly membership: Membership;
  #terms: Terms;
  #terming: Promise<void> = Promise.resolve();
  /** Why the newest descriptor could not be followed. */
  #termsFailure: unknown;
  readonly #discovery: DiscoveryServer;
  readonly #leases: AddressLeases;
  readonly #owned = new AsyncDisposableStack();

  private constructor(options: ServedServiceOptions, trust: ServiceTrust, terms: Terms) {
    const { tier, key, peerId } = options;
    this.#options = options;
    this.trust = trust;
    this.#terms = terms;
    const { serviceId } = trust;
    this.#discovery = this.#owned.use(new DiscoveryServer({ ...options, serviceId }));
    this.membership = new Membership({
      ...{ records: tier.records, key, superPeer: peerId, trust: () => this.trust.trust() },
      ...{ serviceId, seal: this.#discovery.shards },
    });
    this.#owned.defer(() => trust.close());
    this.#owned.defer(() => this.membership.close());
    this.#leases = this.#owned.use(
      new AddressLeases({
        ...{ superPeer: peerId, table: options.store.leases, membership: this.membership, trust },
        ...{ pool: () => this.#terms.pool, gate: tier.gate, log: options.log },
      }),
    );
    trust.on('change', () => {
      this.#noteStranded();
      this.membership.recheck();
      this.#terming = this.#terming.then(() => this.#follow());
    });
  }

  /** @returns undefined when the descriptor does not let this super-peer admit */
  static async start(
    options: ServedServiceOptions,
    descriptor: Opened<ServiceDescriptor>,
  ): Promise<ServedService | undefined> {
    const terms = await termsOf(options, descriptor);
    if (terms === undefined) return undefined;
    const trust = new ServiceTrust(options.tier.records, descriptor);
    const service = new ServedService(options, trust, terms);
    try {
      await service.#open();
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
    return service;
  }

  async #open(): Promise<void> {
    const { membership } = this;
    const { key, tier } = this.#options;
    const trust = (): Trust => this.trust.trust();
    // Before anything is awaited: shards that arrive meanwhile are sealed.
    this.#offer(this.descriptor, this.#terms);
    // The overlay is a service too, and its gate is that of tier 1.
    const gate = tier.gate.overlayId.equals(membership.serviceId)
      ? tier.gate
      : await this.#ownGate(trust);
    if (gate !== tier.gate) await this.#catchUp();
    const { seal } = this.#discovery;
    await this.#discovery.serve(gate);
    this.#owned.defer(() => this.#discovery.unserve(gate));
    const directory = new DirectoryServer({
      ...{ gate, membership, key, trust, seal },
      onDuplicate: (each) => this.#options.duplicates.note(membership.serviceId, each),
      virtual: this.#virtual,
    });
    await directory.start();
    this.#owned.defer(() => directory.close());
  }

  /** Whoever was thrown out is let in nowhere, also not where the service is new: it asks before it admits. */
  async #catchUp(): Promise<void> {
    const signal = AbortSignal.timeout(CATCH_UP_LIMIT_MS);
    await this.trust.refresh({ signal }).catch((error) => {
      this.#options.log('refresh-failed', { why: String(error) });
    });
  }

  async #ownGate(trust: () => Trust): Promise<Gate> {
    const { tier, log } = this.#options;
    const overlayId = this.membership.serviceId;
    const gate = new Gate(tier.gate.host, {
      ...{ overlayId, credential: () => undefined, trust },
      descriptor: () => this.descriptor.bytes,
    });
    this.#owned.use(new Refusals({ gate, store: tier.store, trust: this.trust, log }));
    await gate.start();
    this.#owned.defer(() => gate.close());
    this.trust.on('change', () => gate.recheck());
    // The store is that of tier 1, which cannot tell for each service.
    const audience = everybodyIn(gate, { heeds: (issuer) => this.trust.heeds(issuer) });
    const spread = new Spread({ gate, store: tier.store, kinds: SPREAD_KINDS, audience });
    await spread.start();
    this.#owned.defer(() => spread.close());
    return gate;
  }

  get descriptor(): Opened<ServiceDescriptor> {
    return this.trust.descriptor;
  }

  /** What the admission server needs to admit to this service. */
  get door(): Door {
    return { descriptor: this.descriptor, secrets: this.#terms.secrets };
  }

  /** @param held the address in the credential that is being renewed. @throws Ipv4PoolError */
  leaseIpv4(peer: Ed25519PeerId, held: AddressClaim | undefined): Promise<AddressClaim> {
    return this.#leases.lease(peer, held);
  }

  /** CIDRs of which a member may announce all or parts: what the owner's newest policy says. */
  allowedSubnets(member: Pick<Credential, 'peerId' | 'vmid' | 'roles' | 'vouched'>): string[] {
    return allowedSubnets(this.trust.policy?.document, {
      ...member,
      peerId: member.peerId.toString(),
    });
  }

  /** Whether it was signed by a super-peer that is named no more, while that was named. */
  isStranded({ value }: Opened<Credential>): boolean {
    return this.#options.store.isStranded(value.serviceId.toString(), value.serial);
  }

  /**
   * Notes members whose credentials end with the place of the super-peer that signed them: they may renew here.
   * What it signs afterwards, with whatever date, is not among them.
   */
  #noteStranded(): void {
    const { admitters } = this.trust.trust();
    const named = new Set(admitters.map(String));
    const stranded = this.membership
      .members()
      .filter(({ credential }) => !named.has(credential.signer.toString()))
      .map(({ credential: { value } }) => value);
    if (stranded.length > 0) this.#options.store.strand(stranded);
  }

  /** Prefixes of the service's virtual addresses. */
  get #virtual(): Prefix[] {
    const { serviceId, ipv4Prefix } = this.descriptor.value;
    return [ipv6Prefix(serviceId), ipv4Prefix];
  }

  admitted(applicant: Applicant, credential: Opened<Credential>): void {
    const { multiaddrs, remoteAddress } = applicant;
    this.membership.add(
      credential,
      seenFirst(multiaddrs, remoteAddress || undefined, this.#virtual),
    );
  }

  /** Takes what a newer descriptor has for this super-peer. Struck off, it keeps the old, which admits nobody. */
  async #follow(): Promise<void> {
    try {
      const { descriptor } = this;
      const terms = await termsOf(this.#options, descriptor);
      if (terms === undefined) return;
      this.#terms = terms;
      this.#termsFailure = undefined;
      this.#offer(descriptor, terms);
    } catch (error) {
      this.#termsFailure = error;
      this.#options.log('descriptor-failed', { why: String(error) });
    }
  }

  /** Hands the attribute authority to the thread where it lives from then on. */
  #offer({ value }: Opened<ServiceDescriptor>, { secrets }: Terms): void {
    const { attributeMasterKey } = secrets;
    const keys = authorityKeys(value.attributePublicKey, attributeMasterKey);
    if (this.#discovery.follow(value.epoch, keys)) this.membership.reseal();
    attributeMasterKey?.fill(0);
  }

  /** Resolves when the newest descriptor is in force here. @throws what keeps it from that */
  async settled(): Promise<void> {
    await this.#terming;
    if (this.#termsFailure !== undefined) throw this.#termsFailure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
    await this.#terming;
  }
}

async function termsOf(
  { peerId, sealingPrivateKey }: ServedServiceOptions,
  descriptor: Opened<ServiceDescriptor>,
): Promise<Terms | undefined> {
  const { serviceId, ipv4Prefix } = descriptor.value;
  const me = admitterOf(descriptor.value, peerId);
  if (me === undefined) return undefined;
  const secrets = await openSealedSecrets(me.sealedSecrets, {
    ...{ serviceId, superPeer: peerId, sealingPrivateKey },
  });
  return { secrets, pool: new Ipv4Pool(ipv4Prefix, me.range) };
}

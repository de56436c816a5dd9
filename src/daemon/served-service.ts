/**
 * One service at one super-peer: its door (secrets for admission), its gate, its member list.
 *
 * ```
 * publish or tier 1 ─▶ descriptor ─▶ secrets unsealed ─▶ admission ─▶ membership shard ─▶ tier 1
 *                                                                           │
 *                                      members attached ◀── directory ◀─────┘ shards of all
 * ```
 */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { type AdmissionSecrets, openSealedSecrets } from '../admission/sealed.ts';
import type { Applicant, ServedService as Door } from '../admission/server.ts';
import { DirectoryServer } from '../overlay/directory-server.ts';
import { Gate, type Trust } from '../overlay/gate.ts';
import type { Host } from '../overlay/host.ts';
import { Membership } from '../overlay/membership.ts';
import type { Records } from '../overlay/records.ts';
import type { Credential } from '../records/credential.ts';
import { admitterOf, type ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import { Ipv4Pool } from '../records/virtual-address.ts';
import { trustOf } from './tier.ts';

export interface ServedServiceOptions {
  readonly host: Host;
  readonly records: Records;
  readonly key: Ed25519PrivateKey;
  readonly peerId: Ed25519PeerId;
  readonly sealingPrivateKey: Uint8Array;
  /** The gate of tier 1, which is also that of the overlay as a service. */
  readonly tierGate: Gate;
}

/** What the newest descriptor says, opened. */
interface Terms {
  readonly descriptor: Opened<ServiceDescriptor>;
  readonly secrets: AdmissionSecrets;
  readonly pool: Ipv4Pool;
}

export class ServedService implements AsyncDisposable {
  readonly #options: ServedServiceOptions;
  #terms: Terms;
  readonly #owned = new AsyncDisposableStack();
  readonly membership: Membership;

  private constructor(options: ServedServiceOptions, terms: Terms) {
    this.#options = options;
    this.#terms = terms;
    const { records, key, peerId } = options;
    this.membership = new Membership({
      ...{ records, key, superPeer: peerId, trust: () => this.#trust() },
      serviceId: terms.descriptor.value.serviceId,
    });
    this.#owned.defer(() => this.membership.close());
  }

  /** @returns undefined when the descriptor does not let this super-peer admit */
  static async start(
    options: ServedServiceOptions,
    descriptor: Opened<ServiceDescriptor>,
  ): Promise<ServedService | undefined> {
    const terms = await termsOf(options, descriptor);
    if (terms === undefined) return undefined;
    const service = new ServedService(options, terms);
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
    const { key, tierGate } = this.#options;
    const trust = (): Trust => this.#trust();
    const ownsTier = tierGate.overlayId.equals(membership.serviceId);
    const gate = ownsTier ? tierGate : await this.#ownGate(trust);
    const directory = new DirectoryServer({ gate, membership, key, trust });
    await directory.start();
    this.#owned.defer(() => directory.close());
    void membership.refresh().catch(() => {}); // what arrives by itself is enough in the long run
  }

  async #ownGate(trust: () => Trust): Promise<Gate> {
    const overlayId = this.membership.serviceId;
    const gate = new Gate(this.#options.host, { overlayId, credential: () => undefined, trust });
    await gate.start();
    this.#owned.defer(() => gate.close());
    return gate;
  }

  get descriptor(): Opened<ServiceDescriptor> {
    return this.#terms.descriptor;
  }

  /** What the admission server needs to admit to this service. */
  get door(): Door {
    return this.#terms;
  }

  /** Takes a newer descriptor of the same service; an older or equal one changes nothing. */
  async update(descriptor: Opened<ServiceDescriptor>): Promise<void> {
    if (descriptor.value.sequence <= this.descriptor.value.sequence) return;
    this.#terms = (await termsOf(this.#options, descriptor)) ?? { ...this.#terms, descriptor };
  }

  #trust(): Trust {
    return trustOf(this.descriptor.value);
  }

  assignIpv4(member: Ed25519PeerId): string {
    const held = new Map(
      this.membership.members().map((each) => [each.ipv4, each.peerId.toString()]),
    );
    const taken = (address: string): boolean => {
      const holder = held.get(address);
      return holder !== undefined && holder !== member.toString();
    };
    return this.#terms.pool.assign(this.membership.serviceId, member, taken);
  }

  async admitted(applicant: Applicant, credential: Opened<Credential>): Promise<void> {
    await this.membership.add(credential, applicant.multiaddrs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
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
  return { descriptor, secrets, pool: new Ipv4Pool(ipv4Prefix, me.slot) };
}

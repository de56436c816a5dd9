/**
 * What a node knows of one service that decides whom it trusts: the newest descriptor, policy and
 * revocation lists, kept up to date from the records that arrive.
 *
 * Whoever owns a gate or a membership view calls their `recheck()` at each 'change'.
 */
import { EventEmitter } from 'node:events';
import type { AbortOptions, Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { type PolicyDocument, parsePolicy } from '../policy/document.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { PolicyRecord } from '../records/policy-record.ts';
import { type RevocationList, Revocations } from '../records/revocation.ts';
import type { Trust } from './gate.ts';
import type { Records } from './records.ts';
import { DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD } from './stored-kinds.ts';

/** Seconds from when this node learns of a new epoch during which credentials of the old one hold. */
const EPOCH_GRACE = 300;

/** The policy in force. */
export interface ServicePolicy {
  readonly sequence: number;
  readonly document: PolicyDocument;
}

interface ServiceTrustEvents {
  change: [];
  policy: [ServicePolicy];
}

export class ServiceTrust extends EventEmitter<ServiceTrustEvents> {
  readonly serviceId: Ed25519PeerId;
  readonly #records: Records;
  readonly #unwatch: (() => void)[];
  readonly #lists = new Map<string, RevocationList>();
  #descriptor: Opened<ServiceDescriptor>;
  #previousEpochUntil: number | undefined;
  #policy: ServicePolicy | undefined;
  #revocations: Revocations;
  #trust: Trust;

  /** @param descriptor the newest one known so far, from the bootstrap data or from admission */
  constructor(records: Records, descriptor: Opened<ServiceDescriptor>) {
    super();
    this.serviceId = descriptor.value.serviceId;
    this.#records = records;
    this.#descriptor = descriptor;
    this.#revocations = new Revocations(this.serviceId, []);
    this.#trust = this.#combine();
    this.#unwatch = [
      records.watch(DESCRIPTOR_RECORD, (opened) => this.#takeDescriptor(opened)),
      records.watch(POLICY_RECORD, (opened) => this.#takePolicy(opened)),
      records.watch(REVOCATION_RECORD, ({ value }) => this.#takeRevocations(value)),
    ];
    this.#readHeld();
  }

  close(): void {
    for (const stop of this.#unwatch) stop();
    this.removeAllListeners();
  }

  trust(): Trust {
    return this.#trust;
  }

  get descriptor(): Opened<ServiceDescriptor> {
    return this.#descriptor;
  }

  /** The newest policy; undefined while the owner has published none that this node knows. */
  get policy(): ServicePolicy | undefined {
    return this.#policy;
  }

  /**
   * Whether a revocation list of this issuer counts: the owner's, one of a super-peer that the descriptor names, or
   * that it named when the list came.
   *
   * @param issuer its PeerID as text
   */
  heeds(issuer: string): boolean {
    return this.#lists.has(issuer) || this.#issuers.some((each) => each.toString() === issuer);
  }

  /** Whether `node` was thrown out and must not be admitted again. */
  barred(node: Ed25519PeerId): boolean {
    return this.#revocations.barred(node);
  }

  /** Whether the owner took a ticket back, so that it admits nobody any more. */
  ticketRevoked(id: Uint8Array): boolean {
    return this.#revocations.ticketRevoked(id);
  }

  /** Asks the overlay for newer versions of everything, all at once. */
  async refresh(options: AbortOptions = {}): Promise<void> {
    const records = this.#records;
    const { serviceId } = this;
    await Promise.all([
      records.get(DESCRIPTOR_RECORD, [serviceId], options),
      records.get(POLICY_RECORD, [serviceId], options),
      ...this.#issuers.map((issuer) =>
        records.get(REVOCATION_RECORD, [serviceId, issuer], options),
      ),
    ]);
  }

  #readHeld(): void {
    const { serviceId } = this;
    const descriptor = this.#records.latest(DESCRIPTOR_RECORD, serviceId);
    if (descriptor) this.#takeDescriptor(descriptor);
    const policy = this.#records.latest(POLICY_RECORD, serviceId);
    if (policy) this.#takePolicy(policy);
    this.#readHeldLists();
  }

  /** The owner, and the super-peers that the descriptor names. */
  get #issuers(): readonly Ed25519PeerId[] {
    return [this.serviceId, ...this.#trust.admitters];
  }

  #readHeldLists(): void {
    for (const issuer of this.#issuers) {
      const list = this.#records.latest(REVOCATION_RECORD, this.serviceId, issuer);
      if (list) this.#takeRevocations(list.value);
    }
  }

  #takeDescriptor(opened: Opened<ServiceDescriptor>): void {
    if (!opened.value.serviceId.equals(this.serviceId)) return;
    const { sequence } = this.#descriptor.value;
    if (opened.value.sequence < sequence) return;
    // Of two with one sequence the store keeps the same one everywhere, whichever came first.
    if (opened.value.sequence === sequence && equals(opened.bytes, this.#descriptor.bytes)) return;
    if (opened.value.epoch > this.#descriptor.value.epoch) {
      this.#previousEpochUntil = Date.now() / 1000 + EPOCH_GRACE;
    }
    this.#descriptor = opened;
    this.#changed();
    this.#readHeldLists(); // of super-peers that it names first
  }

  #takePolicy({ value }: Opened<PolicyRecord>): void {
    const { serviceId, sequence, document } = value;
    if (!serviceId.equals(this.serviceId)) return;
    if (sequence < (this.#policy?.sequence ?? 0)) return;
    this.#policy = { sequence, document: parsePolicy(document) };
    this.emit('policy', this.#policy);
  }

  #takeRevocations(list: RevocationList): void {
    if (!list.serviceId.equals(this.serviceId) || !this.heeds(list.issuer.toString())) return;
    if (this.#lists.get(list.issuer.toString()) === list) return;
    // Lists of super-peers that were struck off stay: what they revoked stays revoked.
    this.#lists.set(list.issuer.toString(), list);
    this.#revocations = new Revocations(this.serviceId, this.#lists.values());
    this.#changed();
  }

  #changed(): void {
    this.#trust = this.#combine();
    this.emit('change');
  }

  #combine(): Trust {
    const { epoch, admitters } = this.#descriptor.value;
    const revocations = this.#revocations;
    return {
      epoch,
      previousEpochUntil: this.#previousEpochUntil,
      admitters: admitters.map(({ peerId }) => peerId),
      revoked: (credential) => revocations.revoked(credential),
    };
  }
}

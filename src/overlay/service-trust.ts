/**
 * What a node knows of one service that decides whom it trusts: the newest descriptor, policy and
 * revocation lists, kept up to date from the records that arrive.
 *
 * Whoever owns a gate or a membership view calls their `recheck()` at each 'change'.
 */
import type { AbortOptions, Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { Emitter } from '../events.ts';
import { type PolicyDocument, parsePolicy } from '../policy/document.ts';
import { AddressPlan } from '../records/address-plan.ts';
import type { EpochGrace } from '../records/credential.ts';
import {
  admitterOf,
  compareVersions,
  MAX_ADMITTERS,
  type ServiceDescriptor,
} from '../records/descriptor.ts';
import type { Opened } from '../records/envelope.ts';
import type { PolicyRecord } from '../records/policy-record.ts';
import { type RevocationList, Revocations } from '../records/revocation.ts';
import type { Trust } from './gate.ts';
import { RecordError, type RecordStore } from './record-store.ts';
import type { Records } from './records.ts';
import { DESCRIPTOR_RECORD, POLICY_RECORD, REVOCATION_RECORD, recordKey } from './stored-kinds.ts';

/** Milliseconds from when this node learns of a new epoch during which credentials of the old one hold. */
const EPOCH_GRACE_MS = 300_000;

/** Super-peers that were named once and are remembered. */
const MAX_NAMED = 4 * MAX_ADMITTERS;

/** The policy in force. */
export interface ServicePolicy {
  readonly sequence: number;
  readonly document: PolicyDocument;
}

interface ServiceTrustEvents {
  change: [];
  policy: [ServicePolicy];
}

export class ServiceTrust extends Emitter<ServiceTrustEvents> {
  readonly serviceId: Ed25519PeerId;
  readonly #records: Records;
  readonly #unwatch: (() => void)[];
  readonly #lists = new Map<string, RevocationList>();
  #descriptor: Opened<ServiceDescriptor>;
  /** Super-peers that earlier descriptors named, by PeerID as text: those that this process has seen. */
  readonly #named = new Map<string, Ed25519PeerId>();
  /** Epochs that are over, oldest first; those whose grace has ended too are dropped at the next change. */
  #grace: readonly EpochGrace[] = [];
  #graceEnds: NodeJS.Timeout | undefined;
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
    clearTimeout(this.#graceEnds);
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
   * Whether a revocation list that comes now counts: one of the owner or of a super-peer that the descriptor names.
   *
   * @param issuer its PeerID as text
   */
  heeds(issuer: string): boolean {
    return this.#issuers.some((each) => each.toString() === issuer);
  }

  /** Whether `node` was thrown out and must not be admitted again. */
  barred(node: Ed25519PeerId | string): boolean {
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
    if (descriptor && isNewer(descriptor, this.#descriptor)) this.#descriptor = descriptor;
    const change = this.#records.epochChange(DESCRIPTOR_RECORD, serviceId);
    // A clock that was ahead then must not make it longer now.
    if (change) this.#endEpoch(change.epoch, Math.min(change.at, Date.now()));
    this.#trust = this.#combine();
    const policy = this.#records.latest(POLICY_RECORD, serviceId);
    if (policy) this.#takePolicy(policy);
    // Also of super-peers that were struck off: their lists stand as they were then.
    for (const { value } of this.#records.held(REVOCATION_RECORD, serviceId)) {
      this.#lists.set(value.issuer.toString(), value);
    }
    this.#combineRevocations();
  }

  /** The owner, and the super-peers that the descriptor names. */
  get #issuers(): readonly Ed25519PeerId[] {
    return [this.serviceId, ...this.#trust.admitters];
  }

  #takeDescriptor(opened: Opened<ServiceDescriptor>): void {
    const old = this.#descriptor;
    if (!opened.value.serviceId.equals(this.serviceId) || !isNewer(opened, old)) return;
    if (opened.value.epoch > old.value.epoch) this.#endEpoch(old.value.epoch, Date.now());
    this.#descriptor = opened;
    this.#noteNamed(old.value);
    for (const { value } of this.#records.held(REVOCATION_RECORD, this.serviceId)) {
      this.#setList(value);
    }
    this.#combineRevocations();
    for (const { peerId } of opened.value.admitters) {
      if (admitterOf(old.value, peerId) !== undefined) continue;
      // Its list was not taken where it came before the descriptor that names it.
      const names = [this.serviceId, peerId];
      void this.#records.get(REVOCATION_RECORD, names).catch(() => undefined);
    }
  }

  #noteNamed({ admitters }: ServiceDescriptor): void {
    for (const { peerId } of admitters) {
      this.#named.delete(peerId.toString());
      this.#named.set(peerId.toString(), peerId);
    }
    for (const oldest of [...this.#named.keys()].slice(0, -MAX_NAMED)) this.#named.delete(oldest);
  }

  /** @param at when this node learned of a later epoch, in milliseconds since 1970 */
  #endEpoch(epoch: number, at: number): void {
    const now = Date.now();
    const going = this.#grace.filter(({ until }) => until * 1000 > now);
    this.#grace = [...going, { epoch, until: (at + EPOCH_GRACE_MS) / 1000 }];
    clearTimeout(this.#graceEnds);
    this.#graceEnds = setTimeout(() => this.#changed(), Math.max(0, at + EPOCH_GRACE_MS - now));
    this.#graceEnds.unref();
  }

  #takePolicy({ value }: Opened<PolicyRecord>): void {
    const { serviceId, sequence, document } = value;
    if (!serviceId.equals(this.serviceId)) return;
    if (sequence < (this.#policy?.sequence ?? 0)) return;
    this.#policy = { sequence, document: parsePolicy(document) };
    this.tell('policy', this.#policy);
  }

  #takeRevocations(list: RevocationList): void {
    if (list.serviceId.equals(this.serviceId) && this.#setList(list)) this.#combineRevocations();
  }

  /**
   * Lists of super-peers that were struck off stay as they were: what they revoked while they were named stays
   * revoked, and what they sign afterwards counts for nothing.
   */
  #setList(list: RevocationList): boolean {
    const issuer = list.issuer.toString();
    if (this.#lists.get(issuer) === list || !this.heeds(issuer)) return false;
    this.#lists.set(issuer, list);
    return true;
  }

  #combineRevocations(): void {
    this.#revocations = new Revocations(this.serviceId, this.#lists.values());
    this.#changed();
  }

  #changed(): void {
    this.#trust = this.#combine();
    this.tell('change');
  }

  #combine(): Trust {
    const { epoch, admitters } = this.#descriptor.value;
    const now = new Set(admitters.map(({ peerId }) => peerId.toString()));
    const formerAdmitters = [...this.#named.values()].filter((each) => !now.has(each.toString()));
    const revocations = this.#revocations;
    return {
      epoch,
      grace: this.#grace,
      admitters: admitters.map(({ peerId }) => peerId),
      addresses: new AddressPlan(this.#descriptor.value),
      formerAdmitters,
      revoked: (credential) => revocations.revoked(credential),
    };
  }
}

/** Of two of one version the store keeps the same one everywhere, whichever came first. */
function isNewer(a: Opened<ServiceDescriptor>, b: Opened<ServiceDescriptor>): boolean {
  const order = compareVersions(a.value, b.value);
  return order > 0 || (order === 0 && !equals(a.bytes, b.bytes));
}

/** Makes `descriptor` the floor of what a store takes of its service, unless it knows a newer one. */
export async function holdDescriptor(
  store: RecordStore,
  descriptor: Opened<ServiceDescriptor>,
): Promise<void> {
  try {
    await store.accept(recordKey(DESCRIPTOR_RECORD, descriptor.value.serviceId), descriptor.bytes);
  } catch (error) {
    if (!(error instanceof RecordError)) throw error;
  }
}

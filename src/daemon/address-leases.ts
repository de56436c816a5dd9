/**
 * The IPv4 addresses that this super-peer leases to the members of one service, kept in step with what their
 * credentials say, whoever signed those.
 *
 * ```
 *  shards of all super-peers ─▶ credentials ─▶ leases last as long
 *  revocations ─────────────────────────────▶ leases end
 *  connected to the others, shards read ────▶ time is heard: leases may end
 *  admission, renewal ──────────────────────▶ an address, once the shards were read after the start
 * ```
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ed25519PeerId } from '@libp2p/interface';
import {
  type AddressClaim,
  type LeaseTable,
  MAX_UNHEARD_SECONDS,
} from '../admission/lease-table.ts';
import { IcvpnError } from '../errors.ts';
import type { Membership } from '../overlay/membership.ts';
import type { ServiceTrust } from '../overlay/service-trust.ts';
import { superPeerAddresses } from '../records/bootstrap.ts';
import { type Credential, heldSince } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import type { Ipv4Pool } from '../records/virtual-address.ts';
import type { Log } from './log.ts';
import type { Tier } from './tier.ts';

/** Milliseconds between looks whether the other super-peers are connected. */
const TEND_INTERVAL_MS = 30_000;
/** Milliseconds after the start that an admission waits for the shards of the service. */
const LEARN_LIMIT_MS = 5_000;
/** Conflicts that are remembered as told. */
const MAX_TOLD = 1_024;
/** Milliseconds for one look: to connect, and to read the shards. */
const TEND_LIMIT_MS = 20_000;

/** What tells credentials: those that super-peers list, as they come, and all of them. */
export interface CredentialSource extends Pick<Membership, 'credentials' | 'isGood' | 'refresh'> {
  on(event: 'credentials', listener: (told: readonly Opened<Credential>[]) => void): unknown;
  off(event: 'credentials', listener: (told: readonly Opened<Credential>[]) => void): unknown;
}

/** What decides who is a member. */
export interface LeaseTrust extends Pick<ServiceTrust, 'serviceId' | 'descriptor' | 'barred'> {
  on(event: 'change', listener: () => void): unknown;
  off(event: 'change', listener: () => void): unknown;
}

export interface AddressLeasesOptions {
  readonly superPeer: Ed25519PeerId;
  readonly table: LeaseTable;
  readonly membership: CredentialSource;
  readonly trust: LeaseTrust;
  /** The range of this super-peer, by the newest descriptor. */
  readonly pool: () => Ipv4Pool;
  /** Tier 1. */
  readonly gate: Pick<Tier['gate'], 'admit' | 'isAdmitted'>;
  readonly log: Log;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

export class AddressLeases implements AsyncDisposable {
  readonly #options: AddressLeasesOptions;
  readonly #clock: () => number;
  readonly #life = new AbortController();
  readonly #running: Promise<void>;
  readonly #learned = Promise.withResolvers<void>();
  readonly #onCredentials = (told: readonly Opened<Credential>[]): void => {
    this.#write(() => this.#learn(told));
  };
  readonly #onTrust = (): void => this.#write(() => this.#release());
  /** Addresses that are claimed by two members, told once. */
  readonly #conflicts = new Set<string>();

  constructor(options: AddressLeasesOptions) {
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    const { membership, trust } = options;
    membership.on('credentials', this.#onCredentials);
    trust.on('change', this.#onTrust);
    this.#running = this.#run();
  }

  /**
   * @param held the address in the credential that is renewed
   * @throws Ipv4PoolError when every address is leased
   */
  async lease(peer: Ed25519PeerId, held?: AddressClaim): Promise<AddressClaim> {
    const { table, trust, pool } = this.#options;
    const late = AbortSignal.any([this.#life.signal, AbortSignal.timeout(LEARN_LIMIT_MS)]);
    await Promise.race([
      this.#learned.promise,
      sleep(LEARN_LIMIT_MS, undefined, { signal: late }).catch(() => {}),
    ]);
    const { serviceId: service, credentialLifetime } = trust.descriptor.value;
    const now = this.#now();
    this.#note(now);
    return table.take({ service, peer, now, notAfter: now + credentialLifetime, held }, pool());
  }

  #now(): number {
    return Math.floor(this.#clock() / 1000);
  }

  get #others(): ReturnType<typeof superPeerAddresses> {
    const { trust, superPeer } = this.#options;
    return superPeerAddresses(trust.descriptor.value).filter(
      ({ peerId }) => !peerId.equals(superPeer),
    );
  }

  /** Whether whatever another super-peer of the service renews is told to this one. */
  #isHeard(): boolean {
    const { trust, superPeer, gate } = this.#options;
    return trust.descriptor.value.admitters.every(
      ({ peerId }) => peerId.equals(superPeer) || gate.isAdmitted(peerId),
    );
  }

  /** Time goes on for the leases, as long as it was heard without a gap. */
  #note(now: number): void {
    const { table, trust } = this.#options;
    const { credentialLifetime } = trust.descriptor.value;
    const id = trust.serviceId.toString();
    const at = table.heardAt(id);
    const gap = at === undefined || now - at > MAX_UNHEARD_SECONDS;
    if (!gap && this.#isHeard()) table.heard(id, now, credentialLifetime);
  }

  async #run(): Promise<void> {
    const { signal } = this.#life;
    while (!signal.aborted) {
      try {
        await this.#tend(AbortSignal.any([signal, AbortSignal.timeout(TEND_LIMIT_MS)]));
      } catch (error) {
        if (!signal.aborted) this.#options.log('leases-held', { why: String(error) });
      }
      this.#learned.resolve();
      await sleep(TEND_INTERVAL_MS, undefined, { signal }).catch(() => {});
    }
  }

  /** Connects to those that are not, reads all shards where something may have been missed, and notes that all is heard. */
  async #tend(signal: AbortSignal): Promise<void> {
    const { table, membership, trust, gate } = this.#options;
    const absent = this.#others.filter(({ peerId }) => !gate.isAdmitted(peerId));
    const reached = Promise.allSettled(
      absent.map(({ multiaddr }) => gate.admit([multiaddr], { signal })),
    );
    const id = trust.serviceId.toString();
    const before = table.heardAt(id);
    if (before === undefined || this.#now() - before > MAX_UNHEARD_SECONDS || absent.length > 0) {
      await reached;
      await membership.refresh({ signal });
    }
    this.#learn(membership.credentials());
    this.#release();
    if (this.#isHeard()) {
      table.heard(id, this.#now(), trust.descriptor.value.credentialLifetime);
    }
  }

  #learn(told: readonly Opened<Credential>[]): void {
    const { superPeer, membership, table, trust, log } = this.#options;
    for (const credential of told) {
      const { value } = credential;
      if (!value.admittedBy.equals(superPeer) || !membership.isGood(credential)) continue;
      const { peerId: peer, ipv4, notAfter } = value;
      const claim = { peer, ipv4, notAfter, since: heldSince(value) };
      if (table.learn(trust.serviceId.toString(), claim, this.#now())) continue;
      const name = `${ipv4} ${peer}`;
      if (this.#conflicts.has(name)) continue;
      if (this.#conflicts.size === MAX_TOLD) this.#conflicts.clear();
      this.#conflicts.add(name);
      log('address-conflict', { service: trust.serviceId, ipv4, refused: peer });
    }
  }

  /** What a full disk refuses here is learned and released again at the next news. */
  #write(change: () => void): void {
    try {
      change();
    } catch (error) {
      if (!(error instanceof IcvpnError)) throw error;
      this.#options.log('leases-not-stored', { why: error.message });
    }
  }

  #release(): void {
    const { table, trust } = this.#options;
    const id = trust.serviceId.toString();
    for (const peer of table.peers(id)) if (trust.barred(peer)) table.release(id, peer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { membership, trust } = this.#options;
    membership.off('credentials', this.#onCredentials);
    trust.off('change', this.#onTrust);
    this.#life.abort();
    this.#learned.resolve();
    await this.#running;
  }
}

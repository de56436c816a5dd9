/**
 * A running super-peer: member of tier 1, door to the services that its operator lets it serve.
 *
 * ```
 * start ─▶ host ─▶ place in tier 1 ─▶ gate and DHT of tier 1 ─▶ services ─▶ door open
 *                  named in the overlay's descriptor: it is an admitter itself;
 *                  else: admitted by SRP at one that is
 * ```
 */

import { join } from 'node:path';
import type { AbortOptions, Ed25519PeerId } from '@libp2p/interface';
import type { AdmissionLimits } from '../admission/server.ts';
import { ipOf } from '../codec/multiaddr.ts';
import type { DirectoryLock } from '../files/lock.ts';
import type { ArrivalLimits } from '../overlay/arrivals.ts';
import { createHost, type Host } from '../overlay/host.ts';
import { PublishServer } from '../overlay/publish.ts';
import type { Bootstrap, SuperPeerAddress } from '../records/bootstrap.ts';
import { admitterOf, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { EnvelopeError, type Opened } from '../records/envelope.ts';
import { Door } from './door.ts';
import { DuplicateDesk } from './duplicate-desk.ts';
import { openKeptStore } from './kept-store.ts';
import type { Log } from './log.ts';
import { KnownSuperPeers } from './member/super-peers.ts';
import { obtainStanding } from './obtain-standing.ts';
import { OverlayPlace } from './overlay-place.ts';
import { OwnAddresses } from './own-addresses.ts';
import { Renewal, type RenewalOptions } from './renewal.ts';
import { RevocationDesk } from './revocations.ts';
import { sealingKey } from './sealing-key.ts';
import { type ServedStatus, Services } from './services.ts';
import { NodeState } from './state.ts';
import { lockState } from './state-lock.ts';
import { type Contact, TIER_1, Tier } from './tier.ts';

export interface SuperPeerOptions {
  readonly stateDir: string;
  /** The lock of that directory, where the caller has it already; it stays the caller's. */
  readonly lock?: DirectoryLock;
  /** File with the key of the secure cache. */
  readonly keyFile?: string;
  /** Of the universal overlay; carries its descriptor. */
  readonly overlay: Bootstrap;
  readonly listen: string[];
  /** Addresses told to others instead of those listened on. */
  readonly announce: string[];
  /** Makes the admission store anew where the one that was there is lost: once, by the operator's word. */
  readonly newAdmissionStore?: boolean;
  /** The services that the operator lets this super-peer serve. */
  readonly allowedServices: readonly Ed25519PeerId[];
  /** Of what strangers may use at the door, where they are to differ from the usual ones. */
  readonly limits?: Partial<AdmissionLimits>;
  /** How many connections strangers may have, where that is to differ from the usual. */
  readonly arrivals?: Partial<ArrivalLimits>;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export interface SuperPeerStatus {
  readonly role: 'super-peer';
  readonly peerId: string;
  readonly overlay: { readonly id: string; readonly name: string };
  readonly multiaddrs: string[];
  /** Super-peers of tier 1 that are connected. */
  readonly superPeers: string[];
  readonly services: readonly ServedStatus[];
}

interface Parts {
  readonly host: Host;
  readonly tier: Tier;
  readonly services: Services;
  readonly desk: RevocationDesk;
}

export class SuperPeer implements AsyncDisposable {
  readonly #parts: Parts;
  readonly #owned: AsyncDisposableStack;

  private constructor(parts: Parts, owned: AsyncDisposableStack) {
    this.#parts = parts;
    this.#owned = owned;
  }

  /**
   * @returns a super-peer that is in tier 1 and admits
   * @throws IcvpnError with what is wrong; nothing is left running then
   */
  static async start(options: SuperPeerOptions): Promise<SuperPeer> {
    await using owned = new AsyncDisposableStack();
    const { log, stateDir } = options;
    if (options.lock === undefined) owned.use(await lockState(stateDir, 'a super-peer'));
    const state = owned.use(await NodeState.open(stateDir, options));
    const { key, peerId } = state;
    const overlay = await overlayDescriptor(options.overlay);
    const own = new OwnAddresses({
      ...{ virtual: [], log },
      superPeers: () =>
        options.overlay.superPeers.flatMap(({ multiaddr }) => ipOf(multiaddr) ?? []),
    });
    await own.refresh();
    const host = await createHost({ ...options, key, announceFilter: own.announced });
    owned.defer(() => host.close());
    const allowed = new Set(options.allowedServices.map(String));
    const made: { place?: OverlayPlace } = {};
    const onRenewed = (): void => made.place?.reattach();
    const known = new KnownSuperPeers(options.overlay);
    const follow = { onRenewed, superPeers: () => known.all };
    const renewal = owned.use(await takePlace(state, host, overlay, options, follow));
    const tier = owned.use(
      await Tier.start({
        ...{ kind: TIER_1, host, log, directory: join(stateDir, 'records') },
        descriptor: overlay,
        credential: () => renewal?.standing.credential.bytes,
        serves: (service) => allowed.has(service.toString()),
      }),
    );
    known.follow(() => tier.trust.descriptor.value);
    renewal?.follow(tier);
    const { superPeers } = options.overlay;
    tier.keep(superPeers.map(contactOf));
    if (renewal !== undefined) made.place = owned.use(new OverlayPlace({ tier, superPeers, log }));
    const sealing = await sealingKey(state);
    owned.defer(() => void sealing.privateKey.fill(0));
    const store = await openKeptStore(state, options.newAdmissionStore ?? false);
    owned.defer(() => store.close());
    const opened: { door?: Door } = {};
    const duplicates = new DuplicateDesk({ audit: () => opened.door?.audit, log });
    const common = { tier, key, peerId, store, duplicates, log };
    const services = owned.use(new Services({ ...common, sealingPrivateKey: sealing.privateKey }));
    if (renewal === undefined) await services.serve(tier.trust.descriptor);
    await services.follow(allowed);
    const door = owned.use(await Door.open({ ...options, host, services, key, store }));
    opened.door = door;
    const { audit } = door;
    const { records } = tier;
    const desk = owned.use(new RevocationDesk({ records, services, key, peerId, audit, log }));
    const publish = new PublishServer({
      ...{ host, records: tier.records },
      allow: (id) => allowed.has(id.toString()) || id.equals(overlay.value.serviceId),
      settled: async (id) => {
        if (allowed.has(id.toString())) await services.settled(id);
      },
    });
    await publish.start();
    owned.defer(() => publish.close());
    log('up', { peerId, overlay: overlay.value.serviceId });
    return new SuperPeer({ host, tier, services, desk }, owned.move());
  }

  status(): SuperPeerStatus {
    const { host, tier, services } = this.#parts;
    const { serviceId, name } = tier.trust.descriptor.value;
    return {
      role: 'super-peer',
      peerId: host.peerId.toString(),
      overlay: { id: serviceId.toString(), name },
      multiaddrs: host.libp2p.getMultiaddrs().map(String),
      superPeers: tier.connected().map(String),
      services: services.status().filter((each) => each.id !== serviceId.toString()),
    };
  }

  /** Throws a member out that this super-peer admitted. @throws IcvpnError ERR_NOT_MY_MEMBER */
  revoke(member: Ed25519PeerId, options?: AbortOptions): Promise<{ service: string }[]> {
    return this.#parts.desk.revoke(member, options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/**
 * A super-peer that the overlay's descriptor names needs no credential; another is admitted at one that
 * is, and renews.
 */
async function takePlace(
  state: NodeState,
  host: Host,
  overlay: Opened<ServiceDescriptor>,
  options: SuperPeerOptions,
  follow: Pick<RenewalOptions, 'onRenewed' | 'superPeers'>,
): Promise<Renewal | undefined> {
  const { key, cache, peerId } = state;
  if (admitterOf(overlay.value, peerId) !== undefined) return undefined;
  const { log, signal } = options;
  const { serviceId, superPeers, secret } = options.overlay;
  const self = { vmid: peerId.toString(), roles: [] };
  const wish = { serviceId, superPeers, secret, host, log, signal, ...self };
  const standing = await obtainStanding(state, wish);
  return new Renewal(standing, {
    ...{ host, key, cache, serviceId, log, ...follow },
  });
}

const contactOf = ({ peerId, multiaddr }: SuperPeerAddress): Contact => ({
  peerId,
  multiaddrs: [multiaddr],
});

/** The overlay's descriptor comes with its bootstrap data: there is no DHT yet to ask for it. */
async function overlayDescriptor(overlay: Bootstrap): Promise<Opened<ServiceDescriptor>> {
  if (overlay.descriptor === undefined) {
    throw new EnvelopeError('descriptor', 'this bootstrap data has none: it is not of an overlay');
  }
  const opened = await openDescriptor(overlay.descriptor);
  if (opened.value.serviceId.equals(overlay.serviceId)) return opened;
  throw new EnvelopeError('descriptor', 'it is of another overlay than the bootstrap data');
}

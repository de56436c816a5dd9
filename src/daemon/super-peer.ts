/**
 * A running super-peer: member of tier 1, door to the services that its operator lets it serve.
 *
 * ```
 * start ─▶ host ─▶ place in tier 1 ─▶ gate and DHT of tier 1 ─▶ services ─▶ door open
 *                  named in the overlay's descriptor: it is an admitter itself;
 *                  else: admitted by SRP at one that is
 * ```
 */
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { ADMISSION_PROTOCOL, AdmissionServer } from '../admission/server.ts';
import { createHost, type Host } from '../overlay/host.ts';
import { PublishServer } from '../overlay/publish.ts';
import type { Bootstrap } from '../records/bootstrap.ts';
import { admitterOf, openDescriptor, type ServiceDescriptor } from '../records/descriptor.ts';
import { EnvelopeError, type Opened } from '../records/envelope.ts';
import type { Log } from './log.ts';
import { sealingKey } from './sealing-key.ts';
import { Services } from './services.ts';
import { obtainStanding } from './standing.ts';
import { NodeState } from './state.ts';
import { TIER_1, Tier } from './tier.ts';
import { underlayOnly } from './underlay.ts';

export interface SuperPeerOptions {
  readonly stateDir: string;
  /** File with the key of the secure cache. */
  readonly keyFile?: string;
  /** Of the universal overlay; carries its descriptor. */
  readonly overlay: Bootstrap;
  readonly listen: string[];
  /** Addresses told to others instead of those listened on. */
  readonly announce: string[];
  /** The services that the operator lets this super-peer serve. */
  readonly allowedServices: readonly Ed25519PeerId[];
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
  readonly services: { readonly id: string; readonly name: string; readonly members: number }[];
}

interface Parts {
  readonly host: Host;
  readonly overlay: Opened<ServiceDescriptor>;
  readonly tier: Tier;
  readonly services: Services;
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
    const { log, signal } = options;
    const state = owned.use(await NodeState.open(options.stateDir, options));
    const { key, peerId } = state;
    const host = await createHost({ ...options, key, announceFilter: underlayOnly([]) });
    owned.defer(() => host.close());
    const overlay = await overlayDescriptor(options.overlay);
    const serviceId = overlay.value.serviceId;
    const isAdmitter = admitterOf(overlay.value, peerId) !== undefined;
    const standing = isAdmitter
      ? undefined
      : await obtainStanding(state, {
          ...options.overlay,
          host,
          vmid: peerId.toString(),
          roles: [],
          log,
          signal,
        });
    const tier = owned.use(
      await Tier.start({
        host,
        kinds: TIER_1,
        descriptor: () => overlay.value,
        credential: () => standing?.credential.bytes,
        log,
      }),
    );
    for (const each of options.overlay.superPeers) tier.contact(each.peerId, [each.multiaddr]);
    const sealing = await sealingKey(state);
    owned.defer(() => void sealing.privateKey.fill(0));
    const services = owned.use(
      new Services({
        ...{ host, state, key, peerId, log },
        records: tier.records,
        tierGate: tier.gate,
        sealingPrivateKey: sealing.privateKey,
      }),
    );
    if (isAdmitter) await services.serve(overlay);
    const allowed = new Set(options.allowedServices.map(String));
    await services.follow(allowed);
    await openDoor(owned, host, services, key, log);
    const publish = new PublishServer({
      host,
      records: tier.records,
      allow: (id) => allowed.has(id.toString()),
    });
    await publish.start();
    owned.defer(() => publish.close());
    log('up', { peerId, overlay: serviceId });
    return new SuperPeer({ host, overlay, tier, services }, owned.move());
  }

  status(): SuperPeerStatus {
    const { host, overlay, tier, services } = this.#parts;
    const { serviceId, name } = overlay.value;
    return {
      role: 'super-peer',
      peerId: host.peerId.toString(),
      overlay: { id: serviceId.toString(), name },
      multiaddrs: host.multiaddrs(),
      superPeers: tier.connected().map(String),
      services: services.status().filter((each) => each.id !== serviceId.toString()),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** The overlay's descriptor comes with its bootstrap data: there is no DHT yet to ask for it. */
async function overlayDescriptor(overlay: Bootstrap): Promise<Opened<ServiceDescriptor>> {
  if (overlay.descriptor === undefined) {
    throw new EnvelopeError('descriptor', 'this bootstrap data has none: it is not of an overlay');
  }
  const opened = await openDescriptor(overlay.descriptor);
  if (opened.value.serviceId.equals(overlay.serviceId)) return opened;
  throw new EnvelopeError('descriptor', 'it is of another overlay than the bootstrap data');
}

async function openDoor(
  owned: AsyncDisposableStack,
  host: Host,
  services: Services,
  key: Ed25519PrivateKey,
  log: Log,
): Promise<void> {
  const server = new AdmissionServer({
    key,
    services: (id) => services.get(id)?.door,
    assignIpv4: (door, peerId) => services.ofDoor(door).assignIpv4(peerId),
    onAdmitted: async (door, applicant, credential) => {
      await services.ofDoor(door).admitted(applicant, credential);
      const { serviceId: service } = door.descriptor.value;
      log('admitted', { service, peerId: applicant.peerId, vmid: applicant.vmid });
    },
  });
  owned.defer(() => server.close());
  await host.libp2p.handle(ADMISSION_PROTOCOL, (stream, connection) =>
    server.handle(stream, connection),
  );
  owned.defer(() => host.libp2p.unhandle(ADMISSION_PROTOCOL));
}

/**
 * The data plane of one service on one machine: an xfrm interface, for each peer trap policies,
 * and SAs as keys are agreed on.
 *
 *     program ──► route to the service's prefix ──► xfrm interface (if_id)
 *        │                                               │ policy of the peer, by virtual address
 *        │ gate, while there is no SA                    ▼
 *        └── packets wait, ACQUIRE ──► daemon    ESP, tunnel mode ──► underlay ──► peer
 *
 * Fails closed: what reaches the interface leaves it through an SA or not at all, and where the
 * interface is missing the routes behind it refuse.
 */
import { Emitter } from '../events.ts';
import { Databases } from './dataplane/databases.ts';
import { planeClosed } from './dataplane/errors.ts';
import { Foundation, type GuardLeft } from './dataplane/foundation.ts';
import { closeGate } from './dataplane/gate.ts';
import { Hearing } from './dataplane/hearing.ts';
import type { InterfaceOptions } from './dataplane/interface.ts';
import { checkIpv6 } from './dataplane/ipv6.ts';
import { refuseOverlap } from './dataplane/overlap.ts';
import { probeKernel, rethrow } from './dataplane/ownership.ts';
import {
  checkVirtual,
  DEFAULT_LIFETIME,
  type PeerAddresses,
  type SaDirection,
  type SaKeys,
  sameUnderlay,
  type Underlay,
  type VirtualAddresses,
} from './dataplane/peer.ts';
import { PeerRecord } from './dataplane/peer-record.ts';
import { PeerTable } from './dataplane/peer-table.ts';
import { gatePolicies, peerPolicies, subnetPolicies } from './dataplane/policies.ts';
import * as sas from './dataplane/sas.ts';
import { checkDisjoint, checkForwarding, type Site, siteOf } from './dataplane/site.ts';
import type {
  DataPlaneEvents,
  DataPlaneOptions,
  SaCounters,
  SaOptions,
} from './dataplane/types.ts';
import { UdpEncapsulation } from './encap/udp.ts';
import { Guard } from './guard/guard.ts';
import type { Repairable } from './guard/reconciler.ts';
import { LinkClient } from './link/client.ts';
import { XfrmClient } from './xfrm/client.ts';
import { XfrmMonitor } from './xfrm/monitor.ts';

export type {
  DataPlaneOptions,
  ExpireNotice,
  LossNotice,
  MappingNotice,
  SaCounters,
  SaOptions,
  UdpPorts,
} from './dataplane/types.ts';
export type { GuardLeft, PeerAddresses, SaDirection, SaKeys, Site, Underlay, VirtualAddresses };
export { DEFAULT_LIFETIME };

const DEFAULT_MTU = 1_400;
const GROUPS = ['acquire', 'expire', 'mapping', 'state', 'policy', 'migrate'] as const;

/** What is known of a data plane before it is opened. */
export interface ProbeOptions {
  readonly ifId: number;
  readonly site?: Site;
  readonly interfaceName?: string;
  /** CIDRs of the service, as far as they are known. */
  readonly prefixes?: readonly string[];
  readonly signal?: AbortSignal;
}

export class DataPlane extends Emitter<DataPlaneEvents> implements AsyncDisposable {
  readonly #options: InterfaceOptions;
  readonly #foundation: Foundation;
  readonly #xfrm: XfrmClient;
  /** Closed together, in the reverse order. */
  readonly #owned = new AsyncDisposableStack();
  readonly #peers: PeerTable;
  #udp: UdpEncapsulation | undefined;
  #unsound: Error | undefined;
  #closing: Promise<GuardLeft> | undefined;

  private constructor({ udpPort, nft, ...options }: Omit<DataPlaneOptions, 'signal'>) {
    super();
    this.#options = { ...options, mtu: options.mtu ?? DEFAULT_MTU };
    this.#peers = new PeerTable(options.virtualAddresses);
    const failed = (error: Error): void => {
      if (this.#closing === undefined) this.tell('error', error);
    };
    using stack = new DisposableStack();
    const monitor = stack.use(new XfrmMonitor({ groups: GROUPS }));
    if (udpPort !== undefined) this.#udp = stack.use(new UdpEncapsulation(udpPort));
    this.#foundation = this.#owned.use(
      new Foundation({
        ...{ ...this.#options, run: nft, onError: failed },
        onSite: (stranded) => this.tell('site', stranded),
        onRepaired: (what) => this.tell('repaired', what),
        onConflicts: (rules) => this.tell('conflicts', rules),
        onSoundness: (why) => {
          this.#unsound = why;
          this.tell('soundness', why);
        },
      }),
    );
    this.#xfrm = this.#foundation.xfrm;
    const sockets = stack.move();
    this.#owned.defer(() => sockets.dispose());
    const hearing = new Hearing({
      peers: this.#peers,
      ifId: options.ifId,
      states: () => this.#xfrm.states(),
      onAcquire: (peerId) => this.tell('acquire', peerId),
      onExpire: (notice) => this.tell('expire', notice),
      onMapping: (notice) => this.tell('mapping', notice),
      onGone: (peer) => peer.serially(() => closeGate(this.#xfrm, peer)),
      onError: failed,
    });
    const databases = new Databases({
      ...{ xfrm: this.#xfrm, peers: this.#peers, ifId: options.ifId },
      onLost: (notice) => this.tell('lost', notice),
    });
    this.#foundation.keep(databases);
    monitor.on('event', (event, port) => {
      hearing.hear(event);
      if (databases.concerns(event, port)) this.#foundation.look();
    });
    monitor.on('error', failed);
  }

  /**
   * Makes the interface, its addresses and routes, in the process's network namespace. What an
   * earlier run left of the same interface name and if_id is removed first.
   *
   * @throws DataPlaneError `ERR_NOT_ROOT`; `ERR_NO_ESP`; `ERR_INTERFACE_IN_USE`, `ERR_IF_ID_IN_USE`,
   * `ERR_ADDRESS_IN_USE`, `ERR_PREFIX_IN_USE`, `ERR_SUBNET_IN_USE` if somebody else has what is asked for;
   * `ERR_NO_FORWARDING`, `ERR_SUBNET_INTERFACE`, `ERR_SUBNET_NOT_HERE` at a gateway; XfrmError,
   * LinkError, ValueError, or the signal's reason. Nothing stays behind then.
   */
  static async open(options: DataPlaneOptions): Promise<DataPlane> {
    const { signal, ...rest } = options;
    checkVirtual(rest.virtualAddresses);
    checkDisjoint(siteOf(rest), Object.values(rest.prefixes));
    checkForwarding(siteOf(rest));
    const plane = new DataPlane(rest);
    try {
      await plane.#foundation.lay({ signal });
      return plane;
    } catch (error) {
      await plane.#release();
      throw error;
    }
  }

  /**
   * Tries whether this process may configure IPsec and the kernel has the ESP for it, before
   * anything else is begun, and whether the kernel forwards for what is behind it. Leaves nothing behind.
   *
   * @throws DataPlaneError `ERR_NOT_ROOT`, `ERR_NO_ESP`, `ERR_NO_FORWARDING`, `ERR_PREFIX_IN_USE`, `ERR_IPV6_OFF`;
   * GuardError `ERR_NFT_MISSING`, `ERR_NFT_REFUSED`
   */
  static async probe(options: ProbeOptions): Promise<void> {
    const { subnets, interfaces: subnetInterfaces } = siteOf(options);
    checkForwarding(siteOf(options));
    checkIpv6();
    using xfrm = new XfrmClient();
    await probeKernel(xfrm, options.ifId, options);
    const { prefixes = [], interfaceName = 'icvpn0', ifId, signal } = options;
    const guard = { interfaceName, ifId, prefixes, subnets, subnetInterfaces };
    await Guard.probe(guard, { signal });
    if (prefixes.length === 0) return;
    using links = new LinkClient();
    // Another run of the same service is no overlap: `open` says whose the interface is.
    const own = (await links.links(options)).find((link) => link.ifId === ifId);
    await refuseOverlap(links, prefixes, own?.index, options);
  }

  /**
   * Takes away what a run that is over has left in the kernel: its guard, and where it was killed all else.
   *
   * @param options those that the run was opened with
   * @throws as {@link open}
   */
  static async takeAway(options: Omit<DataPlaneOptions, 'udpPort' | 'signal'>): Promise<GuardLeft> {
    const plane = new DataPlane(options);
    try {
      return await plane.#foundation.takeAway();
    } finally {
      await plane.#release();
    }
  }

  /** Whether packets wait for an SA; otherwise the first ones to a peer are lost, where /proc/sys may not be written. */
  get packetsWait(): boolean {
    return this.#foundation.packetsWait;
  }

  /** Whether an earlier run had left its guard. */
  get tookOverGuard(): boolean {
    return this.#foundation.tookOver;
  }

  /** Why what has to be in the kernel is not there; undefined while it is. */
  get unsound(): Error | undefined {
    return this.#unsound;
  }

  /** Rules of other programs that are asked before the service's own. What they lead away is dropped. */
  get conflicts(): readonly string[] {
    return this.#foundation.conflicts;
  }

  /** Something else that has to be in the kernel: repaired with the plane's own, under the same bound. */
  keep(part: Repairable): void {
    this.#foundation.keep(part);
  }

  /** What is kept may have been changed by another program. */
  look(): void {
    this.#foundation.look();
  }

  /** The local port of ESP in UDP; undefined while none is open. */
  get udpPort(): number | undefined {
    return this.#udp?.port;
  }

  /**
   * Opens the local port of ESP in UDP, of both families; it stays open until the plane closes.
   *
   * @throws NetlinkError `ERR_PORT_IN_USE`, `ERR_NO_UDP_ENCAPSULATION`; DataPlaneError `ERR_DATA_PLANE_CLOSED`
   */
  openUdp(port: number): void {
    this.#check();
    if (this.#udp?.port === port) return;
    this.#udp = this.#owned.use(new UdpEncapsulation(port));
  }

  /**
   * Installs the trap policies of a peer: from now on a packet to it raises `acquire`.
   *
   * @throws DataPlaneError `ERR_PEER_EXISTS`, `ERR_PEER_ADDRESS` if this machine or another peer has one of its virtual
   * addresses, `ERR_DATA_PLANE_CLOSED`; XfrmError; ValueError
   */
  async addPeer(addresses: PeerAddresses, underlay: Underlay): Promise<void> {
    this.#check();
    checkVirtual(addresses.virtualAddresses);
    const { ifId, virtualAddresses } = this.#options;
    const reqid = this.#peers.freeReqid(this.#foundation.firstReqid);
    const ours = { virtualAddresses, subnets: siteOf(this.#options).subnets };
    const { interfaceIndex } = this.#foundation;
    const peer = new PeerRecord(addresses, underlay, { ours, ifId, interfaceIndex, reqid });
    const policies = [...peerPolicies(peer.context), ...gatePolicies(peer.context, 'closed')];
    this.#peers.add(peer);
    await peer.serially(async () => {
      try {
        rethrow(await this.#xfrm.updatePolicies(policies));
        await this.#route(peer.subnets);
      } catch (error) {
        await this.#foundation.unroute(peer.subnets);
        this.#peers.delete(peer);
        await this.#xfrm.deletePolicies(policies);
        this.#peers.free(peer);
        throw error;
      }
    });
  }

  /**
   * The peer, or we, moved: policies point to the new ends at once; SAs between the old ones are
   * removed, so that the next packet raises `acquire`. If the ends are the same nothing happens.
   */
  async updatePeerUnderlay(peerId: string, underlay: Underlay): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(async () => {
      if (sameUnderlay(peer.underlay, underlay)) return;
      const context = { ...peer.context, underlay };
      const policies = [...gatePolicies(context, 'closed'), ...peerPolicies(context)];
      peer.gate.closed();
      rethrow(await this.#xfrm.updatePolicies(policies));
      peer.underlay = underlay;
      await sas.removeAll(this.#xfrm, peer);
    });
  }

  /**
   * Other subnets are behind the peer now; its SAs stay. A subnet that moves from one peer to another
   * is taken from the one first.
   */
  async updatePeerSubnets(peerId: string, subnets: readonly string[]): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(async () => {
      const before = peer.subnets;
      const gone = before.filter((each) => !subnets.includes(each));
      const fresh = subnets.filter((each) => !before.includes(each));
      const gate = peer.gate.phase;
      await this.#foundation.unroute(gone);
      rethrow(await this.#xfrm.deletePolicies(subnetPolicies(peer.context, gone, gate)));
      peer.subnets = subnets;
      rethrow(await this.#xfrm.updatePolicies(subnetPolicies(peer.context, fresh, gate)));
      await this.#route(fresh);
    });
  }

  /** Removes policies and SAs of a peer. What is sent to it after that is refused. */
  async removePeer(peerId: string): Promise<void> {
    const peer = this.#peer(peerId);
    this.#peers.delete(peer);
    await peer.serially(async () => {
      peer.gate.closed();
      const policies = [...peerPolicies(peer.context), ...gatePolicies(peer.context, 'closed')];
      await this.#foundation.unroute(peer.subnets);
      rethrow(await this.#xfrm.deletePolicies(policies));
      this.#peers.free(peer);
      await sas.removeAll(this.#xfrm, peer);
    });
  }

  /**
   * Reserves an SPI for the SA by which this peer will send to us. The kernel keeps it for
   * `net.core.xfrm_acq_expires` seconds (30 as it comes).
   */
  async allocateSpi(peerId: string): Promise<number> {
    const peer = this.#peer(peerId);
    return peer.serially(() => sas.reserve(this.#xfrm, peer));
  }

  /** Puts keys under a reserved SPI: from now on the peer may send. @throws XfrmError `ERR_XFRM_NOT_FOUND` if the reservation ran out. */
  async installInbound(
    peerId: string,
    spi: number,
    keys: SaKeys,
    options: SaOptions = {},
  ): Promise<void> {
    const peer = this.#peer(peerId);
    const sa = { spi, direction: 'in' } as const;
    await peer.serially(() => sas.install(this.#xfrm, peer, sa, keys, options));
  }

  /**
   * From now on packets to the peer leave by this SA, whose SPI the peer chose; those that waited
   * first. Of several the kernel takes the newest that is not past a soft limit: an older one may
   * stay for an overlap, and should, since a packet between its choice of SA and its encryption is
   * lost if the SA goes. Who answers an exchange installs before who began it, since the kernel's
   * own answers (ICMPv6 echo) do not wait.
   */
  async installOutbound(
    peerId: string,
    spi: number,
    keys: SaKeys,
    options: SaOptions = {},
  ): Promise<void> {
    const peer = this.#peer(peerId);
    const sa = { spi, direction: 'out' } as const;
    await peer.serially(() => sas.install(this.#xfrm, peer, sa, keys, options));
  }

  /**
   * A NAT shows the peer at another port: every SA in UDP follows as it is, keys and counters kept.
   * Another address needs other SAs: {@link updatePeerUnderlay}.
   */
  async remap(peerId: string, remotePort: number): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(() => sas.remap(this.#xfrm, peer, remotePort));
  }

  /** Tells a NAT between that the mapping is in use; nothing where no port for ESP in UDP is open. */
  keepalive(peerId: string, remotePort: number): void {
    this.#udp?.keepalive(this.#peer(peerId).underlay.remote, remotePort);
  }

  /** Removes one SA, which may be gone already. */
  async removeSa(peerId: string, spi: number, direction: SaDirection): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(() => sas.remove(this.#xfrm, peer, spi, direction));
  }

  /**
   * Keys could not be agreed on: forgets that the kernel asked, so that the next packet raises
   * `acquire` again rather than after `net.core.xfrm_acq_expires` seconds.
   */
  async rejectAcquire(peerId: string): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(() => sas.settle(this.#xfrm, peer));
  }

  /** What went through one SA, from the kernel; undefined if it is gone. */
  async packets(peerId: string, spi: number, direction: SaDirection): Promise<bigint | undefined> {
    return (await sas.find(this.#xfrm, this.#peer(peerId), spi, direction))?.usage.packets;
  }

  /** Addresses and routes of this machine that have come into the service's prefixes since, for people. */
  overlaps(): Promise<string[]> {
    this.#check();
    return this.#foundation.overlaps();
  }

  /** What went through each SA, from the kernel. */
  async counters(): Promise<SaCounters[]> {
    this.#check();
    const states = await this.#xfrm.states();
    return states.flatMap(({ reqid, spi, destination, larval, usage }) => {
      const peer = this.#peers.byReqid(reqid);
      if (peer === undefined || larval) return [];
      const direction = peer.directionTo(destination);
      const { packets, bytes, addedAt } = usage;
      return [{ peerId: peer.id, spi, direction, packets, bytes, addedAt }];
    });
  }

  /**
   * Waits for what is under way, then removes all that is ours from the kernel, and nothing else. The guard goes last;
   * it stays where `keepGuard` says so, and while sockets have the virtual IPv6 address.
   */
  close(options: { readonly keepGuard?: boolean } = {}): Promise<GuardLeft> {
    this.#closing ??= this.#stop(options.keepGuard ?? false);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #route(subnets: readonly string[]): Promise<void> {
    for (const subnet of await this.#foundation.route(subnets)) this.tell('shadowed', subnet);
  }

  async #stop(keepGuard: boolean): Promise<GuardLeft> {
    try {
      await Promise.all(this.#peers.values().map((peer) => peer.serially(async () => {})));
      return await this.#foundation.remove({ keepGuard });
    } finally {
      await this.#release();
    }
  }

  async #release(): Promise<void> {
    this.#closing ??= Promise.resolve({ kept: false, sockets: 0 });
    for (const { gate } of this.#peers.values()) gate.closed();
    this.#peers.clear();
    await this.#owned.disposeAsync();
  }

  #check(): void {
    if (this.#closing !== undefined) throw planeClosed();
  }

  #peer(id: string): PeerRecord {
    this.#check();
    return this.#peers.get(id);
  }
}

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
import { EventEmitter } from 'node:events';
import { planeClosed } from './dataplane/errors.ts';
import { Hearing } from './dataplane/hearing.ts';
import { build, claim, dismantle, type InterfaceOptions } from './dataplane/interface.ts';
import { LarvalDrop } from './dataplane/larval-drop.ts';
import {
  isNotFound,
  type Ownership,
  probeKernel,
  removeAcquired,
  removeOwned,
  removeStates,
  reserveReqids,
  rethrow,
} from './dataplane/ownership.ts';
import {
  checkVirtual,
  DEFAULT_LIFETIME,
  type PeerAddresses,
  type SaDirection,
  type SaKeys,
  saEnds,
  sameUnderlay,
  saState,
  type Underlay,
  type VirtualAddresses,
} from './dataplane/peer.ts';
import { PeerRecord } from './dataplane/peer-record.ts';
import { PeerTable } from './dataplane/peer-table.ts';
import { gatePolicies, peerPolicies, subnetPolicies } from './dataplane/policies.ts';
import { remapped } from './dataplane/remap.ts';
import { checkDisjoint, checkForwarding, type Site, siteOf } from './dataplane/site.ts';
import { SubnetRoutes } from './dataplane/subnet-routes.ts';
import type {
  DataPlaneEvents,
  DataPlaneOptions,
  SaCounters,
  SaOptions,
} from './dataplane/types.ts';
import { UdpEncapsulation } from './encap/udp.ts';
import { LinkClient } from './link/client.ts';
import { XfrmClient } from './xfrm/client.ts';
import { XfrmMonitor } from './xfrm/monitor.ts';
import type { State } from './xfrm/state.ts';

export type {
  DataPlaneOptions,
  ExpireNotice,
  MappingNotice,
  SaCounters,
  SaOptions,
  UdpPorts,
} from './dataplane/types.ts';
export type { PeerAddresses, SaDirection, SaKeys, Site, Underlay, VirtualAddresses };
export { DEFAULT_LIFETIME };

const DEFAULT_MTU = 1_400;

export class DataPlane extends EventEmitter<DataPlaneEvents> implements AsyncDisposable {
  readonly #options: InterfaceOptions;
  readonly #links: LinkClient;
  readonly #xfrm: XfrmClient;
  /** Closed together, in the reverse order. */
  readonly #owned: DisposableStack;
  readonly #peers = new PeerTable();
  #firstReqid: number | undefined;
  #interfaceIndex = 0;
  #routes: SubnetRoutes | undefined;
  #udp: UdpEncapsulation | undefined;
  #closing: Promise<void> | undefined;

  private constructor(options: InterfaceOptions, udpPort: number | undefined) {
    super();
    this.#options = options;
    using stack = new DisposableStack();
    this.#links = stack.use(new LinkClient());
    this.#xfrm = stack.use(new XfrmClient());
    const monitor = stack.use(new XfrmMonitor({ groups: ['acquire', 'expire', 'mapping'] }));
    stack.use(new LarvalDrop());
    if (udpPort !== undefined) this.#udp = stack.use(new UdpEncapsulation(udpPort));
    this.#owned = stack.move();
    const failed = (error: Error): void => {
      if (this.#closing === undefined) this.emit('error', error);
    };
    const hearing = new Hearing({
      peers: this.#peers,
      ifId: options.ifId,
      states: () => this.#xfrm.states(),
      onAcquire: (peerId) => this.emit('acquire', peerId),
      onExpire: (notice) => this.emit('expire', notice),
      onMapping: (notice) => this.emit('mapping', notice),
      onGone: (peer) => peer.serially(() => this.#closeGate(peer)),
      onError: failed,
    });
    monitor.on('event', (event) => hearing.hear(event));
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
    const { signal, mtu = DEFAULT_MTU, udpPort, ...rest } = options;
    checkVirtual(rest.virtualAddresses);
    checkDisjoint(siteOf(rest), Object.values(rest.prefixes));
    checkForwarding(siteOf(rest));
    const plane = new DataPlane({ ...rest, mtu }, udpPort);
    try {
      await plane.#start({ signal });
      return plane;
    } catch (error) {
      plane.#release();
      throw error;
    }
  }

  /**
   * Tries whether this process may configure IPsec and the kernel has the ESP for it, before
   * anything else is begun, and whether the kernel forwards for what is behind it. Leaves nothing behind.
   *
   * @throws DataPlaneError `ERR_NOT_ROOT`, `ERR_NO_ESP`, `ERR_NO_FORWARDING`
   */
  static async probe(options: { ifId: number; site?: Site; signal?: AbortSignal }): Promise<void> {
    checkForwarding(siteOf(options));
    using xfrm = new XfrmClient();
    await probeKernel(xfrm, options.ifId, options);
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
   * @throws DataPlaneError `ERR_PEER_EXISTS`, `ERR_DATA_PLANE_CLOSED`; XfrmError; ValueError
   */
  async addPeer(addresses: PeerAddresses, underlay: Underlay): Promise<void> {
    this.#check();
    checkVirtual(addresses.virtualAddresses);
    const { ifId, virtualAddresses } = this.#options;
    const reqid = this.#peers.freeReqid(this.#firstReqid ?? 0);
    const ours = { virtualAddresses, subnets: siteOf(this.#options).subnets };
    const interfaceIndex = this.#interfaceIndex;
    const peer = new PeerRecord(addresses, underlay, { ours, ifId, interfaceIndex, reqid });
    const policies = [...peerPolicies(peer.context), ...gatePolicies(peer.context, 'closed')];
    this.#peers.add(peer);
    await peer.serially(async () => {
      try {
        rethrow(await this.#xfrm.updatePolicies(policies));
        await this.#route(peer.subnets);
      } catch (error) {
        await this.#unroute(peer.subnets);
        this.#peers.delete(peer);
        await this.#xfrm.deletePolicies(policies);
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
      rethrow(await this.#xfrm.updatePolicies(policies));
      peer.underlay = underlay;
      await this.#clear(peer);
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
      const gate = peer.canSend ? 'open' : 'closed';
      await this.#unroute(gone);
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
      const policies = [...peerPolicies(peer.context), ...gatePolicies(peer.context, 'closed')];
      await this.#unroute(peer.subnets);
      rethrow(await this.#xfrm.deletePolicies(policies));
      await this.#clear(peer);
    });
  }

  /**
   * Reserves an SPI for the SA by which this peer will send to us. The kernel keeps it for
   * `net.core.xfrm_acq_expires` seconds (30 as it comes).
   */
  async allocateSpi(peerId: string): Promise<number> {
    const peer = this.#peer(peerId);
    return peer.serially(async () => {
      const { reqid, underlay } = peer;
      const { ifId } = this.#options;
      const request = { ...saEnds(underlay, 'in'), mode: 'tunnel', reqid, ifId } as const;
      const { spi } = await this.#xfrm.allocateSpi(request);
      peer.put({ spi, direction: 'in', larval: true });
      return spi;
    });
  }

  /** Puts keys under a reserved SPI: from now on the peer may send. @throws XfrmError `ERR_XFRM_NOT_FOUND` if the reservation ran out. */
  async installInbound(
    peerId: string,
    spi: number,
    keys: SaKeys,
    options: SaOptions = {},
  ): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(async () => {
      const spec = saState(peer.context, 'in', spi, keys, options);
      try {
        await this.#xfrm.updateState(spec);
      } finally {
        spec.aead.key.wipe();
      }
      peer.put({ spi, direction: 'in', larval: false });
    });
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
    await peer.serially(async () => {
      const spec = saState(peer.context, 'out', spi, keys, options);
      try {
        await this.#xfrm.addState(spec);
      } finally {
        spec.aead.key.wipe();
      }
      peer.put({ spi, direction: 'out', larval: false });
      rethrow(await this.#xfrm.updatePolicies(gatePolicies(peer.context, 'open')));
      await this.#settle(peer);
    });
  }

  /**
   * A NAT shows the peer at another port: every SA in UDP follows as it is, keys and counters kept.
   * Another address needs other SAs: {@link updatePeerUnderlay}.
   */
  async remap(peerId: string, remotePort: number): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(async () => {
      for (const { spi, direction, larval } of peer.sas) {
        if (larval) continue;
        const { destination } = saEnds(peer.underlay, direction);
        const state = await this.#find(destination, spi);
        const spec = state && remapped(state, direction, remotePort);
        if (spec !== undefined) await this.#xfrm.updateState(spec);
      }
    });
  }

  /** Tells a NAT between that the mapping is in use; nothing where no port for ESP in UDP is open. */
  keepalive(peerId: string, remotePort: number): void {
    this.#udp?.keepalive(this.#peer(peerId).underlay.remote, remotePort);
  }

  /** Removes one SA, which may be gone already. */
  async removeSa(peerId: string, spi: number, direction: SaDirection): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(async () => {
      peer.drop(direction, spi);
      await this.#closeGate(peer);
      const { destination } = saEnds(peer.underlay, direction);
      rethrow(await this.#xfrm.deleteStates([{ destination, spi }]));
    });
  }

  /**
   * Keys could not be agreed on: forgets that the kernel asked, so that the next packet raises
   * `acquire` again rather than after `net.core.xfrm_acq_expires` seconds.
   */
  async rejectAcquire(peerId: string): Promise<void> {
    const peer = this.#peer(peerId);
    await peer.serially(() => this.#settle(peer));
  }

  /** What went through one SA, from the kernel; undefined if it is gone. */
  async packets(peerId: string, spi: number, direction: SaDirection): Promise<bigint | undefined> {
    const { destination } = saEnds(this.#peer(peerId).underlay, direction);
    return (await this.#find(destination, spi))?.usage.packets;
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

  /** Waits for what is under way, then removes all that is ours from the kernel, and nothing else. */
  close(): Promise<void> {
    this.#closing ??= this.#stop();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #start(call: { readonly signal: AbortSignal | undefined }): Promise<void> {
    await probeKernel(this.#xfrm, this.#options.ifId, call);
    const ownsInterface = await claim(this.#links, this.#options, call);
    await removeOwned(this.#xfrm, { ...this.#owner, ownsInterface }, call);
    this.#firstReqid = await reserveReqids(this.#xfrm, call);
    try {
      this.#interfaceIndex = await build(this.#links, this.#options, call);
      const index = this.#interfaceIndex;
      this.#routes = await SubnetRoutes.open(this.#links, this.#options, index, call);
    } catch (error) {
      await dismantle(this.#links, this.#options, {});
      throw error;
    }
  }

  async #route(subnets: readonly string[]): Promise<void> {
    for (const subnet of subnets) {
      if (!(await this.#routes?.add(subnet))) this.emit('shadowed', subnet);
    }
  }

  async #unroute(subnets: readonly string[]): Promise<void> {
    for (const subnet of subnets) await this.#routes?.remove(subnet);
  }

  async #stop(): Promise<void> {
    try {
      await Promise.all(this.#peers.values().map((peer) => peer.serially(async () => {})));
      await removeOwned(this.#xfrm, this.#owner, {});
      await this.#routes?.close();
      await dismantle(this.#links, this.#options, {});
    } finally {
      this.#release();
    }
  }

  #release(): void {
    this.#closing ??= Promise.resolve();
    this.#owned.dispose();
    this.#peers.clear();
  }

  get #owner(): Ownership {
    const { ifId, virtualAddresses } = this.#options;
    const ownsInterface = (index: number): boolean => index === this.#interfaceIndex;
    return { ifId, virtualAddresses, ownsInterface, firstReqid: this.#firstReqid };
  }

  #check(): void {
    if (this.#closing !== undefined) throw planeClosed();
  }

  #peer(id: string): PeerRecord {
    this.#check();
    return this.#peers.get(id);
  }

  async #find(destination: string, spi: number): Promise<State | undefined> {
    try {
      return await this.#xfrm.getState({ destination, spi });
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async #clear(peer: PeerRecord): Promise<void> {
    await removeStates(this.#xfrm, (state) => state.reqid === peer.reqid, {});
    for (const { direction, spi } of peer.sas) peer.drop(direction, spi);
    peer.wanted = false;
    peer.acquired = [];
  }

  /** The kernel's question is answered: it may ask again when it has to. */
  async #settle(peer: PeerRecord): Promise<void> {
    const acquired = peer.acquired;
    peer.acquired = [];
    for (const state of acquired) await removeAcquired(this.#xfrm, state, {});
    peer.wanted = false;
  }

  /** Without an SA to send by, packets are to wait again. */
  async #closeGate(peer: PeerRecord): Promise<void> {
    if (peer.canSend) return;
    rethrow(await this.#xfrm.updatePolicies(gatePolicies(peer.context, 'closed')));
  }
}

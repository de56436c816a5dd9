/**
 * A running member: one VM in one service.
 *
 * ```
 * start ─▶ host ─▶ standing ─────────▶ data plane ─▶ gate, tier 2 ─▶ directory ─▶ up
 *                  from the cache, or   interface,    others' door    members,
 *                  by SRP, once         addresses                     trap policies
 * ```
 */
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { formatPrefix } from '../codec/ip.ts';
import { IcvpnError } from '../errors.ts';
import { DataPlane } from '../ipsec/dataplane.ts';
import type { ExchangeContext } from '../keymgmt/exchange/context.ts';
import { ALL_SUITES, type Lifetimes } from '../keymgmt/exchange/suite.ts';
import { DirectoryClient } from '../overlay/directory-client.ts';
import { createHost, type Host } from '../overlay/host.ts';
import type { Member as Listed } from '../overlay/membership.ts';
import { type Bootstrap, formatBootstrap, parseBootstrap } from '../records/bootstrap.ts';
import { interfaceId, ipv6Prefix } from '../records/virtual-address.ts';
import { EndpointPublisher } from './endpoint.ts';
import type { Log } from './log.ts';
import { memberStatus } from './member-status.ts';
import { Peers } from './peers.ts';
import { obtainStanding, type Standing } from './standing.ts';
import { NodeState } from './state.ts';
import type { MemberStatus } from './status.ts';
import { TIER_2, Tier, trustOf } from './tier.ts';
import { underlayOnly } from './underlay.ts';

/**
 * Hard limits of an SA: an hour, or a volume far below what AES-GCM with a 64-bit counter and ESN
 * may carry (RFC 4106, section 6; RFC 8221).
 */
const LIFETIMES: Lifetimes = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };

export interface MemberOptions {
  readonly stateDir: string;
  /** File with the key of the secure cache. */
  readonly keyFile?: string;
  /** Needed at the first start; kept in the secure cache from then on. */
  readonly bootstrap?: Bootstrap;
  readonly vmid: string;
  readonly roles: string[];
  readonly listen: string[];
  readonly announce: string[];
  readonly interfaceName: string;
  readonly log: Log;
  readonly signal: AbortSignal;
}

export class MemberError extends IcvpnError {}

interface Parts {
  readonly host: Host;
  readonly standing: Standing;
  readonly dataPlane: DataPlane;
  readonly directory: DirectoryClient;
  readonly peers: Peers;
}

export class Member implements AsyncDisposable {
  readonly #options: MemberOptions;
  readonly #parts: Parts;
  readonly #owned: AsyncDisposableStack;

  private constructor(options: MemberOptions, parts: Parts, owned: AsyncDisposableStack) {
    this.#options = options;
    this.#parts = parts;
    this.#owned = owned;
  }

  /**
   * @returns a member that is admitted, attached to a super-peer and ready for its first packet
   * @throws IcvpnError with what is wrong; nothing is left in the kernel or running then
   */
  static async start(options: MemberOptions): Promise<Member> {
    await using owned = new AsyncDisposableStack();
    const { log, signal } = options;
    const state = owned.use(await NodeState.open(options.stateDir, options));
    const bootstrap = await keepBootstrap(state, options.bootstrap);
    await DataPlane.probe({ ifId: interfaceId(bootstrap.serviceId), signal });
    const virtual = [ipv6Prefix(bootstrap.serviceId)];
    const announceFilter = underlayOnly(virtual);
    const host = await createHost({ ...options, key: state.key, announceFilter });
    owned.defer(() => host.close());
    const standing = await obtainStanding(state, { ...bootstrap, ...options, host });
    const service = standing.descriptor.value;
    virtual.push(service.ipv4Prefix);
    const { credential } = standing;
    const dataPlane = await DataPlane.open({
      interfaceName: options.interfaceName,
      ifId: interfaceId(service.serviceId),
      virtualAddresses: { ipv4: credential.value.ipv4, ipv6: credential.value.ipv6 },
      prefixes: {
        ipv6: formatPrefix(ipv6Prefix(service.serviceId)),
        ipv4: formatPrefix(service.ipv4Prefix),
      },
      signal,
    });
    owned.defer(() => dataPlane.close());
    const tier = owned.use(
      await Tier.start({
        host,
        kinds: TIER_2,
        scope: service.serviceId,
        descriptor: () => service,
        credential: () => credential.bytes,
        log,
      }),
    );
    const peers = owned.use(
      await Peers.start({
        tier,
        dataPlane,
        local: state.peerId,
        serviceId: service.serviceId,
        trust: () => trustOf(service),
        context: () => exchangeContext(state.key, standing),
        log,
      }),
    );
    const endpoint = owned.use(
      new EndpointPublisher({
        ...{ key: state.key, peerId: state.peerId, serviceId: service.serviceId, log },
        records: tier.records,
        multiaddrs: () => host.multiaddrs(),
      }),
    );
    const directory = new DirectoryClient({
      gate: tier.gate,
      superPeers: () => bootstrap.superPeers.map((each) => each.multiaddr),
      multiaddrs: () => host.multiaddrs(),
      trust: () => trustOf(service),
    });
    owned.defer(() => directory.goodbye());
    directory.on('change', (members) => void follow(members, { tier, peers, log }));
    await directory.attach({ signal });
    await endpoint.publish();
    log('up', { service: service.serviceId, ipv4: credential.value.ipv4 });
    return new Member(options, { host, standing, dataPlane, directory, peers }, owned.move());
  }

  async status(): Promise<MemberStatus> {
    return memberStatus({ ...this.#parts, interfaceName: this.#options.interfaceName });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#options.log('down');
    await this.#owned.disposeAsync();
  }
}

/** A member keeps connections to a few others for the sake of tier 2; exchanges open more. */
const MAX_CONTACTS = 8;

async function follow(
  members: readonly Listed[],
  { tier, peers, log }: { tier: Tier; peers: Peers; log: Log },
): Promise<void> {
  const others = members.filter((each) => !each.peerId.equals(tier.gate.host.peerId));
  for (const each of others.slice(0, MAX_CONTACTS)) {
    tier.contact(
      each.peerId,
      each.multiaddrs.map((text) => multiaddr(text)),
    );
  }
  await peers.set(members).catch((error) => log('peers-failed', { why: String(error) }));
}

/** Bootstrap data given now takes the place of what was kept. @throws MemberError when there is neither */
async function keepBootstrap(state: NodeState, given: Bootstrap | undefined): Promise<Bootstrap> {
  if (given !== undefined) {
    await state.cache.put('bootstrap', new TextEncoder().encode(formatBootstrap(given)));
    return given;
  }
  const kept = await state.cache.get('bootstrap');
  if (kept !== undefined) return parseBootstrap(new TextDecoder().decode(kept));
  throw new MemberError(
    'ERR_NO_BOOTSTRAP',
    `${state.dir} knows no service`,
    "give the service's bootstrap data with --bootstrap at the first start",
  );
}

function exchangeContext(
  key: Ed25519PrivateKey,
  { credential, descriptor, epochPsk }: Standing,
): Omit<ExchangeContext, 'peer' | 'verify'> {
  const { serviceId, epoch } = descriptor.value;
  return {
    identity: { key, credential: credential.bytes },
    serviceId,
    epoch,
    psk: epochPsk,
    suites: ALL_SUITES,
    lifetimes: LIFETIMES,
  };
}

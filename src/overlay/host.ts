/**
 * The libp2p host: one per process, shared by every overlay that the process takes part in.
 *
 * TCP, Noise (which proves the remote PeerID), Yamux, identify and ping. Nothing here knows of
 * services: who may speak to whom is for the gates (`gate.ts`) on top.
 */

import { setMaxListeners } from 'node:events';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { type Identify, identify } from '@libp2p/identify';
import type {
  AbortOptions,
  Connection,
  Ed25519PeerId,
  Libp2p,
  PrivateKey,
} from '@libp2p/interface';
import type { KadDHTComponents } from '@libp2p/kad-dht';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { type Ping, ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import { type TcpMultiaddr, tcpAddressOf } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import { PeerIdError } from '../records/peer-id.ts';
import { type ArrivalLimits, Arrivals } from './arrivals.ts';
import { corked } from './corked.ts';
import { Guards } from './guard/guards.ts';
import { type StrangerLimits, Strangers } from './strangers.ts';
import { Surplus, type SurplusLimits } from './surplus.ts';
import { keepUnlisted, NODE_INFO } from './unlisted.ts';

/**
 * Connections that one host has at most, idle or not (idle ones are ended long before: `surplus.ts`).
 * Strangers have fewer places, so that they keep no member out (`arrivals.ts`).
 */
const MAX_CONNECTIONS = 8192;
/** New connections from one address within a second; what lasts is held lower (`arrivals.ts`). */
const INBOUND_PER_SECOND = 512;
/**
 * Milliseconds between the probes that find dead connections nobody is using. Rare, since a member
 * may have a hundred idle ones; the gate probes at once where a stream does not open.
 */
const PROBE_INTERVAL = 15 * 60_000;
/**
 * Milliseconds without any traffic after which a connection is closed. Longer than the probes are
 * apart: libp2p's own 2 minutes would close what kad-dht then opens anew, again and again.
 */
const INACTIVITY_LIMIT = 20 * 60_000;

export class HostError extends IcvpnError {}

export interface HostOptions extends AbortOptions {
  /** The node's own key; Ed25519. */
  readonly key: PrivateKey;
  /** Multiaddrs to listen at, such as `/ip4/0.0.0.0/tcp/4001`; none for a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs to tell others instead of those listened at, for a node behind a NAT. */
  readonly announce?: readonly string[];
  /** Which of the addresses found are told to others. Default: all. */
  readonly announceFilter?: (all: Multiaddr[]) => Multiaddr[];
  /** How long those may stay who pass no gate, where that is to differ from the usual. */
  readonly strangers?: Partial<StrangerLimits>;
  /** How many places strangers have, where that is to differ from the usual. */
  readonly arrivals?: Partial<ArrivalLimits>;
  /** How many idle connections are kept, where that is to differ from the usual. */
  readonly surplus?: Partial<SurplusLimits>;
}

interface HostServices extends Record<string, unknown> {
  identify: Identify;
  ping: Ping;
  inside: { components: KadDHTComponents };
}

export interface Host {
  readonly peerId: Ed25519PeerId;
  readonly libp2p: Libp2p<HostServices>;
  /** libp2p's own parts, for protocols that are started later than the host. */
  readonly components: KadDHTComponents;
  /** Ends connections of those who pass no gate. */
  readonly strangers: Strangers;
  /** Shares the places for strangers out. */
  readonly arrivals: Arrivals;
  /** Hold what comes on connections to its limits. */
  readonly guards: Guards;
  /** Ends idle connections of which there are too many. */
  readonly surplus: Surplus;
  /** Exchanges the addresses at which both ends can be dialled: tells the peer store, not the caller. */
  identify(connection: Connection): void;
  /** The addresses that others can dial. */
  multiaddrs(): TcpMultiaddr[];
  /** Closes every connection and listener. */
  close(): Promise<void>;
}

/**
 * Starts a host.
 *
 * @throws HostError `ERR_ADDRESS_IN_USE` or `ERR_LISTEN` when an address cannot be listened at
 */
export async function createHost(options: HostOptions): Promise<Host> {
  const { key, listen, announce, announceFilter, signal } = options;
  const peerId = peerIdFromPrivateKey(key);
  if (peerId.type !== 'Ed25519') throw new PeerIdError(peerId.toString());
  signal?.throwIfAborted();
  const guards = new Guards((connection) => strangers.isSpared(connection));
  const arrivals = new Arrivals(options.arrivals);
  const libp2p = await createLibp2p<HostServices>({
    start: false,
    privateKey: key,
    nodeInfo: NODE_INFO,
    addresses: {
      listen: [...listen],
      ...(announce?.length && { announce: [...announce] }),
      ...(announceFilter && { announceFilter }),
    },
    transports: [
      guards.transport(
        tcp({
          inboundSocketInactivityTimeout: INACTIVITY_LIMIT,
          outboundSocketInactivityTimeout: INACTIVITY_LIMIT,
        }),
      ),
    ],
    connectionEncrypters: [guards.encrypter(corked(noise()))],
    // Its own keep-alive, every 30 s on each connection, would be most of what an idle member sends.
    streamMuxers: [yamux({ enableKeepAlive: false })],
    connectionManager: {
      maxConnections: MAX_CONNECTIONS,
      inboundConnectionThreshold: INBOUND_PER_SECOND,
      // Shared out by host and site instead: `arrivals.ts`.
      maxIncomingPendingConnections: MAX_CONNECTIONS,
    },
    connectionGater: arrivals,
    connectionMonitor: { pingInterval: PROBE_INTERVAL },
    services: {
      // Costs both ends a signature and a stream: only for those who pass a gate.
      identify: identify({ runOnConnectionOpen: false }),
      ping: ping(),
      inside: (components) => ({ components }),
    },
  });
  const { components } = libp2p.services.inside;
  keepUnlisted(components);
  const strangers = new Strangers(() => libp2p.getConnections(), options.strangers);
  libp2p.addEventListener('connection:open', ({ detail }) => guards.opened(detail));
  try {
    await libp2p.start();
    signal?.throwIfAborted();
  } catch (cause) {
    await libp2p.stop();
    signal?.throwIfAborted();
    throw listenError(listen, cause);
  }
  strangers.start();
  const surplus = new Surplus(() => libp2p.getConnections(), options.surplus);
  surplus.start();
  const identified = new WeakSet<Connection>();
  return {
    ...{ peerId, libp2p, components, strangers, arrivals, guards, surplus },
    identify: (connection) => {
      if (identified.has(connection)) return;
      identified.add(connection);
      // Whose addresses do not come this way is dialled at those that others tell.
      libp2p.services.identify.identify(connection).catch(() => undefined);
    },
    multiaddrs: () => libp2p.getMultiaddrs().flatMap((each) => tcpAddressOf(each) ?? []),
    close: async () => {
      strangers.close();
      surplus.close();
      await libp2p.stop();
    },
  };
}

/** @param message libp2p's, which has a line and a stack for each address. @returns the system's word */
function listenCause(message: string): string {
  const [, why] = /\blisten (E[A-Z]+: [^\n]*)/.exec(message) ?? [];
  return why ?? message.split('\n')[0] ?? '';
}

function listenError(listen: readonly string[], cause: unknown): unknown {
  if (!(cause instanceof Error)) return cause;
  const where = listen.join(', ');
  if (cause.message.includes('EADDRINUSE')) {
    return new HostError(
      'ERR_ADDRESS_IN_USE',
      `another program already listens at one of ${where}`,
      'stop that program (ss -ltnp shows it) or choose another listen address',
      { cause },
    );
  }
  if (cause.name === 'UnsupportedListenAddressesError') {
    return new HostError(
      'ERR_LISTEN',
      `cannot listen at ${where}: ${listenCause(cause.message)}`,
      'give --listen addresses of this machine, such as /ip4/0.0.0.0/tcp/4242',
      { cause },
    );
  }
  return cause;
}

/** @returns a signal for work that ends with `life`, with the caller's wish, or after `limit` ms */
export function timeLimit(limit: number, ...signals: (AbortSignal | undefined)[]): AbortSignal {
  const given = signals.filter((each) => each !== undefined);
  const signal = AbortSignal.any([AbortSignal.timeout(limit), ...given]);
  // libp2p hangs many listeners on one signal; that is no leak, each is taken off again.
  setMaxListeners(Number.POSITIVE_INFINITY, signal);
  return signal;
}

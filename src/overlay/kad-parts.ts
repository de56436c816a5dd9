/**
 * libp2p's parts as kad-dht gets them: five of them exchanged.
 *
 * ```
 * registrar          streams of peers that did not pass are refused; peers become known when they pass
 * connectionManager  a stream to a peer opens behind a hello
 * ping               the proof before a peer enters the routing table: it has passed, and it serves kad. Who is
 *                    only told of is dialled for that while the table is small; later when a lookup leads to it
 *                    (Maymounkov and Mazières, Kademlia, 2002, section 2.2: a node takes up whom it exchanges
 *                    messages with)
 * datastore          the record store, which never goes back (kad-datastore.ts)
 * peerStore          tags nobody: libp2p would dial the tagged whenever they go, without a hello, and the other
 *                    end would take that for a stranger's connection and close it, again and again
 * ```
 */
import { type AbortOptions, isPeerId, type PeerId, type Stream } from '@libp2p/interface';
import type { KadDHTComponents } from '@libp2p/kad-dht';
import { type Gate, GateError } from './gate.ts';
import type { KadDatastore } from './kad-datastore.ts';

/** The protocol id is `/icvpn/<overlay>/` and this. */
export const KAD = 'kad/1.0.0';

export interface KadPartsOptions {
  readonly gate: Gate;
  readonly datastore: KadDatastore;
  /** Whether a peer is worth dialling for the routing table's sake. */
  readonly isWanted: (peer: PeerId) => boolean;
  /** Until addresses that others told of a peer can be dialled; undefined when they can. */
  readonly addressesStored: (peer: PeerId) => Promise<void> | undefined;
  /** @throws GateError when the routing table is not to take another peer of this one's network */
  readonly checkRoom: (peer: PeerId) => void;
}

export function kadParts(options: KadPartsOptions): KadDHTComponents {
  const { gate, datastore, isWanted, addressesStored, checkRoom } = options;
  const { components } = gate.host;
  const prefix = gate.protocol('');
  const suffixOf = (protocol: string): string => protocol.slice(prefix.length);
  const open = async (peer: PeerId, call: AbortOptions): Promise<Stream> => {
    await addressesStored(peer);
    return gate.open(peer, KAD, call);
  };
  const { peerId, privateKey, addressManager, peerStore, events, logger } = components;
  return {
    peerId,
    privateKey,
    addressManager,
    events,
    logger,
    datastore,
    peerStore: withMethods(peerStore, {
      merge: (peer, { tags: _, ...data }, options) => peerStore.merge(peer, data, options),
    }),
    registrar: withMethods(components.registrar, {
      handle: (protocol, handler, options) => gate.handle(suffixOf(protocol), handler, options),
      unhandle: async (protocols) => {
        for (const each of [protocols].flat()) await gate.unhandle(suffixOf(each));
      },
      // kad-dht would take up every peer that identify says speaks its protocol. Here peers come
      // from the gate alone.
      register: async () => '',
      unregister: () => undefined,
    }),
    connectionManager: withMethods(components.connectionManager, {
      openStream: async (target, _protocol, call = {}) => {
        if (!isPeerId(target)) throw new GateError('ERR_UNREACHABLE', 'kad-dht dials PeerIDs');
        return open(target, call);
      },
    }),
    ping: {
      ping: async (target, call = {}) => {
        if (!isPeerId(target)) throw new GateError('ERR_UNREACHABLE', 'kad-dht pings PeerIDs');
        if (!gate.isAdmitted(target) && !isWanted(target)) {
          throw new GateError('ERR_UNREACHABLE', `${target} is only told of`);
        }
        const begun = performance.now();
        const stream = await open(target, call);
        await stream.close(call);
        checkRoom(target);
        return performance.now() - begun;
      },
    },
  };
}

/** @returns `target` with some of its methods exchanged */
function withMethods<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      if (Object.hasOwn(methods, name)) return Reflect.get(methods, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

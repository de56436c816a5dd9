/** Puts a guard on every connection of a host, where libp2p makes and encrypts them. */
import type {
  Connection,
  ConnectionEncrypter,
  MessageStream,
  MultiaddrConnection,
  SecuredConnection,
  Transport,
  Upgrader,
} from '@libp2p/interface';
import type { Registrar } from '@libp2p/interface-internal';
import { ConnectionGuard } from './connection-guard.ts';
import { GuardError } from './errors.ts';
import { StrangerMemory } from './stranger-memory.ts';

type Make<Components, Made> = (components: Components) => Made;

export class Guards {
  readonly memory = new StrangerMemory();
  readonly #guards = new WeakMap<MessageStream, ConnectionGuard>();
  /** By the timeline that a connection shares with the socket under it. */
  readonly #connections = new WeakMap<object, Connection>();
  readonly #isKnown: (connection: Connection) => boolean;
  #refusals = 0;
  #serves: (protocol: string) => boolean = () => true;

  /** @param isKnown whether the other end of a connection has proved that it belongs here */
  constructor(isKnown: (connection: Connection) => boolean) {
    this.#isKnown = isKnown;
  }

  /** Connections that broke a rule and were ended. */
  get refusals(): number {
    return this.#refusals;
  }

  /** A connection is ready. Call it for each. */
  opened(connection: Connection): void {
    this.#connections.set(connection.timeline, connection);
  }

  /** The same transport, with a guard on each connection before anything reads from it. */
  transport<Components>(make: Make<Components, Transport>): Make<Components, Transport> {
    return (components) => {
      const transport = make(components);
      const dial = transport.dial.bind(transport);
      const createListener = transport.createListener.bind(transport);
      transport.dial = (address, options) =>
        dial(address, { ...options, upgrader: this.#upgrader(options.upgrader) });
      transport.createListener = (options) =>
        createListener({ ...options, upgrader: this.#upgrader(options.upgrader) });
      return transport;
    };
  }

  /**
   * The same encrypter, with a guard on what it decrypts. The multiplexer is agreed upon within the
   * handshake, as every node here does: libp2p's own negotiation of it afterwards is not reached.
   */
  encrypter<Components>(
    make: Make<Components, ConnectionEncrypter>,
  ): Make<Components & { readonly registrar: Registrar }, ConnectionEncrypter> {
    return (components) => {
      const encrypter = make(components);
      this.#serves = (protocol) => components.registrar.getProtocols().includes(protocol);
      return {
        protocol: encrypter.protocol,
        secureInbound: async (connection, options) =>
          this.#secured(connection, await encrypter.secureInbound(connection, options)),
        secureOutbound: async (connection, options) =>
          this.#secured(connection, await encrypter.secureOutbound(connection, options)),
      };
    };
  }

  #secured(connection: MessageStream, secured: SecuredConnection): SecuredConnection {
    const { streamMuxer } = secured;
    if (streamMuxer === undefined) throw new GuardError('does not agree upon a multiplexer');
    const guard = this.#guards.get(connection);
    return guard ? { ...secured, streamMuxer: guard.multiplexer(streamMuxer) } : secured;
  }

  #guard(connection: MultiaddrConnection): void {
    const { timeline } = connection;
    const guard = new ConnectionGuard(connection, {
      isKnown: () => {
        const opened = this.#connections.get(timeline);
        return opened !== undefined && this.#isKnown(opened);
      },
      serves: (protocol) => this.#serves(protocol),
      memory: this.memory,
      onRefusal: () => void this.#refusals++,
    });
    this.#guards.set(connection, guard);
  }

  #upgrader(upgrader: Upgrader): Upgrader {
    return {
      createInboundAbortSignal: upgrader.createInboundAbortSignal.bind(upgrader),
      getStreamMuxers: upgrader.getStreamMuxers.bind(upgrader),
      getConnectionEncrypters: upgrader.getConnectionEncrypters.bind(upgrader),
      upgradeInbound: (...[connection, options]: Parameters<Upgrader['upgradeInbound']>) => {
        this.#guard(connection);
        return upgrader.upgradeInbound(connection, options);
      },
      upgradeOutbound: (...[connection, options]: Parameters<Upgrader['upgradeOutbound']>) => {
        this.#guard(connection);
        return upgrader.upgradeOutbound(connection, options);
      },
    };
  }
}

/**
 * Which connections of one overlay have passed its gate, and the streams on them.
 *
 * A passage belongs to a connection, so that both ends forget it at the same moment, and it is held
 * against the rule again at each use.
 */
import type { Connection, Ed25519PeerId, PeerId, Stream } from '@libp2p/interface';
import { containing } from '../events.ts';
import type { Host } from './host.ts';
import { GateError, type Pass, type PassRule } from './pass.ts';

export interface Passage {
  readonly pass: Pass;
  /** What this node showed: when it has a newer one, it must be shown too. */
  readonly shown: Uint8Array | undefined;
}

export interface PassagesOptions {
  readonly host: Host;
  readonly rule: PassRule;
  /** A node passed that had not passed on another connection. */
  readonly onAdmitted: (peer: Ed25519PeerId) => void;
  /** A node's last connection closed, or it may no longer pass. */
  readonly onLeft: (peer: Ed25519PeerId) => void;
}

export class Passages {
  readonly #options: PassagesOptions;
  readonly #passages = new Map<Connection, Passage>();
  readonly #streams = new Map<Connection, Set<Stream>>();

  constructor(options: PassagesOptions) {
    this.#options = options;
  }

  /** @returns how the node at the other end passed, if it still may; forgets it if not */
  of(connection: Connection): Passage | undefined {
    const passage = this.#passages.get(connection);
    if (passage === undefined) return undefined;
    const fault = this.#options.rule.fault(connection.remotePeer, passage.pass);
    if (fault === undefined) return passage;
    this.forget(connection, fault);
    return undefined;
  }

  /** @returns the passages of one node that still hold */
  to(peer: PeerId): Passage[] {
    return this.#options.host.libp2p
      .getConnections(peer)
      .map((connection) => this.of(connection))
      .filter((each) => each !== undefined);
  }

  /** @returns every node with a passage that still holds */
  peers(): Ed25519PeerId[] {
    const peers = new Map<string, Ed25519PeerId>();
    for (const connection of [...this.#passages.keys()]) {
      const peer = connection.remotePeer;
      if (peer.type === 'Ed25519' && this.of(connection)) peers.set(peer.toString(), peer);
    }
    return [...peers.values()];
  }

  /** @throws GateError when the connection has closed */
  enter(connection: Connection, passage: Passage): void {
    const peer = connection.remotePeer;
    if (connection.status !== 'open' || peer.type !== 'Ed25519') {
      throw new GateError('ERR_UNREACHABLE', `the connection to ${peer} closed`);
    }
    const known = this.#remembers(peer);
    if (!this.#passages.has(connection)) {
      const onClose = containing('close', () => this.forget(connection));
      connection.addEventListener('close', onClose, { once: true });
      this.#options.host.identify(connection);
      if (connection.direction === 'inbound') this.#options.host.arrivals.known(connection);
    }
    this.#passages.set(connection, passage);
    if (!known) this.#options.onAdmitted(peer);
  }

  /** @param error why the streams are reset; without it they are left to their connection's end */
  forget(connection: Connection, error?: GateError): void {
    if (!this.#passages.delete(connection)) return;
    if (error) for (const stream of this.#streams.get(connection) ?? []) stream.abort(error);
    this.#streams.delete(connection);
    const peer = connection.remotePeer;
    if (peer.type === 'Ed25519' && !this.#remembers(peer)) this.#options.onLeft(peer);
  }

  /** Cuts off those who may no longer pass. */
  recheck(): void {
    for (const connection of [...this.#passages.keys()]) this.of(connection);
  }

  forgetAll(error: GateError): void {
    for (const connection of [...this.#passages.keys()]) this.forget(connection, error);
  }

  /** Notes a stream that must end when its connection's passage does. */
  track(connection: Connection, stream: Stream): void {
    this.#options.host.surplus.used(connection);
    const streams = this.#streams.get(connection) ?? new Set();
    this.#streams.set(connection, streams.add(stream));
    stream.addEventListener('close', () => void streams.delete(stream), { once: true });
  }

  #remembers(peer: PeerId): boolean {
    return this.#options.host.libp2p.getConnections(peer).some((each) => this.#passages.has(each));
  }
}

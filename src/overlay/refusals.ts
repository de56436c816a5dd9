/**
 * What refusals at a gate teach: this node is behind its service, or the other node is.
 *
 * ```
 *  refused, with a descriptor ─▶ store ─▶ trust: newer epoch ─▶ renewal
 *  refused, older epoch, by a super-peer ─▶ publish: the newest descriptor
 * ```
 */
import type { PeerId } from '@libp2p/interface';
import { openDescriptor } from '../records/descriptor.ts';
import type { Gate } from './gate.ts';
import { publishRecord } from './publish.ts';
import type { RecordStore } from './record-store.ts';
import { holdDescriptor, type ServiceTrust } from './service-trust.ts';
import { DESCRIPTOR_RECORD } from './stored-kinds.ts';

export interface RefusalsOptions {
  readonly gate: Gate;
  readonly store: RecordStore;
  /** Of the service that the gate is of. */
  readonly trust: ServiceTrust;
  readonly log: (event: string, fields: Readonly<Record<string, string | object>>) => void;
}

export class Refusals implements Disposable {
  readonly #options: RefusalsOptions;
  readonly #life = new AbortController();
  /** The sequence that each super-peer that was behind has been told, or is being told. */
  readonly #told = new Map<string, number>();

  constructor(options: RefusalsOptions) {
    this.#options = options;
    const { gate } = options;
    gate.on('descriptor', this.#onDescriptor);
    gate.on('behind', this.#onBehind);
  }

  readonly #onDescriptor = (bytes: Uint8Array): void => {
    this.#take(bytes).catch((error) => {
      this.#options.log('descriptor-refused', { why: String(error) });
    });
  };

  readonly #onBehind = (peer: PeerId): void => {
    this.#tell(peer).catch((error) => {
      this.#told.delete(peer.toString());
      if (this.#life.signal.aborted) return;
      this.#options.log('descriptor-not-taken', { superPeer: peer, why: String(error) });
    });
  };

  /** From whomever it comes: the owner has signed it, and the store takes the newest only. */
  async #take(bytes: Uint8Array): Promise<void> {
    const { store, trust } = this.#options;
    const opened = await openDescriptor(bytes);
    if (opened.value.serviceId.equals(trust.serviceId)) await holdDescriptor(store, opened);
  }

  /** Members find no way into a super-peer that has missed an epoch, as it does not know their credentials. */
  async #tell(peer: PeerId): Promise<void> {
    const { gate, trust } = this.#options;
    const { bytes, value } = trust.descriptor;
    const name = peer.toString();
    if (!value.admitters.some(({ peerId }) => peerId.equals(peer))) return;
    if (this.#told.get(name) === value.sequence) return;
    const [connection] = gate.host.libp2p.getConnections(peer);
    if (connection === undefined) return;
    this.#told.set(name, value.sequence);
    const { signal } = this.#life;
    await publishRecord(gate.host, connection.remoteAddr, DESCRIPTOR_RECORD, bytes, { signal });
  }

  [Symbol.dispose](): void {
    this.#options.gate.off('descriptor', this.#onDescriptor);
    this.#options.gate.off('behind', this.#onBehind);
    this.#life.abort();
  }
}

/**
 * Spread on a simulated network: the product's rule of what is pushed, compared and taken, and messages
 * instead of streams. Each is a byte, what it is, and a frame.
 *
 *     push    record                 ask ─▶ … push, push, answer {want} ─▶ push, push
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Audience } from '../../../src/overlay/audience.ts';
import type { RecordStore } from '../../../src/overlay/record-store.ts';
import {
  SPREAD_FRAME,
  type SpreadFrame,
  type SpreadRecord,
  spreadFrame,
} from '../../../src/overlay/spread-messages.ts';
import { SpreadRule } from '../../../src/overlay/spread-rule.ts';
import { SPREAD_KINDS } from '../../../src/overlay/stored-kinds.ts';
import type { Message, Simulation } from './simulation.ts';

/** Virtual milliseconds between syncs, give or take a half. */
const SYNC_INTERVAL = 60_000;

const VERBS = ['push', 'ask', 'answer'] as const;
type Verb = (typeof VERBS)[number];

/** Where the nodes that spread are in the network. */
export interface SpreadPlaces {
  indexOf(peer: string): number | undefined;
  peerAt(index: number): Ed25519PeerId | undefined;
}

export interface SimulatedSpreadOptions {
  readonly simulation: Simulation;
  readonly index: number;
  readonly store: RecordStore;
  readonly audience: Audience;
  readonly places: SpreadPlaces;
  /** With whom this node is connected; nobody while it is away. */
  readonly peers: () => readonly Ed25519PeerId[];
}

export class SimulatedSpread {
  readonly #options: SimulatedSpreadOptions;
  readonly #rule: SpreadRule;

  constructor(options: SimulatedSpreadOptions) {
    this.#options = options;
    const { simulation, index, store, audience } = options;
    this.#rule = new SpreadRule({ store, audience, kinds: SPREAD_KINDS });
    store.on('held', (held) => {
      for (const target of this.#rule.targets(held))
        this.#send(String(target), 'push', { record: held });
    });
    simulation.attach(index, (received) => void this.#receive(received));
    this.#schedule();
  }

  /** As when two nodes meet. */
  sync(peer: Ed25519PeerId): void {
    this.#send(peer.toString(), 'ask', { have: this.#rule.summary(peer) });
  }

  #schedule(): void {
    const { simulation, peers } = this.#options;
    simulation.after(SYNC_INTERVAL * (0.5 + simulation.random()), () => {
      const all = peers();
      const peer = all[simulation.pick(Math.max(1, all.length))];
      if (peer) this.sync(peer);
      this.#schedule();
    });
  }

  #send(peer: string, verb: Verb, fields: Partial<SpreadFrame>): void {
    const { simulation, index, places, peers } = this.#options;
    const to = places.indexOf(peer);
    if (to === undefined || peers().length === 0) return;
    const bytes = SPREAD_FRAME.encode(spreadFrame(fields));
    simulation.send({
      ...{ from: index, to, label: `spread ${verb}` },
      bytes: Uint8Array.from([VERBS.indexOf(verb), ...bytes]),
    });
  }

  #pushAll(peer: string, records: readonly SpreadRecord[]): void {
    for (const record of records) this.#send(peer, 'push', { record });
  }

  async #receive({ from, bytes }: Message): Promise<void> {
    const { places, peers } = this.#options;
    const peer = places.peerAt(from);
    if (peer === undefined || peers().length === 0) return;
    try {
      const frame = SPREAD_FRAME.decode(bytes.subarray(1));
      const verb = VERBS[bytes[0] ?? VERBS.length];
      if (verb === 'push' && frame.record) await this.#rule.take(frame.record, peer);
      if (verb === 'answer') this.#pushAll(peer.toString(), this.#rule.records(frame.want, peer));
      if (verb !== 'ask') return;
      const { newer, want } = this.#rule.compare(frame.have, peer);
      this.#pushAll(peer.toString(), this.#rule.records(newer, peer));
      this.#send(peer.toString(), 'answer', { want });
    } catch {
      // Damaged on the way, or forged by that: it counts for nothing.
    }
  }
}

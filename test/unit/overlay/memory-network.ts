/** The nodes closest to a key, without a network: each is a record store, honest or not. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbortOptions } from '@libp2p/interface';
import type { RecordNetwork } from '../../../src/overlay/dht.ts';
import type { RecordStore } from '../../../src/overlay/record-store.ts';

interface Manner {
  /** What the node does when asked; honest nodes answer with what they hold. */
  readonly answer?: string;
  /** Whether it refuses to store. */
  readonly refuses?: boolean;
  /** Where in the order of answers it stands. */
  readonly place?: number;
}

interface Node {
  readonly store: RecordStore;
  readonly manner: Manner;
}

export class MemoryNetwork {
  readonly #nodes: Node[] = [];

  join(store: RecordStore, manner: Manner = {}): RecordNetwork {
    this.#nodes.splice(manner.place ?? this.#nodes.length, 0, { store, manner });
    const others = (): Node[] => this.#nodes.filter((each) => each.store !== store);
    return {
      store: (key, bytes) => this.storeFrom(store, key, bytes),
      collect: (key, options) => collect(others(), key, options),
    };
  }

  /** @returns how many nodes stored the record; `from` is the one that sends it */
  async storeFrom(from: RecordStore | undefined, key: string, bytes: Uint8Array): Promise<number> {
    let stored = 0;
    for (const { store, manner } of this.#nodes) {
      if (store === from || manner.refuses || manner.answer !== undefined) continue;
      await store.accept(key, bytes).then(
        () => stored++,
        () => undefined,
      );
    }
    return stored;
  }
}

async function* collect(
  nodes: readonly Node[],
  key: string,
  options: AbortOptions,
): AsyncIterable<Uint8Array> {
  for (const { store, manner } of nodes) {
    if (manner.answer === 'hangs') await sleep(60_000, undefined, options);
    if (manner.answer === 'garbage') yield Buffer.from('garbage');
    const silent = ['nothing', 'garbage'].includes(manner.answer ?? '');
    const held = silent ? undefined : store.held(key)?.bytes;
    if (held) yield held;
  }
}

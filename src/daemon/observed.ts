/**
 * Where this node is seen from outside: what the service's super-peers say, by libp2p's identify, of
 * the connections to them. Behind a NAT that gives a machine an address of its own (an elastic or
 * floating IP) others can dial it there, though no interface has it.
 *
 * ```
 *   super-peer ── identify: I see you at 198.51.100.7 ──▶ not one of mine ──▶ endpoint record: candidate
 * ```
 */
import type { Ed25519PeerId, IdentifyResult } from '@libp2p/interface';
import { ipOf } from '../codec/multiaddr.ts';
import { containing, Emitter } from '../events.ts';
import type { Host } from '../overlay/host.ts';

export interface ObservedOptions {
  readonly host: Pick<Host, 'libp2p'>;
  /** Who is believed: nobody else's word counts. */
  readonly superPeers: () => readonly Ed25519PeerId[];
  /** Of this machine's interfaces. */
  readonly addresses: () => readonly string[];
  /** Whether an address can be one at which other machines reach this one. */
  readonly isUnderlay: (address: string) => boolean;
}

interface ObservedEvents {
  /** The addresses are others now. */
  change: [];
}

export class ObservedAddresses extends Emitter<ObservedEvents> implements Disposable {
  readonly #options: ObservedOptions;
  /** By super-peer, so there are no more than those. */
  readonly #seen = new Map<string, string>();
  readonly #onIdentify = containing('peer:identify', ({ detail }: CustomEvent<IdentifyResult>) =>
    this.#learn(detail),
  );

  constructor(options: ObservedOptions) {
    super();
    this.#options = options;
    options.host.libp2p.addEventListener('peer:identify', this.#onIdentify);
  }

  /** Addresses that no interface has, each once. */
  get addresses(): string[] {
    const own = this.#options.addresses();
    return [...new Set(this.#seen.values())].filter((each) => !own.includes(each)).sort();
  }

  #learn({ peerId, observedAddr }: IdentifyResult): void {
    const { superPeers, isUnderlay } = this.#options;
    const known = superPeers();
    for (const id of this.#seen.keys()) {
      if (!known.some((each) => each.toString() === id)) this.#seen.delete(id);
    }
    if (observedAddr === undefined || !known.some((each) => each.equals(peerId))) return;
    const address = ipOf(observedAddr);
    if (address === undefined || !isUnderlay(address)) return;
    const before = this.addresses.join();
    this.#seen.set(peerId.toString(), address);
    if (this.addresses.join() !== before) this.tell('change');
  }

  [Symbol.dispose](): void {
    this.#options.host.libp2p.removeEventListener('peer:identify', this.#onIdentify);
    this.removeAllListeners();
  }
}

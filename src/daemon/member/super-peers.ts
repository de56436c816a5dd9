/** The super-peers of a service, as far as a member knows them. */
import { randomInt } from 'node:crypto';
import {
  type Bootstrap,
  type SuperPeerAddress,
  superPeerAddresses,
} from '../../records/bootstrap.ts';
import type { ServiceDescriptor } from '../../records/descriptor.ts';
import { shuffled } from '../shuffled.ts';

export class KnownSuperPeers {
  readonly #given: readonly SuperPeerAddress[];
  /** Of those that only the descriptor names: random once, by PeerID. */
  readonly #ranks = new Map<string, number>();
  #service: (() => ServiceDescriptor) | undefined;

  /** Until a descriptor is known those of the bootstrap data are believed. */
  constructor({ superPeers }: Pick<Bootstrap, 'superPeers'>) {
    this.#given = shuffled(superPeers);
  }

  /** @param service the newest descriptor, asked anew each time */
  follow(service: () => ServiceDescriptor): void {
    this.#service = service;
  }

  /**
   * Those of the bootstrap data first, as far as the descriptor names them, then the others that it
   * names; both in an order that this VM draws once, so that not all VMs ask the same one first.
   */
  get all(): readonly SuperPeerAddress[] {
    const superPeers = this.#given;
    if (this.#service === undefined) return superPeers;
    const named = superPeerAddresses(this.#service());
    const first = superPeers.filter(({ peerId }) =>
      named.some((each) => each.peerId.equals(peerId)),
    );
    const rest = named.filter(({ peerId }) => !first.some((each) => each.peerId.equals(peerId)));
    return [...first, ...rest.sort((a, b) => this.#rank(a) - this.#rank(b))];
  }

  #rank({ peerId }: SuperPeerAddress): number {
    const name = peerId.toString();
    const rank = this.#ranks.get(name) ?? randomInt(2 ** 32);
    this.#ranks.set(name, rank);
    return rank;
  }
}

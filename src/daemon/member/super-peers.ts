/** The super-peers of a service, as far as a member knows them. */
import {
  type Bootstrap,
  type SuperPeerAddress,
  superPeerAddresses,
} from '../../records/bootstrap.ts';
import type { ServiceDescriptor } from '../../records/descriptor.ts';

export class KnownSuperPeers {
  readonly #bootstrap: Bootstrap;
  #service: (() => ServiceDescriptor) | undefined;

  /** Until a descriptor is known those of the bootstrap data are believed. */
  constructor(bootstrap: Bootstrap) {
    this.#bootstrap = bootstrap;
  }

  /** @param service the newest descriptor, asked anew each time */
  follow(service: () => ServiceDescriptor): void {
    this.#service = service;
  }

  /** Those of the bootstrap data first, in their order, as far as the descriptor names them; then the others that it names. */
  get all(): readonly SuperPeerAddress[] {
    const { superPeers } = this.#bootstrap;
    if (this.#service === undefined) return superPeers;
    const named = superPeerAddresses(this.#service());
    const first = superPeers.filter(({ peerId }) =>
      named.some((each) => each.peerId.equals(peerId)),
    );
    const rest = named.filter(({ peerId }) => !first.some((each) => each.peerId.equals(peerId)));
    return [...first, ...rest];
  }
}

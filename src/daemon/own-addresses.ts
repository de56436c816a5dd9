/**
 * Which of this machine's addresses others are told, and in which order.
 *
 * ```
 *   1  where packets to super-peers leave from       others reach this node there, as super-peers do
 *   2  where packets to anywhere leave from          the default route's
 *   3  the rest, in the kernel's order
 *   -  of bridges (docker0, cni0, virbr0), unless 1 or 2: every container host has the same ones
 * ```
 */
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Prefix } from '../codec/ip.ts';
import { ipOf, MAX_MULTIADDRS } from '../codec/multiaddr.ts';
import { LinkClient } from '../ipsec/link/client.ts';
import type { Log } from './log.ts';
import { localAddressTowards, underlayOnly } from './underlay.ts';

/** What the kernel says of this machine's addresses. */
export interface AddressFacts {
  /** Best first; addresses that are not listed come after those. */
  readonly preferred: readonly string[];
  /** Of bridges. */
  readonly bridges: ReadonlySet<string>;
}

/** Nobody has these, so only a default route leads there (RFC 5737, RFC 3849); nothing is sent. */
const ANYWHERE = ['192.0.2.1', '2001:db8::1'];
/** Milliseconds that the kernel may take to answer. */
const LIMIT_MS = 2_000;

/** @returns the addresses that others are told, best first; none only where there is none */
export function ranked<T>(
  all: readonly T[],
  ip: (each: T) => string | undefined,
  { preferred, bridges }: AddressFacts,
): T[] {
  const place = (each: T): number => {
    const at = preferred.indexOf(ip(each) ?? '');
    return at < 0 ? preferred.length : at;
  };
  const useful = all.filter((each) => {
    const address = ip(each) ?? '';
    return preferred.includes(address) || !bridges.has(address);
  });
  // Where there are bridges only, one of them is the way to others.
  return (useful.length > 0 ? useful : all).toSorted((a, b) => place(a) - place(b));
}

export interface OwnAddressesOptions {
  /** Prefixes in which this node's addresses are none of the machine; may grow later. */
  readonly virtual: readonly Prefix[];
  /** IP addresses of super-peers. */
  readonly superPeers: () => readonly string[];
  readonly log: Log;
}

export class OwnAddresses {
  readonly #options: OwnAddressesOptions;
  #facts: AddressFacts = { preferred: [], bridges: new Set() };

  constructor(options: OwnAddressesOptions) {
    this.#options = options;
  }

  /** What libp2p tells others of the addresses that it listens at. */
  readonly announced = (all: Multiaddr[]): Multiaddr[] =>
    ranked(underlayOnly(this.#options.virtual)(all), ipOf, this.#facts).slice(0, MAX_MULTIADDRS);

  /** @returns these IP addresses, best first */
  ranked(addresses: readonly string[]): string[] {
    return ranked(addresses, (each) => each, this.#facts);
  }

  /** Asks the kernel anew. What it does not say stays as it was. */
  async refresh(): Promise<void> {
    const signal = AbortSignal.timeout(LIMIT_MS);
    try {
      const preferred: string[] = [];
      for (const remote of [...this.#options.superPeers(), ...ANYWHERE]) {
        // Where no route leads, no address is preferred.
        const local = await localAddressTowards(remote, { signal }).catch(() => undefined);
        if (local !== undefined && !preferred.includes(local)) preferred.push(local);
      }
      this.#facts = { preferred, bridges: await bridgeAddresses(signal) };
    } catch (error) {
      this.#options.log('addresses-failed', { why: String(error) });
    }
  }
}

async function bridgeAddresses(signal: AbortSignal): Promise<Set<string>> {
  using client = new LinkClient();
  const links = await client.links({ signal });
  const bridges = new Set(links.filter(({ kind }) => kind === 'bridge').map(({ index }) => index));
  const addresses = await client.addresses({ signal });
  const own = addresses.filter(({ interfaceIndex }) => bridges.has(interfaceIndex));
  return new Set(own.map(({ address }) => address));
}

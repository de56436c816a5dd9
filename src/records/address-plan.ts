/**
 * What the virtual addresses of a service's members must be, by its descriptor.
 *
 * An AddressPlan goes with every check of a credential (`checkCredential`); see `docs/addresses.md`.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { formatPrefix, type Prefix } from '../codec/ip.ts';
import { type AddressRange, addressesIn, ipv4Number } from './address-range.ts';
import type { Credential } from './credential.ts';
import type { Opened } from './envelope.ts';
import { leaseHolds } from './lease.ts';
import { ipv6Address } from './virtual-address.ts';

/** A super-peer and the range that it gives addresses from, or gave. */
interface Holder {
  readonly peerId: Ed25519PeerId;
  readonly range: AddressRange;
}

/** The fields of a descriptor that say who gives which addresses. */
export interface AddressTerms {
  readonly ipv4Prefix: Prefix;
  readonly admitters: readonly Holder[];
  /** Ranges of super-peers that were struck off. */
  readonly retired: readonly Holder[];
}

export class AddressPlan {
  readonly #prefix: Prefix;
  readonly #ranges = new Map<string, AddressRange>();
  /** Credentials without a fault: they are checked again and again. */
  readonly #sound = new WeakSet<Credential>();

  constructor({ ipv4Prefix, admitters, retired }: AddressTerms) {
    this.#prefix = ipv4Prefix;
    for (const { peerId, range } of retired) this.#ranges.set(peerId.toString(), range);
    for (const { peerId, range } of admitters) this.#ranges.set(peerId.toString(), range);
  }

  /** Whether an IPv4 address lies in the range of a super-peer. */
  covers(superPeer: Ed25519PeerId, ipv4: string): boolean {
    const range = this.#ranges.get(superPeer.toString());
    if (range === undefined) return false;
    const { from, to } = addressesIn(this.#prefix, range);
    const number = ipv4Number(ipv4);
    return number >= from && number < to;
  }

  /** @returns what is wrong with the addresses in a credential of this service; undefined when nothing is */
  fault(credential: Opened<Credential>): string | undefined {
    if (this.#sound.has(credential.value)) return undefined;
    const fault = this.#faultOf(credential);
    if (fault === undefined) this.#sound.add(credential.value);
    return fault;
  }

  #faultOf({ value, signer }: Opened<Credential>): string | undefined {
    const { serviceId, peerId, ipv4, ipv6, admittedBy } = value;
    if (ipv6 !== ipv6Address(serviceId, peerId)) return `${ipv6} is not its IPv6 address`;
    if (!this.covers(admittedBy, ipv4)) {
      return `${ipv4} is no address that ${admittedBy} may give in ${formatPrefix(this.#prefix)}`;
    }
    if (admittedBy.equals(signer) || leaseHolds(value)) return undefined;
    return `${admittedBy} did not lease it ${ipv4}`;
  }
}

/** What this node knows of one other member, and the pair that it is with it. */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { TcpMultiaddr } from '../../codec/multiaddr.ts';
import type { Underlay } from '../../ipsec/dataplane.ts';
import type { Credential } from '../../records/credential.ts';
import type { Opened } from '../../records/envelope.ts';
import type { Pair } from './pair.ts';

export interface Entry {
  readonly peerId: Ed25519PeerId;
  readonly addresses: { readonly ipv4: string; readonly ipv6: string };
  readonly pair: Pair;
  credential: Opened<Credential>;
  /** What the directory said last: only what is new there counts. */
  listed: string;
  /** Of the newest news from the peer itself. */
  sequence: number;
  multiaddrs: readonly TcpMultiaddr[];
  /** Addresses that its endpoint record names beside. */
  candidates: readonly string[];
  underlay: Underlay;
  /** Where the newest connection showed it. */
  seenAt: string | undefined;
  /** The peer does not know yet that this node has another address. */
  untold: boolean;
  /** CIDRs that are routed to it. */
  subnets: readonly string[];
}

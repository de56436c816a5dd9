/**
 * Whether a peer is at an address that it only tells: a connection there must prove its PeerID.
 *
 * ```
 *   told ──▶ TCP, Noise with the key of the PeerID ──▶ it answers there ──▶ ESP may go there
 * ```
 *
 * A member could aim what its peers send at any other machine: what is told counts for ESP only once it has answered
 * (return routability, RFC 4555, section 3.7).
 */
import { dialled, ipOf, ipsOf } from '../../codec/multiaddr.ts';
import type { Host } from '../../overlay/host.ts';
import { type Callee, toDial } from './calls.ts';

/** Milliseconds that a connection may take: the peer waits for what comes of it. */
const PROOF_MS = 1_500;

/** @returns whether a connection to the peer is from `address` or could be made to it; false after 1.5 s */
export async function answersAt(
  { libp2p }: Pick<Host, 'libp2p'>,
  peer: Callee,
  address: string,
  closed: AbortSignal,
): Promise<boolean> {
  const open = libp2p.getConnections(peer.peerId).filter(({ status }) => status === 'open');
  if (open.some(({ remoteAddr }) => ipOf(remoteAddr) === address)) return true;
  const there = toDial(peer).filter((each) => ipsOf([each]).includes(address));
  if (there.length === 0) return false;
  const signal = AbortSignal.any([closed, AbortSignal.timeout(PROOF_MS)]);
  try {
    const at = there.map((each) => dialled(each, peer.peerId));
    const connection = await libp2p.dial(at, { signal, force: true });
    return ipOf(connection.remoteAddr) === address;
  } catch {
    return false;
  }
}

/** Streams to a peer: over the connection that there is, or to the addresses that are known. */
import { isIP } from 'node:net';
import type { Stream } from '@libp2p/interface';
import { dialled, ipsOf, isTcpMultiaddr, type TcpMultiaddr } from '../../codec/multiaddr.ts';
import type { Gate, Target } from '../../overlay/gate.ts';
import { ask, PAIR_PROTOCOL_SUFFIX, type PairAnswer, type PairRequest } from './control.ts';
import type { Entry } from './entry.ts';

export type Callee = Pick<Entry, 'peerId' | 'multiaddrs' | 'candidates'> &
  Partial<Pick<Entry, 'underlay'>>;

/** @throws GateError, or the signal's reason */
export function call(
  gate: Gate,
  peer: Callee,
  suffix: string,
  signal: AbortSignal,
): Promise<Stream> {
  return gate.open(target(gate, peer), suffix, { signal });
}

/** Connects to a peer, as `call` would. @throws GateError, or the signal's reason */
export async function connect(
  gate: Pick<Gate, 'admit' | 'isAdmitted'>,
  peer: Callee,
  signal: AbortSignal,
): Promise<void> {
  await gate.admit(target(gate, peer), { signal });
}

/** @returns what the peer answers. @throws GateError, DecodeError, or the signal's reason */
export async function askPeer(
  gate: Gate,
  peer: Callee,
  request: PairRequest,
  signal: AbortSignal,
): Promise<PairAnswer> {
  return ask(await call(gate, peer, PAIR_PROTOCOL_SUFFIX, signal), request, signal);
}

function target(gate: Pick<Gate, 'isAdmitted'>, peer: Callee): Target {
  if (gate.isAdmitted(peer.peerId) || peer.multiaddrs.length === 0) return peer.peerId;
  return toDial(peer).map((each) => dialled(each, peer.peerId));
}

/** Every multiaddr at which a peer may be found. */
export function toDial({
  multiaddrs,
  candidates,
  underlay,
}: Omit<Callee, 'peerId'>): TcpMultiaddr[] {
  // Where its packets come from now may be told by nobody yet, as when its NAT has another address.
  const known = new Set([...candidates, ...(underlay ? [underlay.remote] : [])]);
  return [...multiaddrs, ...candidatesOf(multiaddrs, [...known])];
}

/** The port that the peer listens at, at the addresses where others see it. */
export function candidatesOf(
  multiaddrs: readonly TcpMultiaddr[],
  candidates: readonly string[],
): TcpMultiaddr[] {
  const told = ipsOf(multiaddrs);
  const others = candidates.filter((each) => !told.includes(each));
  const [first] = multiaddrs;
  const port = first?.match(/\/tcp\/(\d+)/)?.[1];
  return others.map((each) => `/ip${isIP(each)}/${each}/tcp/${port}`).filter(isTcpMultiaddr);
}

/**
 * Admission from the side of the VM: one super-peer after the other until one admits.
 *
 * ```
 *  round ─ admitted ──────────────────────────────────────────────▶ credential
 *    ▲ └── all refuse, for good ──────────────────────────────────▶ SuperPeersError
 *    │ └── busy, silent, unreachable, as before the network is up ─┐ until patience ends
 *    └────────────────────── pause ◀──────────────────────────────┘
 * ```
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { type Admission, requestAdmission, superPeerOf } from '../admission/client.ts';
import { AdmissionBusyError } from '../admission/errors.ts';
import { ADMISSION_PROTOCOL } from '../admission/server.ts';
import { TicketError } from '../admission/ticket.ts';
import type { TcpMultiaddr } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import type { Host } from '../overlay/host.ts';
import type { SuperPeerAddress } from '../records/bootstrap.ts';
import { type Answered, askSuperPeers, type Failure, SuperPeersError } from './ask-super-peers.ts';
import type { Log } from './log.ts';
import { PATIENCE_MS, Waiting } from './patience.ts';
import { shuffled } from './shuffled.ts';

/** Pauses between rounds, in milliseconds: doubled each time, up to the limit, and half as much again at random. */
const PAUSE = { first: 1_000, most: 5_000 };
/** The part of the patience for which a clock that differs is given time to be set right. */
const CLOCK_PART = 0.25;

export interface AdmissionWish {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  /** Asked in an order of each VM's own. */
  readonly superPeers: readonly SuperPeerAddress[];
  readonly serviceId: Ed25519PeerId;
  readonly secret: string;
  readonly vmid: string;
  readonly roles: string[];
  /** CIDRs behind this node that it would announce; none if left out. */
  readonly subnets?: readonly string[];
  readonly multiaddrs: TcpMultiaddr[];
  /** Milliseconds for which super-peers are asked again; two minutes when left out. */
  readonly patience?: number;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/**
 * Asks again where a super-peer was busy, did not answer, or could not be reached: many VMs may start at
 * the same moment, and one may start before its network is up.
 *
 * @returns what the first super-peer that admits gave, and which one that was
 * @throws SuperPeersError when all of them refused, or none admitted in time
 */
export async function admitAtAny(wish: AdmissionWish): Promise<Answered<Admission>> {
  const { patience = PATIENCE_MS, signal, log } = wish;
  const superPeers = shuffled(await askable(wish));
  const began = performance.now();
  using waiting = new Waiting('a super-peer to admit this VM', log);
  for (let pause = PAUSE.first; ; pause = Math.min(2 * pause, PAUSE.most)) {
    try {
      return await round(wish, superPeers);
    } catch (error) {
      if (!(error instanceof SuperPeersError)) throw error;
      const wait = Math.max(pause, busyFor(error.failures));
      const elapsed = performance.now() - began;
      if (isFinal(error, elapsed, patience) || elapsed + wait > patience) throw error;
      waiting.because(error.message);
      // Not all at the same moment again.
      await sleep(wait + randomInt(Math.ceil(wait / 2)), undefined, { signal });
    }
  }
}

function round(
  wish: AdmissionWish,
  superPeers: readonly SuperPeerAddress[],
): Promise<Answered<Admission>> {
  const { host, log, signal: stop } = wish;
  return askSuperPeers({
    ...{ superPeers, log, signal: stop },
    ...{ what: 'admits this VM', event: 'admission-failed' },
    ask: async ({ peerId: superPeer, multiaddr }, signal) => {
      const stream = await host.libp2p.dialProtocol(multiaddr, ADMISSION_PROTOCOL, { signal });
      return requestAdmission(stream, { ...wish, superPeer, signal });
    },
  });
}

/** A ticket is for one super-peer: others need not be asked. @throws TicketError, SecretTypoError */
async function askable({ secret, superPeers }: AdmissionWish): Promise<SuperPeerAddress[]> {
  const only = await superPeerOf(secret);
  if (only === undefined) return [...superPeers];
  const those = superPeers.filter(({ peerId }) => peerId.equals(only));
  if (those.length > 0) return those;
  throw new TicketError(
    `the ticket is for the super-peer ${only}, which the bootstrap data does not name`,
    'get ticket and bootstrap data anew from the owner of the service',
  );
}

/** Nothing that a super-peer could tell in a minute differs: the secret is wrong, or the request is. */
const FINAL = [
  ...['ERR_ADMISSION_REFUSED', 'ERR_ADMISSION_REQUEST', 'ERR_SECRET_TYPO', 'ERR_TICKET'],
  ...['ERR_IPV4_POOL', 'ERR_REVOKED'],
];

function isFinal({ failures }: SuperPeersError, elapsed: number, patience: number): boolean {
  return failures.every(({ error }) => {
    if (!(error instanceof IcvpnError)) return false;
    if (error.code === 'ERR_CLOCK') return elapsed > CLOCK_PART * patience;
    return FINAL.includes(error.code);
  });
}

/** @returns the milliseconds after which the first of the busy super-peers has time again */
function busyFor(failures: readonly Failure[]): number {
  const busy = failures.map(({ error }) => error).filter((e) => e instanceof AdmissionBusyError);
  return busy.length === 0 ? 0 : 1000 * Math.min(...busy.map(({ retryAfter }) => retryAfter));
}

/** Admission from the side of who asks: one super-peer after the other until one admits. */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { type Admission, requestAdmission } from '../admission/client.ts';
import { AdmissionBusyError } from '../admission/errors.ts';
import { ADMISSION_PROTOCOL } from '../admission/server.ts';
import { IcvpnError } from '../errors.ts';
import type { Host } from '../overlay/host.ts';
import type { SuperPeerAddress } from '../records/bootstrap.ts';
import type { Log } from './log.ts';

/** One super-peer gets this long before the next is tried. */
const TRY_TIMEOUT_MS = 15_000;
/** Super-peers that are busy, or too slow to say so, are asked again for so long, in milliseconds. */
const PATIENCE_MS = 120_000;
/** A try that failed after so many milliseconds ran into somebody's time limit. */
const SLOW_MS = 5_000;
/** Seconds to wait before a super-peer is asked again that had no time to say when. */
const SLOW_WAIT_S = 1;

export class AdmissionUnreachableError extends IcvpnError {
  constructor(tried: number, options?: ErrorOptions) {
    super(
      'ERR_SUPER_PEERS_UNREACHABLE',
      `none of the ${tried} super-peers could be reached`,
      'check that they run and that their addresses in the bootstrap data can be dialled from here',
      options,
    );
  }
}

export interface AdmissionWish {
  readonly host: Host;
  readonly key: Ed25519PrivateKey;
  /** Tried in this order. */
  readonly superPeers: readonly SuperPeerAddress[];
  readonly serviceId: Ed25519PeerId;
  readonly secret: string;
  readonly vmid: string;
  readonly roles: string[];
  /** CIDRs behind this node that it would announce; none if left out. */
  readonly subnets?: readonly string[];
  readonly multiaddrs: string[];
  readonly log: Log;
  readonly signal: AbortSignal;
}

interface Admitted {
  readonly admission: Admission;
  readonly at: SuperPeerAddress;
}

/**
 * Asks again where a super-peer was busy, or did not get round to an answer, or had no room for
 * another connection: many VMs may start at the same moment.
 *
 * @returns what the first super-peer that answered gave, and which one that was
 * @throws the super-peer's refusal, which another would only repeat
 * @throws AdmissionUnreachableError
 */
export async function admitAtAny(wish: AdmissionWish): Promise<Admitted> {
  const patience = AbortSignal.timeout(PATIENCE_MS);
  for (;;) {
    const result = await round(wish);
    if ('admission' in result) return result;
    const { retryAfter, last } = result;
    if (retryAfter === undefined || patience.aborted) {
      throw new AdmissionUnreachableError(wish.superPeers.length, { cause: last });
    }
    // Not all at the same moment again.
    const wait = retryAfter * 1000 + randomInt(retryAfter * 1000);
    await sleep(wait, undefined, { signal: wish.signal });
  }
}

/** What every super-peer would say: the secret or ticket is wrong, or not even well-formed. */
const FINAL = ['ERR_ADMISSION_REFUSED', 'ERR_SECRET_TYPO', 'ERR_TICKET'];

interface Failed {
  /** Seconds; set when one of the super-peers may have time later. */
  readonly retryAfter: number | undefined;
  readonly last: unknown;
}

async function round(wish: AdmissionWish): Promise<Admitted | Failed> {
  let retryAfter: number | undefined;
  let last: unknown;
  for (const at of wish.superPeers) {
    const signal = AbortSignal.any([wish.signal, AbortSignal.timeout(TRY_TIMEOUT_MS)]);
    const begin = performance.now();
    try {
      const stream = await wish.host.libp2p.dialProtocol(at.multiaddr, ADMISSION_PROTOCOL, {
        signal,
      });
      const admission = await requestAdmission(stream, { ...wish, superPeer: at.peerId, signal });
      return { admission, at };
    } catch (error) {
      wish.signal.throwIfAborted();
      if (error instanceof IcvpnError && FINAL.includes(error.code)) throw error;
      wish.log('admission-failed', { superPeer: at.peerId, why: String(error) });
      retryAfter = waitAfter(error, performance.now() - begin) ?? retryAfter;
      last = error;
    }
  }
  return { retryAfter, last };
}

/** @returns seconds, or undefined when the same would only happen again */
function waitAfter(error: unknown, took: number): number | undefined {
  if (error instanceof AdmissionBusyError) return error.retryAfter;
  // What libp2p calls it when the other end hangs up before the end of the handshake.
  const hungUp = error instanceof Error && error.name === 'EncryptionFailedError';
  return hungUp || took >= SLOW_MS ? SLOW_WAIT_S : undefined;
}

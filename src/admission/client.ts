/** The VM's end of the admission protocol on a libp2p stream: admission and renewal. */
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { TcpMultiaddr } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import { Ipv4PoolError } from '../records/address-range.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { MessageStreamError } from '../wire/errors.ts';
import { MessageStream, RAW } from '../wire/message-stream.ts';
import type { Admission } from './accept.ts';
import { ClientSession } from './client-session.ts';
import {
  AdmissionBusyError,
  AdmissionNotStoredError,
  AdmissionProtocolError,
  AdmissionRefusedError,
  AdmissionRequestError,
  RevokedError,
} from './errors.ts';
import { loginOf } from './login.ts';
import {
  Answer,
  MAX_TO_VM,
  NO_ADDRESS,
  NONCE_LENGTH,
  NOT_STORED,
  Opening,
  Proof,
  REVOKED,
  type Refusal,
  RenewalRequest,
  Reply,
  Request,
  UNAVAILABLE,
  UNSUPPORTED,
} from './messages.ts';
import { MAX_BITS, solve } from './puzzle.ts';
import { RenewalSession } from './renewal-session.ts';

export type { Admission } from './accept.ts';
export { superPeerOf } from './login.ts';
export { ADMISSION_PROTOCOL } from './messages.ts';

/** Each step writes a message of its own. */
type Link = MessageStream<Reply, Uint8Array>;

/** Longest that an admission or a renewal may take, in milliseconds. */
const TIME_LIMIT = 60_000;

interface CommonOptions {
  /** This node's key, the one it shows in Noise. */
  readonly key: PrivateKey;
  /** The remote PeerID of the connection that the stream belongs to. */
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  /** Where this node can be dialled. */
  readonly multiaddrs: TcpMultiaddr[];
  /** CIDRs behind this node that it would announce; the credential tells which it may. */
  readonly subnets?: readonly string[];
  readonly signal?: AbortSignal;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

export interface AdmissionRequest extends CommonOptions {
  /** The service secret, or a ticket. */
  readonly secret: string | Uint8Array;
  /** The instance, as its cloud or its owner names it. */
  readonly vmid: string;
  readonly roles: string[];
}

export interface RenewalOptions extends CommonOptions {
  /** The credential that runs out. */
  readonly credential: Opened<Credential>;
  /** What came with it. */
  readonly renewalKey: Uint8Array;
}

/**
 * Asks a super-peer for membership, over a stream of `ADMISSION_PROTOCOL`. The stream is closed, or
 * aborted, in the end.
 *
 * @throws SecretTypoError, TicketError, AdmissionRequestError before anything is sent
 * @throws AdmissionRefusedError when the secret is wrong or the service unknown
 * @throws AdmissionBusyError when the super-peer has too much to do
 * @throws AdmissionNotStoredError when the super-peer cannot write to its disk
 * @throws AdmissionProtocolError when the super-peer does not keep to the protocol or hangs up
 * @throws ClockError when the clocks are more than two minutes apart
 */
export async function requestAdmission(
  stream: Stream,
  options: AdmissionRequest,
): Promise<Admission> {
  const { vmid, roles, multiaddrs, subnets = [], superPeer } = options;
  const request = { vmid, roles, multiaddrs, subnets: [...subnets] };
  assertFits(stream, () => Request.encode(request));
  return attempt(stream, superPeer, options.signal, async (link, signal) => {
    const login = await loginOf(options.secret, options);
    const session = new ClientSession({
      ...accepting(options, vmid),
      login,
      request,
      random: (length) => randomBytes(length),
    });
    try {
      const opening = Opening.encode({ admit: session.hello(), renew: undefined });
      await link.write(opening, { signal });
      const challenge = await challenged(link, signal);
      await link.write(Proof.encode(await session.challenge(challenge)), { signal });
      const { grant } = accepted(await link.read({ signal }));
      if (grant === undefined) throw new AdmissionProtocolError('the super-peer sent no grant');
      return await session.grant(grant);
    } finally {
      session.wipe();
    }
  });
}

/**
 * Renews a credential at any super-peer of the service, over a stream of `ADMISSION_PROTOCOL`.
 * Replace both credential and renewal key by what it gives.
 *
 * @throws AdmissionRequestError before anything is sent
 * @throws AdmissionRefusedError when the member must be admitted anew
 * @throws AdmissionBusyError, AdmissionProtocolError, ClockError as `requestAdmission` does
 */
export async function requestRenewal(stream: Stream, options: RenewalOptions): Promise<Admission> {
  const { credential, multiaddrs, subnets = [], superPeer } = options;
  const request = { multiaddrs, subnets: [...subnets] };
  assertFits(stream, () => RenewalRequest.encode(request));
  return attempt(stream, superPeer, options.signal, async (link, signal) => {
    const nonce = randomBytes(NONCE_LENGTH);
    const own = { credential, state: options.renewalKey, request, nonce };
    const session = new RenewalSession(accepting(options, credential.value.vmid), own);
    try {
      const opening = Opening.encode({ admit: undefined, renew: session.opening() });
      await link.write(opening, { signal });
      const { renewal } = accepted(await link.read({ signal }), RENEWAL_REFUSED);
      if (renewal === undefined) throw new AdmissionProtocolError('the super-peer did not renew');
      return await session.renewal(renewal);
    } finally {
      session.wipe();
    }
  });
}

/** @throws AdmissionRequestError when a request cannot be encoded */
function assertFits(stream: Stream, encode: () => Uint8Array): void {
  try {
    encode();
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    stream.abort(cause);
    throw new AdmissionRequestError(cause);
  }
}

/** Runs one conversation within its time, and leaves the stream closed. */
async function attempt(
  stream: Stream,
  superPeer: Ed25519PeerId,
  stop: AbortSignal | undefined,
  run: (link: Link, signal: AbortSignal) => Promise<Admission>,
): Promise<Admission> {
  const limit = AbortSignal.timeout(TIME_LIMIT);
  const signal = stop ? AbortSignal.any([stop, limit]) : limit;
  try {
    const admission = await run(
      new MessageStream(stream, { reads: Reply, writes: RAW, maxLength: MAX_TO_VM }),
      signal,
    );
    await stream.close({ signal });
    return admission;
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    stream.abort(cause);
    stop?.throwIfAborted();
    if (cause instanceof IcvpnError && !(cause instanceof MessageStreamError)) throw cause;
    const what = limit.aborted ? 'took too long' : 'ended the conversation';
    throw new AdmissionProtocolError(`the super-peer ${superPeer} ${what}`, { cause });
  }
}

function accepting({ key, superPeer, serviceId, clock }: CommonOptions, vmid: string) {
  const self = peerIdFromPrivateKey(key);
  if (self.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
  return { self, superPeer, serviceId, vmid, clock: clock ?? Date.now };
}

/** @returns the challenge, after solving the puzzle that may come before it */
async function challenged(link: Link, signal: AbortSignal) {
  const first = accepted(await link.read({ signal }));
  if (first.challenge !== undefined) return first.challenge;
  const { puzzle } = first;
  if (puzzle === undefined) throw new AdmissionProtocolError('the super-peer sent no challenge');
  if (puzzle.bits > MAX_BITS) {
    throw new AdmissionProtocolError(`the super-peer set a puzzle of ${puzzle.bits} bits`);
  }
  await link.write(Answer.encode({ answer: await solve(puzzle, signal) }), { signal });
  const { challenge } = accepted(await link.read({ signal }));
  if (challenge === undefined) throw new AdmissionProtocolError('the super-peer sent no challenge');
  return challenge;
}

interface RefusalText {
  readonly message: string;
  readonly remedy: string;
}

const ADMISSION_REFUSED: RefusalText = {
  message:
    'the super-peer does not admit this VM: the secret is wrong, or it does not serve the service',
  remedy: 'check the ServiceID and the service secret in the bootstrap data with the owner',
};
const RENEWAL_REFUSED: RefusalText = {
  message: 'the super-peer does not renew this credential',
  remedy: 'be admitted anew: give the bootstrap data of the service with --bootstrap',
};

const FULL =
  "ask the service's owner to name another super-peer, or wait until credentials of members that left have ended";

function accepted(reply: Reply, refusal = ADMISSION_REFUSED): Reply {
  if (reply.busy !== undefined) throw new AdmissionBusyError(reply.busy);
  if (reply.refusal !== undefined) throw told(reply.refusal, refusal);
  return reply;
}

function told({ reason, text }: Refusal, refusal: RefusalText): IcvpnError {
  if (reason === UNSUPPORTED) {
    return new AdmissionProtocolError(`the super-peer speaks another protocol: ${text}`);
  }
  if (reason === NO_ADDRESS) return new Ipv4PoolError(`it has no address to give: ${text}`, FULL);
  if (reason === NOT_STORED) return new AdmissionNotStoredError(text);
  if (reason === REVOKED) return new RevokedError();
  const { message, remedy } = refusal;
  if (reason !== UNAVAILABLE) return new AdmissionRefusedError(message, remedy);
  return new AdmissionRefusedError(`the super-peer refused: ${text}`, "ask the service's owner");
}

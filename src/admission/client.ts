/** The VM's end of the admission protocol on a libp2p stream. */
import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId, PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { IcvpnError } from '../errors.ts';
import { type Admission, ClientSession } from './client-session.ts';
import { AdmissionBusyError, AdmissionProtocolError, AdmissionRefusedError } from './errors.ts';
import { type Frames, frames } from './frames.ts';
import {
  MAX_TO_VM,
  Opening,
  Proof,
  type Refusal,
  Reply,
  UNAVAILABLE,
  UNSUPPORTED,
} from './messages.ts';
import { parseServiceSecret } from './secret.ts';

export type { Admission } from './client-session.ts';
export { ADMISSION_PROTOCOL } from './messages.ts';

/** Longest that an admission may take, in milliseconds. */
const TIME_LIMIT = 60_000;

export interface AdmissionRequest {
  /** This node's key, the one it shows in Noise. */
  readonly key: PrivateKey;
  /** The remote PeerID of the connection that the stream belongs to. */
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  readonly secret: string | Uint8Array;
  /** The instance, as its cloud or its owner names it. */
  readonly vmid: string;
  readonly roles: string[];
  /** Where this node can be dialled. */
  readonly multiaddrs: string[];
  readonly signal?: AbortSignal;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

/**
 * Asks a super-peer for membership, over a stream of `ADMISSION_PROTOCOL`. The stream is closed, or
 * aborted, in the end.
 *
 * @throws SecretTypoError before anything is sent
 * @throws AdmissionRefusedError when the secret is wrong or the service unknown
 * @throws AdmissionBusyError when the super-peer has too much to do
 * @throws AdmissionProtocolError when the super-peer does not keep to the protocol or hangs up
 */
export async function requestAdmission(
  stream: Stream,
  options: AdmissionRequest,
): Promise<Admission> {
  const self = peerIdFromPrivateKey(options.key);
  if (self.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
  const { superPeer, serviceId, vmid, roles, multiaddrs } = options;
  const secret = parseServiceSecret(options.secret);
  const limit = AbortSignal.timeout(TIME_LIMIT);
  const signal = options.signal ? AbortSignal.any([options.signal, limit]) : limit;
  const session = new ClientSession({
    ...{ self, superPeer, serviceId, secret },
    request: { vmid, roles, multiaddrs },
    random: (length) => randomBytes(length),
    clock: options.clock ?? Date.now,
  });
  try {
    const admission = await converse(frames(stream, MAX_TO_VM), session, signal);
    await stream.close({ signal });
    return admission;
  } catch (error) {
    const cause = error instanceof Error ? error : new Error(String(error));
    stream.abort(cause);
    options.signal?.throwIfAborted();
    if (cause instanceof IcvpnError) throw cause;
    const what = limit.aborted ? 'took too long' : 'ended the conversation';
    throw new AdmissionProtocolError(`the super-peer ${superPeer} ${what}`, { cause });
  } finally {
    session.wipe();
  }
}

async function converse(
  link: Frames,
  session: ClientSession,
  signal: AbortSignal,
): Promise<Admission> {
  await link.write(Opening, { admit: session.hello() }, signal);
  const { challenge } = accepted(await link.read(Reply, signal));
  if (challenge === undefined) throw new AdmissionProtocolError('no challenge');
  await link.write(Proof, await session.challenge(challenge), signal);
  const { grant } = accepted(await link.read(Reply, signal));
  if (grant === undefined) throw new AdmissionProtocolError('no grant');
  return session.grant(grant);
}

function accepted(reply: Reply): Reply {
  if (reply.busy !== undefined) throw new AdmissionBusyError(reply.busy);
  if (reply.refusal !== undefined) throw refused(reply.refusal);
  return reply;
}

function refused({ reason, text }: Refusal): IcvpnError {
  if (reason === UNSUPPORTED) {
    return new AdmissionProtocolError(`the super-peer speaks another protocol: ${text}`);
  }
  if (reason === UNAVAILABLE) {
    return new AdmissionRefusedError(`the super-peer cannot admit: ${text}`, 'tell its operator');
  }
  return new AdmissionRefusedError(
    'the super-peer does not admit this VM: the service secret is wrong, or it does not serve the service',
    'check the ServiceID and the service secret in the bootstrap data with the owner',
  );
}

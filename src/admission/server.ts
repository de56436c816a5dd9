/** The super-peer's end of the admission protocol on libp2p streams. */
import { randomBytes } from 'node:crypto';
import type { Connection, Ed25519PeerId, PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tryGetNetConfig } from '@libp2p/utils';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { Decoys } from './decoy.ts';
import { AdmissionProtocolError } from './errors.ts';
import { type Frames, frames } from './frames.ts';
import type { Applicant, ServedService } from './issue.ts';
import { MAX_TO_SUPER_PEER, Opening, Proof, Reply } from './messages.ts';
import {
  type Admitted,
  busyReply,
  type Refused,
  type ServerContext,
  ServerSession,
} from './server-session.ts';
import { SrpPool } from './srp/pool.ts';

export type { Applicant, ServedService } from './issue.ts';
export { ADMISSION_PROTOCOL } from './messages.ts';

export interface AdmissionServerOptions {
  /** The super-peer's own key, the one it shows in Noise. */
  readonly key: PrivateKey;
  /** The services that this super-peer serves, by the text of their ServiceID. */
  readonly services: (serviceId: string) => ServedService | undefined;
  /** An address of the service's prefix for this member. @throws IcvpnError when there is none */
  readonly assignIpv4: (service: ServedService, peerId: Ed25519PeerId) => string;
  /** Writes the membership record; the credential is sent only after it. */
  readonly onAdmitted: (
    service: ServedService,
    applicant: Applicant,
    credential: Opened<Credential>,
  ) => Promise<void>;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
  readonly limits?: Partial<AdmissionLimits>;
}

export interface AdmissionLimits {
  /** Milliseconds from the stream's opening to a proof that holds. */
  readonly unproven: number;
  /** Milliseconds from the proof to the end. */
  readonly proven: number;
  /** Admissions that are not proven yet, in total. */
  readonly halfOpen: number;
}

const DEFAULT_LIMITS: AdmissionLimits = { unproven: 10_000, proven: 30_000, halfOpen: 1024 };

/** What a remote that is turned away at the door is told to wait. */
const BUSY_SECONDS = 2;

export class AdmissionServer {
  readonly #options: AdmissionServerOptions;
  readonly #limits: AdmissionLimits;
  readonly #context: ServerContext;
  readonly #pool = new SrpPool();
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  #halfOpen = 0;

  constructor(options: AdmissionServerOptions) {
    const self = peerIdFromPrivateKey(options.key);
    if (self.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#context = {
      self,
      key: options.key,
      srp: this.#pool,
      decoys: new Decoys(options.key),
      services: options.services,
      assignIpv4: options.assignIpv4,
      random: (length) => randomBytes(length),
      clock: options.clock ?? Date.now,
    };
  }

  /**
   * Handles one stream of `ADMISSION_PROTOCOL`, to its end. Never rejects: what a remote does wrong
   * ends its stream and nothing else.
   */
  async handle(stream: Stream, connection: Connection): Promise<void> {
    const run = this.#serve(stream, connection).catch((error: unknown) => {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
    });
    this.#running.add(run);
    await run;
    this.#running.delete(run);
  }

  /** Ends the streams under way and the worker threads. */
  async close(): Promise<void> {
    this.#stop.abort(new Error('the super-peer stops'));
    await Promise.all(this.#running);
    await this.#pool.close();
  }

  async #serve(stream: Stream, connection: Connection): Promise<void> {
    const peerId = connection.remotePeer;
    if (peerId.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
    const address = tryGetNetConfig(connection.remoteAddr)?.host ?? '';
    const link = frames(stream, MAX_TO_SUPER_PEER);
    if (this.#halfOpen >= this.#limits.halfOpen) {
      await this.#finish(stream, link, busyReply(BUSY_SECONDS));
      return;
    }
    this.#halfOpen++;
    const session = new ServerSession(this.#context, { peerId, address });
    let verdict: Admitted | Refused;
    try {
      verdict = await negotiate(link, session, this.#within(this.#limits.unproven));
    } finally {
      this.#halfOpen--;
      session.wipe();
    }
    if (verdict.outcome === 'admitted') {
      await this.#options.onAdmitted(verdict.service, verdict.applicant, verdict.credential);
    }
    await this.#finish(stream, link, verdict.reply);
  }

  async #finish(stream: Stream, link: Frames, reply: Reply): Promise<void> {
    const signal = this.#within(this.#limits.proven);
    await link.write(Reply, reply, signal);
    await stream.close({ signal });
  }

  #within(milliseconds: number): AbortSignal {
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(milliseconds)]);
  }
}

async function negotiate(
  link: Frames,
  session: ServerSession,
  signal: AbortSignal,
): Promise<Admitted | Refused> {
  const { admit } = await link.read(Opening, signal);
  if (admit === undefined) throw new AdmissionProtocolError('the opening says nothing');
  const answer = await session.hello(admit);
  if ('outcome' in answer) return answer;
  await link.write(Reply, answer, signal);
  return session.proof(await link.read(Proof, signal));
}

/** The super-peer's end of the admission protocol on libp2p streams: admissions and renewals. */
import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { Connection, PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tryGetNetConfig } from '@libp2p/utils';
import { IcvpnError } from '../errors.ts';
import type { Credential } from '../records/credential.ts';
import type { Opened } from '../records/envelope.ts';
import { originOf } from '../shares/origin.ts';
import { MessageStream, RAW } from '../wire/message-stream.ts';
import type { AuditEntry, AuditLog } from './audit.ts';
import { Decoys } from './decoy.ts';
import { AdmissionProtocolError } from './errors.ts';
import type { Applicant, ServedService } from './issue.ts';
import { type AdmissionLimits, DEFAULT_LIMITS, type Entry, Limiter } from './limits.ts';
import { Answer, type Hello, MAX_TO_SUPER_PEER, Opening, Proof, Reply } from './messages.ts';
import { SEED_LENGTH, solves } from './puzzle.ts';
import { renew } from './renewal-session.ts';
import { type Remote, type ServerContext, ServerSession } from './server-session.ts';
import { SrpPool } from './srp/pool.ts';
import type { AdmissionStore } from './store.ts';
import {
  type Granted,
  isStorageFault,
  type Refused,
  refuse,
  refuseProven,
  reply,
  Unavailable,
  type Verdict,
} from './verdict.ts';

export type { Applicant, ServedService } from './issue.ts';
export type { AdmissionLimits } from './limits.ts';
export { ADMISSION_PROTOCOL } from './messages.ts';

/** Each step reads a message of its own. */
type Link = MessageStream<Uint8Array, Reply>;

type Recorder = (
  service: ServedService,
  applicant: Applicant,
  credential: Opened<Credential>,
) => Promise<void>;

export interface AdmissionServerOptions {
  /** The super-peer's own key, the one it shows in Noise. */
  readonly key: PrivateKey;
  /** The services that this super-peer serves, by the text of their ServiceID. */
  readonly services: (serviceId: string) => ServedService | undefined;
  /** Leases an IPv4 address of this super-peer. @throws IcvpnError when there is none */
  readonly leaseIpv4: ServerContext['leaseIpv4'];
  /** Writes the membership record; the credential is sent only after it. */
  readonly onAdmitted: Recorder;
  /** The same for renewals; `onAdmitted` when absent. */
  readonly onRenewed?: Recorder;
  /** Whether a node was thrown out, so that it is not admitted again. */
  readonly barred?: ServerContext['barred'];
  readonly ticketRevoked?: ServerContext['ticketRevoked'];
  /** Whether a credential was taken back, so that it is not renewed. */
  readonly revoked?: ServerContext['revoked'];
  /** Whether a credential of a super-peer that was struck off is known to be from before; none is when absent. */
  readonly isStranded?: ServerContext['isStranded'];
  /** CIDRs of which a member may announce all or parts; none when absent. */
  readonly allowedSubnets?: ServerContext['allowedSubnets'];
  /** Where tickets are used up; without it none is taken. */
  readonly store?: Pick<AdmissionStore, 'ticketUse' | 'useTicket'>;
  readonly audit?: Pick<AuditLog, 'append'>;
  /** Told what this super-peer itself cannot do, such as write to its disk. */
  readonly onFault?: (error: unknown) => void;
  readonly limits?: Partial<AdmissionLimits>;
  /** Worker threads for SRP, which stay the caller's; without it, one of the server's own. */
  readonly srp?: SrpPool;
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

/** Seconds that a remote which finds no room is told to wait. */
const BUSY_SECONDS = 2;

export class AdmissionServer {
  readonly #options: AdmissionServerOptions;
  readonly #limits: AdmissionLimits;
  readonly #limiter: Limiter;
  readonly #context: ServerContext;
  /** To be closed with the server. */
  readonly #ownPool: SrpPool | undefined;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(options: AdmissionServerOptions) {
    const self = peerIdFromPrivateKey(options.key);
    if (self.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
    const clock = options.clock ?? Date.now;
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
    this.#limiter = new Limiter(this.#limits, clock);
    const srp = options.srp ?? new SrpPool();
    this.#ownPool = options.srp === undefined ? srp : undefined;
    this.#context = {
      ...{ self, clock, key: options.key, srp, decoys: new Decoys(options.key) },
      ...{ services: options.services, leaseIpv4: options.leaseIpv4, tickets: options.store },
      barred: options.barred ?? (() => false),
      ticketRevoked: options.ticketRevoked ?? (() => false),
      revoked: options.revoked ?? (() => false),
      isStranded: options.isStranded ?? (() => false),
      allowedSubnets: options.allowedSubnets ?? (() => []),
      random: (length) => randomBytes(length),
    };
  }

  /** Admissions and renewals under way that are not proven. */
  get halfOpen(): number {
    return this.#limiter.halfOpen;
  }

  /**
   * Handles one stream of `ADMISSION_PROTOCOL`, to its end. Never rejects: what a remote does wrong
   * ends its stream and nothing else.
   */
  async handle(stream: Stream, connection: Connection): Promise<void> {
    const run = this.#serve(stream, connection).catch((error: unknown) => {
      if (error instanceof IcvpnError && isStorageFault(error)) this.#options.onFault?.(error);
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
    await this.#ownPool?.close();
  }

  async #serve(stream: Stream, connection: Connection): Promise<void> {
    const peerId = connection.remotePeer;
    if (peerId.type !== 'Ed25519') throw new AdmissionProtocolError('nodes have Ed25519 keys');
    const remote = { peerId, address: tryGetNetConfig(connection.remoteAddr)?.host ?? '' };
    const link: Link = new MessageStream(stream, {
      ...{ reads: RAW, writes: Reply },
      maxLength: MAX_TO_SUPER_PEER,
    });
    const replaced = (): void => stream.abort(new Error('others need the place'));
    const entry = this.#limiter.enter(originOf(remote.address), peerId.toString(), replaced);
    if (entry === undefined) return this.#finish(link, reply({ busy: BUSY_SECONDS }));
    let verdict: Verdict | undefined;
    try {
      verdict = await this.#negotiate(link, remote, entry);
    } finally {
      entry.leave();
    }
    if (verdict === undefined) return this.#finish(link, reply({ busy: BUSY_SECONDS }));
    if (verdict.outcome !== 'refused') verdict = await this.#record(verdict);
    await this.#finish(link, verdict.reply);
  }

  /** @returns undefined when there is no room for SRP */
  async #negotiate(link: Link, remote: Remote, entry: Entry): Promise<Verdict | undefined> {
    const { admit, renew: renewal } = Opening.decode(
      await link.read({ signal: this.#within('unproven') }),
    );
    if ((admit === undefined) === (renewal === undefined)) {
      throw new AdmissionProtocolError('an opening asks for admission or for renewal');
    }
    if (renewal !== undefined) {
      const verdict = await renew(this.#context, remote, renewal);
      if (verdict.outcome === 'refused') await this.#logRefusal(remote, verdict);
      return verdict;
    }
    if (admit === undefined || !entry.startSrp()) return undefined;
    const serviceId = admit.serviceId.toString();
    const verdict = await this.#admit(link, remote, entry, admit);
    if (verdict.outcome === 'refused') {
      await this.#logRefusal(remote, { ...verdict, serviceId });
      if (verdict.guess && entry.wrongGuess(serviceId)) {
        await this.#log({ event: 'guessing', serviceId, address: remote.address }).catch(
          (error) => {
            this.#options.onFault?.(error);
          },
        );
      }
    }
    return verdict;
  }

  async #admit(link: Link, remote: Remote, entry: Entry, hello: Hello): Promise<Verdict> {
    const { bits, delay } = entry.slowdown(hello.serviceId.toString());
    if (bits > 0) {
      const puzzle = { seed: randomBytes(SEED_LENGTH), bits };
      const signal = this.#within('puzzle');
      await link.write(reply({ puzzle }), { signal });
      const { answer } = Answer.decode(await link.read({ signal }));
      entry.progress();
      if (!solves(puzzle, answer)) return refuse('wrong puzzle answer', { guess: false });
    }
    if (delay > 0) await setTimeout(delay, undefined, { signal: this.#stop.signal });
    const session = new ServerSession(this.#context, remote);
    try {
      const answer = await session.hello(hello);
      if ('outcome' in answer) return answer;
      const signal = this.#within('unproven');
      await link.write(answer, { signal });
      return await session.proof(Proof.decode(await link.read({ signal })));
    } finally {
      session.wipe();
    }
  }

  /** Writes down that somebody is a member; who cannot be written down is none. */
  async #record(verdict: Granted): Promise<Verdict> {
    const { outcome, service, applicant, credential, ticket } = verdict;
    const { onAdmitted, onRenewed = onAdmitted } = this.#options;
    const { vmid, peerId, remoteAddress: address } = applicant;
    const serviceId = service.descriptor.value.serviceId.toString();
    try {
      await (outcome === 'renewed' ? onRenewed : onAdmitted)(service, applicant, credential);
      const serial = Buffer.from(credential.value.serial).toString('hex');
      const who = { peerId: peerId.toString(), vmid, address };
      await this.#log({ event: outcome, serviceId, ...who, serial, ticket });
      return verdict;
    } catch (cause) {
      const text = 'the membership record could not be written';
      const unstored = cause instanceof IcvpnError && isStorageFault(cause);
      const told = unstored ? cause : new Unavailable(text);
      const refused = refuseProven(told, { vmid, ticket, serviceId });
      const reason = cause instanceof IcvpnError ? cause.message : String(cause);
      await this.#logRefusal({ peerId, address }, { ...refused, cause: reason });
      return refused;
    }
  }

  /** A refusal gives nothing away, so that it stands also where it cannot be written down. */
  async #logRefusal({ peerId, address }: Remote, refused: Refused): Promise<void> {
    const { cause, vmid, ticket, serviceId = 'unknown' } = refused;
    if (refused.fault !== undefined) this.#options.onFault?.(refused.fault);
    const who = { peerId: peerId.toString(), vmid, address };
    await this.#log({ event: 'refused', serviceId, ...who, cause, ticket }).catch((error) => {
      this.#options.onFault?.(error);
    });
  }

  async #log(entry: AuditEntry): Promise<void> {
    await this.#options.audit?.append(entry);
  }

  async #finish(link: Link, message: Reply): Promise<void> {
    const signal = this.#within('proven');
    await link.write(message, { signal });
    await link.stream.close({ signal });
  }

  #within(limit: 'unproven' | 'proven' | 'puzzle'): AbortSignal {
    return AbortSignal.any([this.#stop.signal, AbortSignal.timeout(this.#limits[limit])]);
  }
}

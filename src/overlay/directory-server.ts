/** The super-peer's end of the directory: who is attached, and who is told what. */
import { setImmediate } from 'node:timers/promises';
import type { PrivateKey, Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { IcvpnError } from '../errors.ts';
import type { Credential } from '../records/credential.ts';
import { DIRECTORY, type DirectoryUpdate } from '../records/directory.ts';
import { type Opened, seal } from '../records/envelope.ts';
import { parsePeerId } from '../records/peer-id.ts';
import {
  DIRECTORY_FRAMES,
  DIRECTORY_SUFFIX,
  type DirectoryFrame,
  type DirectorySeal,
  frame,
  MESSAGE_LIMIT,
  PLAIN,
  SILENCE_LIMIT,
} from './directory.ts';
import { Frames } from './frames.ts';
import type { Gate, Pass, Trust } from './gate.ts';
import { timeLimit } from './host.ts';
import type { Member, Membership, MembershipChange } from './membership.ts';

/**
 * Milliseconds during which changes are collected before members are told: this, or so much for each
 * member attached. Telling one takes about 0.1 ms of computing; while many join, a super-peer is to
 * spend but a small part of its time on telling all others, each time.
 */
const COLLECT = 100;
const COLLECT_EACH = 2;
/** Members told between two turns of the event loop. */
const SLICE = 16;
/** Milliseconds that a member whose stream broke has to come back before it counts as gone. */
const GRACE = 4_000;
/** Changes remembered; a member that is further behind gets the whole list again. */
const MAX_LOG = 8_192;

export class DirectoryError extends IcvpnError {}

export interface DirectoryServerOptions {
  /** The service's gate on this super-peer. */
  readonly gate: Gate;
  readonly membership: Membership;
  /** The super-peer's key, which signs the updates. */
  readonly key: PrivateKey;
  readonly trust: () => Trust;
  readonly seal?: Pick<DirectorySeal, 'seal'>;
}

interface Attachment {
  readonly member: Opened<Credential>;
  readonly frames: Frames<DirectoryFrame>;
  readonly nonce: Uint8Array;
  /** Sequence of the last update sent. */
  sequence: number;
  /** How much of the log it has been told; undefined before the whole list. */
  told: number | undefined;
  sending: Promise<void> | undefined;
}

export class DirectoryServer {
  readonly #options: DirectoryServerOptions;
  readonly #attached = new Map<string, Attachment>();
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  /** PeerIDs in the order of their changes; `#logStart` is the number of the first one kept. */
  #log: string[] = [];
  #logStart = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(options: DirectoryServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { gate, membership } = this.#options;
    membership.on('change', this.#onChange);
    await gate.handle(DIRECTORY_SUFFIX, (stream, _connection, pass) => this.#serve(stream, pass), {
      maxInboundStreams: 2,
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { gate, membership } = this.#options;
    membership.off('change', this.#onChange);
    await gate.unhandle(DIRECTORY_SUFFIX);
    clearTimeout(this.#timer);
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    const attached = [...this.#attached.values()];
    for (const { frames } of attached) {
      frames.stream.abort(new DirectoryError('ERR_DIRECTORY', 'the directory closes', 'try again'));
    }
    await Promise.allSettled(attached.map((each) => each.sending));
  }

  /** How many members are attached here. */
  get size(): number {
    return this.#attached.size;
  }

  async #serve(stream: Stream, pass: Pass): Promise<void> {
    if (pass === 'admitter') {
      throw new DirectoryError('ERR_DIRECTORY', 'only members attach', 'get a credential first');
    }
    const peer = pass.value.peerId;
    const name = peer.toString();
    const frames = new Frames(stream, DIRECTORY_FRAMES);
    const { attach } = await frames.read({ signal: this.#limit(MESSAGE_LIMIT) });
    if (attach === undefined || this.#closed) {
      throw new DirectoryError('ERR_DIRECTORY', 'no attachment', 'update the member');
    }
    const { nonce, session } = attach;
    const older = this.#attached.get(name);
    const attachment: Attachment = {
      member: pass,
      frames,
      nonce,
      sequence: 0,
      told: undefined,
      sending: undefined,
    };
    this.#attached.set(name, attachment);
    older?.frames.stream.abort(new DirectoryError('ERR_DIRECTORY', 'attached anew', 'none'));
    clearTimeout(this.#leaving.get(name));
    this.#leaving.delete(name);
    let clean = false;
    try {
      this.#options.membership.add(pass, attach.multiaddrs.filter(isMultiaddr), session);
      this.#tell(attachment);
      for (;;) {
        const message = await frames.read({ signal: this.#limit(SILENCE_LIMIT) });
        if (message.goodbye !== undefined) {
          clean = true;
          break;
        }
        await frames.write(frame({ beat: 1 }), { signal: this.#limit(MESSAGE_LIMIT) });
      }
      await stream.close({ signal: this.#limit(MESSAGE_LIMIT) });
    } finally {
      if (this.#attached.get(name) === attachment) {
        this.#attached.delete(name);
        this.#leave(attachment, clean);
      }
    }
  }

  #leave({ member }: Attachment, clean: boolean): void {
    const { peerId } = member.value;
    const { membership } = this.#options;
    if (clean) membership.remove(peerId);
    else if (!this.#closed) {
      const name = peerId.toString();
      const timer = setTimeout(() => {
        this.#leaving.delete(name);
        membership.remove(peerId);
      }, GRACE);
      this.#leaving.set(name, timer);
    }
  }

  readonly #onChange = ({ joined, left }: MembershipChange): void => {
    for (const { peerId } of joined) this.#log.push(peerId.toString());
    for (const peerId of left) this.#log.push(peerId.toString());
    const excess = this.#log.length - MAX_LOG;
    if (excess > 0) {
      this.#log = this.#log.slice(excess);
      this.#logStart += excess;
    }
    const wait = Math.max(COLLECT, COLLECT_EACH * this.#attached.size);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#tellAll();
    }, wait);
  };

  async #tellAll(): Promise<void> {
    const attached = [...this.#attached.values()];
    for (const [n, attachment] of attached.entries()) {
      if (n % SLICE === SLICE - 1) await setImmediate();
      if (this.#closed) return;
      if (attachment.frames.stream.status === 'open') this.#tell(attachment);
    }
  }

  /** Sends what an attachment has not been told yet, one update at a time. */
  #tell(attachment: Attachment): void {
    attachment.sending ??= this.#send(attachment)
      .catch((error: unknown) => {
        attachment.frames.stream.abort(error instanceof Error ? error : new Error(String(error)));
      })
      .finally(() => {
        attachment.sending = undefined;
        // A timer that runs will see to it; one that ran out meanwhile found it busy.
        const due = this.#timer === undefined && this.#behind(attachment);
        if (due && attachment.frames.stream.status === 'open') this.#tell(attachment);
      });
  }

  #behind({ told }: Attachment): boolean {
    return told !== undefined && told < this.#logStart + this.#log.length;
  }

  async #send(attachment: Attachment): Promise<void> {
    const { gate, key, trust, seal: sealing = PLAIN } = this.#options;
    const { member, nonce } = attachment;
    const base = attachment.sequence;
    const change = this.#since(attachment.told);
    attachment.told = this.#logStart + this.#log.length;
    attachment.sequence++;
    const update: DirectoryUpdate = {
      serviceId: gate.overlayId,
      recipient: member.value.peerId,
      nonce,
      epoch: trust().epoch,
      sequence: attachment.sequence,
      base: change.whole ? undefined : base,
      joined: change.joined.map(({ credential, multiaddrs, superPeer }) => ({
        credential,
        multiaddrs: [...multiaddrs],
        superPeer,
      })),
      left: [...change.left],
    };
    const envelope = await seal(DIRECTORY, update, key);
    const sealed = await sealing.seal(envelope, member.value, nonce);
    await attachment.frames.write(frame({ update: sealed }), {
      signal: this.#limit(MESSAGE_LIMIT),
    });
  }

  #since(told: number | undefined): MembershipChange & { whole: boolean } {
    const { membership } = this.#options;
    if (told === undefined || told < this.#logStart) {
      return { whole: true, joined: membership.members(), left: [] };
    }
    const joined: Member[] = [];
    const left: MembershipChange['left'][number][] = [];
    for (const name of new Set(this.#log.slice(told - this.#logStart))) {
      const id = parsePeerId(name);
      const member = membership.member(id);
      if (member) joined.push(member);
      else left.push(id);
    }
    return { whole: false, joined, left };
  }

  #limit(limit: number): AbortSignal {
    return timeLimit(limit, this.#options.gate.closed);
  }
}

function isMultiaddr(text: string): boolean {
  try {
    multiaddr(text);
    return true;
  } catch {
    return false;
  }
}

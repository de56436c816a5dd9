/**
 * The member's end of the directory: attached to one super-peer of the service, and to the next one
 * when that fails. What it learnt stays while none can be reached.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AbortOptions, Ed25519PeerId } from '@libp2p/interface';
import { MAX_MULTIADDRS, type TcpMultiaddr } from '../codec/multiaddr.ts';
import { Emitter } from '../events.ts';
import {
  DIRECTORY_NONCE_LENGTH,
  type DirectoryUpdate,
  MAX_KNOWN_MEMBERS,
} from '../records/directory.ts';
import type { Opened } from '../records/envelope.ts';
import { peerIdKey } from '../records/peer-id.ts';
import { MessageStream } from '../wire/message-stream.ts';
import {
  BEAT_INTERVAL,
  DIRECTORY_FRAMES,
  DIRECTORY_SUFFIX,
  type DirectoryFrame,
  type DirectorySeal,
  frame,
  MESSAGE_LIMIT,
  PLAIN,
  SILENCE_LIMIT,
} from './directory.ts';
import {
  DirectoryClientError,
  type Expected,
  openListed,
  openUpdate,
  type Position,
  type UpdateContext,
} from './directory-check.ts';
import type { Gate, Target, Trust } from './gate.ts';
import { timeLimit } from './host.ts';
import { digestsOf, stands } from './known-members.ts';
import type { Member } from './membership.ts';

/** Milliseconds before a super-peer is tried again, when all have failed: at first, at most. */
const RETRY = { first: 500, most: 10_000 };

/** Milliseconds for which a super-peer's word on another machine with this key counts. */
const DUPLICATE = 600_000;

/** Milliseconds for which a member stays that the first list of a new attachment leaves out. */
const DOUBT = 20_000;

export { DirectoryClientError } from './directory-check.ts';

export interface DirectoryClientOptions {
  /** The service's gate on this member. */
  readonly gate: Gate;
  /** The service's super-peers, best first; asked for at each attempt. */
  readonly superPeers: () => readonly Target[];
  /** The addresses at which other members can dial this one. */
  readonly multiaddrs: () => readonly TcpMultiaddr[];
  readonly trust: () => Trust;
  readonly seal?: Pick<DirectorySeal, 'open'>;
  /** The members from before a restart: confirmed or dropped like those of an earlier attachment. */
  readonly known?: readonly Member[];
  /** Milliseconds since 1970. */
  readonly clock?: () => number;
}

interface Attachment extends Expected {
  /** The members that it said it knows, in order. */
  readonly known: readonly Member[];
  position: Position | undefined;
  unfinished: DirectoryUpdate | undefined;
  /** Whether a part of the unfinished update has changed the list. */
  changed: boolean;
}

interface DirectoryClientEvents {
  /** All members, this one included. */
  change: [Member[]];
  attached: [Ed25519PeerId];
  /** The stream ended; another super-peer is being tried. */
  detached: [unknown];
  /** Every super-peer has been tried, and none holds an attachment. */
  round: [];
  /** The super-peer says that another machine uses this node's key, and where that is. */
  duplicate: [string];
}

export class DirectoryClient extends Emitter<DirectoryClientEvents> {
  readonly #options: DirectoryClientOptions;
  readonly #clock: () => number;
  readonly #context: UpdateContext;
  readonly #life = new AbortController();
  /** By `peerIdKey`. */
  readonly #members = new Map<string, Member>();
  /** Members that the list of a new attachment has not confirmed yet. */
  #doubted = new Set<string>();
  #doubting: NodeJS.Timeout | undefined;
  #frames: MessageStream<DirectoryFrame> | undefined;
  #superPeer: Ed25519PeerId | undefined;
  #session = 0;
  /** Why no attachment stands; undefined while one does, and before the first try has ended. */
  #problem: unknown;
  #duplicate: { readonly place: string; readonly at: number } | undefined;
  /** Whether the attachment that ends is to be begun again where it was. */
  #again = false;
  #running: Promise<void> | undefined;

  constructor(options: DirectoryClientOptions) {
    super();
    this.#options = options;
    this.#clock = options.clock ?? Date.now;
    const { gate, trust, seal = PLAIN, known = [] } = options;
    for (const each of known) this.#members.set(peerIdKey(each.peerId), each);
    this.#context = {
      ...{ serviceId: gate.overlayId, self: gate.host.peerId, trust, seal, clock: this.#clock },
    };
  }

  /** The super-peer that this member is attached to. */
  get superPeer(): Ed25519PeerId | undefined {
    return this.#superPeer;
  }

  /** Why this member is attached to no super-peer, as far as that is known. */
  get problem(): string | undefined {
    if (this.#superPeer !== undefined || this.#problem === undefined) return undefined;
    return this.#problem instanceof Error ? this.#problem.message : String(this.#problem);
  }

  /** Where another machine uses this node's key, if a super-peer has seen that lately. */
  get duplicate(): string | undefined {
    const { place, at } = this.#duplicate ?? {};
    return at !== undefined && performance.now() - at < DUPLICATE ? place : undefined;
  }

  members(): Member[] {
    return [...this.#members.values()];
  }

  /**
   * Attaches to a super-peer and stays attached, at another one when that fails, until `close`.
   *
   * @param options.signal ends the tries for the first attachment
   * @returns once the first list is there, or at `close`
   * @throws DirectoryClientError `ERR_DIRECTORY_UNREACHABLE` when the signal came by a time limit;
   * else the signal's reason
   */
  async attach(options: AbortOptions = {}): Promise<void> {
    if (this.#running !== undefined) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#running = this.#run(resolve, reject, options.signal);
    await promise;
  }

  /** Tells the super-peer that this member leaves, waits for its answer, and stops. */
  async goodbye(options: AbortOptions = {}): Promise<void> {
    const frames = this.#frames;
    try {
      if (frames !== undefined && frames.stream.status === 'open') {
        const signal = timeLimit(MESSAGE_LIMIT, options.signal, this.#life.signal);
        const ended = Promise.withResolvers<void>();
        const onEnd = (): void => ended.resolve();
        for (const name of ['remoteCloseWrite', 'close'] as const) {
          frames.stream.addEventListener(name, onEnd, { once: true });
        }
        signal.addEventListener('abort', onEnd, { once: true });
        await frames.write(frame({ goodbye: 1 }), { signal });
        await ended.promise;
      }
    } finally {
      await this.close();
    }
  }

  /** Attaches anew at the same super-peer, as a node with a newer credential must. */
  reattach(): void {
    this.#again = this.#frames !== undefined;
    this.#frames?.stream.abort(new Error('attaching anew'));
  }

  /** Stops without a word: to others it looks like a crash. */
  async close(): Promise<void> {
    this.#life.abort(new DirectoryClientError('ERR_DIRECTORY_CLOSED', 'closed', 'start it again'));
    clearTimeout(this.#doubting);
    this.#frames?.stream.abort(new Error('closed'));
    await this.#running;
    clearTimeout(this.#doubting);
    this.removeAllListeners();
  }

  /** Attaches again and again. `ready` and `failed` answer the caller of `attach`, once. */
  async #run(
    ready: () => void,
    failed: (error: unknown) => void,
    wish: AbortSignal | undefined,
  ): Promise<void> {
    let delay = RETRY.first;
    let first = true;
    while (!this.#life.signal.aborted) {
      for (const superPeer of this.#options.superPeers()) {
        if (this.#life.signal.aborted) break;
        do {
          this.#again = false;
          try {
            await this.#attachTo(superPeer, first ? wish : undefined, () => {
              first = false;
              delay = RETRY.first;
              ready();
            });
          } catch (error) {
            this.#problem = error;
            if (first && wish?.aborted) break;
            if (this.listenerCount('detached') > 0) this.tell('detached', error);
          }
        } while (this.#again && !this.#life.signal.aborted);
        if (first && wish?.aborted) break;
      }
      if (first && wish?.aborted) {
        this.#running = undefined;
        failed(isTimeout(wish.reason) ? unreachable(this.#problem) : wish.reason);
        return;
      }
      this.tell('round');
      // Two machines with one key end each other's attachments: not twice a second for ever.
      if (this.duplicate !== undefined) delay = RETRY.most;
      // Not all at the same moment: a super-peer that restarts has many members.
      const jitter = 0.5 + Math.random() / 2;
      const signal = first && wish ? AbortSignal.any([wish, this.#life.signal]) : this.#life.signal;
      await sleep(delay * jitter, undefined, { signal }).catch(() => undefined);
      delay = Math.min(delay * 2, RETRY.most);
    }
    ready();
  }

  /** @returns never: it ends with the error that ended the attachment */
  async #attachTo(
    target: Target,
    wish: AbortSignal | undefined,
    attached: () => void,
  ): Promise<never> {
    const { gate, multiaddrs } = this.#options;
    const limit = timeLimit(2 * MESSAGE_LIMIT, wish, this.#life.signal);
    const stream = await gate.open(target, DIRECTORY_SUFFIX, { signal: limit });
    const frames: MessageStream<DirectoryFrame> = new MessageStream(stream, DIRECTORY_FRAMES);
    const nonce = randomBytes(DIRECTORY_NONCE_LENGTH);
    const known = this.members().slice(0, MAX_KNOWN_MEMBERS);
    const attachment: Attachment = {
      ...{ nonce, known, changed: false },
      ...{ position: undefined, unfinished: undefined },
    };
    this.#session = Math.max(this.#session + 1, this.#clock());
    let beat: NodeJS.Timeout | undefined;
    try {
      const own = multiaddrs().slice(0, MAX_MULTIADDRS);
      const wanted = { nonce, session: this.#session, multiaddrs: [...own] };
      await frames.write(frame({ attach: { ...wanted, known: digestsOf(known) } }), {
        signal: limit,
      });
      for (;;) {
        const signal = timeLimit(SILENCE_LIMIT, this.#life.signal);
        const begun = attachment.position ?? attachment.unfinished;
        const message = await frames.read({ signal: begun ? signal : limit });
        if (!(await this.#take(message, attachment))) continue;
        beat ??= setInterval(() => this.#beat(frames), BEAT_INTERVAL);
        if (attachment.position === undefined || this.#frames === frames) continue;
        this.#frames = frames;
        attached();
      }
    } catch (error) {
      stream.abort(error instanceof Error ? error : new Error(String(error)));
      throw error;
    } finally {
      clearInterval(beat);
      this.#frames = undefined;
      this.#superPeer = undefined;
    }
  }

  #beat(frames: MessageStream<DirectoryFrame>): void {
    const signal = timeLimit(MESSAGE_LIMIT, this.#life.signal);
    frames.write(frame({ beat: 1 }), { signal }).catch((error: unknown) => {
      frames.stream.abort(error instanceof Error ? error : new Error(String(error)));
    });
  }

  /** @returns whether the message was an update. @throws DirectoryClientError when it must not be taken */
  async #take(message: DirectoryFrame, attachment: Attachment): Promise<boolean> {
    if (message.duplicate !== undefined) this.#warned(message.duplicate);
    const opened = await openUpdate(message, attachment, this.#context);
    if (opened === undefined) return false;
    const { value, signer } = opened;
    const before = attachment.position;
    if (value.base === undefined && value.part === 0) {
      this.#beginWhole(value, before ? [] : attachment.known);
    }
    if (await this.#apply(opened)) attachment.changed = true;
    attachment.unfinished = value.last === 1 ? undefined : value;
    if (attachment.unfinished !== undefined) return true;
    attachment.position = { feed: value.feed, sequence: value.sequence };
    if (attachment.changed || value.base === undefined) this.tell('change', this.members());
    attachment.changed = false;
    if (before === undefined) {
      this.#superPeer = signer;
      this.tell('attached', signer);
    }
    return true;
  }

  #warned(place: string): void {
    const isNew = this.duplicate !== place;
    this.#duplicate = { place, at: performance.now() };
    if (isNew) this.tell('duplicate', place);
  }

  #beginWhole({ kept = new Uint8Array() }: DirectoryUpdate, known: readonly Member[]): void {
    this.#doubtAll();
    for (const [i, { peerId }] of known.entries()) {
      if (stands(kept, i)) this.#doubted.delete(peerIdKey(peerId));
    }
  }

  /** @returns whether the list is another one now */
  async #apply({ value: { joined, left }, signer }: Opened<DirectoryUpdate>): Promise<boolean> {
    let changed = false;
    for (const id of left) {
      const name = peerIdKey(id);
      this.#doubted.delete(name);
      changed = this.#members.delete(name) || changed;
    }
    return (await this.#enter(joined, signer)) || changed;
  }

  /** @returns whether any of them is a member */
  async #enter(joined: DirectoryUpdate['joined'], superPeer: Ed25519PeerId): Promise<boolean> {
    let any = false;
    for (const entry of joined) {
      const member = await openListed(entry, superPeer, this.#context);
      if (member === undefined) continue;
      const name = peerIdKey(member.peerId);
      this.#doubted.delete(name);
      this.#members.set(name, member);
      any = true;
    }
    return any;
  }

  /**
   * A super-peer that has just started knows few members yet. Those that its first list leaves out
   * stay for a while, so that they are not lost and found again.
   */
  #doubtAll(): void {
    this.#doubted = new Set(this.#members.keys());
    clearTimeout(this.#doubting);
    if (this.#doubted.size === 0) return;
    this.#doubting = setTimeout(() => {
      let changed = false;
      for (const name of this.#doubted) changed = this.#members.delete(name) || changed;
      this.#doubted.clear();
      if (changed) this.tell('change', this.members());
    }, DOUBT);
  }
}

const isTimeout = (reason: unknown): boolean =>
  reason instanceof Error && reason.name === 'TimeoutError';

function unreachable(cause: unknown): DirectoryClientError {
  const why = cause instanceof Error ? `: ${cause.message}` : '';
  return new DirectoryClientError(
    'ERR_DIRECTORY_UNREACHABLE',
    `no super-peer of the service answers${why}`,
    'check the network, and that a super-peer of the service runs',
    { cause },
  );
}

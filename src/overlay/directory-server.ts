/** The super-peer's end of the directory: who is attached, and who is told what. */
import { setImmediate } from 'node:timers/promises';
import type { Connection, PrivateKey, Stream } from '@libp2p/interface';
import { tryGetNetConfig } from '@libp2p/utils';
import type { Prefix } from '../codec/ip.ts';
import { ipOf } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import type { Credential } from '../records/credential.ts';
import {
  DIRECTORY,
  type DirectoryContents,
  type DirectoryUpdate,
  partsOf,
} from '../records/directory.ts';
import { type Opened, seal } from '../records/envelope.ts';
import { MessageStream } from '../wire/message-stream.ts';
import {
  ATTACH_FRAMES,
  DIRECTORY_SUFFIX,
  type DirectoryFrame,
  type DirectorySeal,
  frame,
  MESSAGE_LIMIT,
  PLAIN,
  SILENCE_LIMIT,
} from './directory.ts';
import { DirectoryFeed } from './directory-feed.ts';
import { Duplicates } from './duplicates.ts';
import type { Gate, Pass, Trust } from './gate.ts';
import { timeLimit } from './host.ts';
import type { Membership, MembershipChange } from './membership.ts';
import { seenFirst } from './seen-address.ts';

/**
 * Milliseconds during which changes are collected before members are told: this, or so much for each
 * member attached. Telling one takes about 0.1 ms of computing; while many join, a super-peer is to
 * spend but a small part of its time on telling all others, each time.
 */
const COLLECT = 100;
const COLLECT_EACH = 2;
/**
 * After all have been told, at least so many times as long as that took, in milliseconds at most: a super-peer
 * that has less of a processor than it needs has to serve those who join, too.
 */
const REST = { times: 2, most: 2_000 };
/** Members told between two turns of the event loop. */
const SLICE = 16;
/**
 * Milliseconds for which a member counts as there that is not heard: a little longer than its stream lives
 * without a word, and {@link GRACE} at most where that breaks, to come back by another, as after a renewal.
 */
const ABSENCE = SILENCE_LIMIT + 2_000;
const GRACE = 10_000;

/** Characters of a place: they are ASCII. */
const MAX_PLACE = 256;

export class DirectoryError extends IcvpnError {}

export interface DirectoryServerOptions {
  /** The service's gate on this super-peer. */
  readonly gate: Gate;
  readonly membership: Membership;
  /** The super-peer's key, which signs the updates. */
  readonly key: PrivateKey;
  readonly trust: () => Trust;
  readonly seal?: Pick<DirectorySeal, 'seal' | 'sealForAll'>;
  /** Prefixes of the service's virtual addresses. */
  readonly virtual?: readonly Prefix[];
  /** Two machines use the key of one member: told again and again while they do. */
  readonly onDuplicate?: (duplicate: Duplicate) => void;
}

/** One member's key at two places. */
export interface Duplicate {
  readonly member: Opened<Credential>;
  /** As far as this super-peer can tell. */
  readonly places: readonly [string, string];
}

interface Attachment {
  readonly member: Opened<Credential>;
  readonly frames: MessageStream<DirectoryFrame>;
  readonly nonce: Uint8Array;
  /** Digests of the members that it knew when it attached. */
  readonly known: Uint8Array;
  /** The feed's sequence up to which it has been told; undefined before the whole list. */
  told: number | undefined;
  sending: Promise<void> | undefined;
}

/** Updates for all who are as far, by their base; of one state of the feed and one epoch. */
interface News {
  readonly sequence: number;
  readonly epoch: number;
  readonly byBase: Map<number, Promise<Uint8Array[]>>;
}

export class DirectoryServer {
  readonly #options: DirectoryServerOptions;
  readonly #feed: DirectoryFeed;
  readonly #attached = new Map<string, Attachment>();
  readonly #leaving = new Map<string, NodeJS.Timeout>();
  readonly #duplicates = new Duplicates();
  #news: News = { sequence: 0, epoch: 0, byBase: new Map() };
  #timer: NodeJS.Timeout | undefined;
  /** By the monotonic clock. */
  #restUntil = 0;
  #closed = false;

  constructor(options: DirectoryServerOptions) {
    this.#options = options;
    this.#feed = new DirectoryFeed(options.membership, () => this.#schedule());
  }

  async start(): Promise<void> {
    const { gate, membership } = this.#options;
    membership.on('change', this.#onChange);
    await gate.handle(
      DIRECTORY_SUFFIX,
      (stream, connection, pass) => this.#serve(stream, connection, pass),
      {
        maxInboundStreams: 2,
      },
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { gate, membership } = this.#options;
    membership.off('change', this.#onChange);
    await gate.unhandle(DIRECTORY_SUFFIX);
    this.#feed.close();
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

  async #serve(stream: Stream, connection: Connection, pass: Pass): Promise<void> {
    if (pass === 'admitter') {
      throw new DirectoryError('ERR_DIRECTORY', 'only members attach', 'get a credential first');
    }
    const peer = pass.value.peerId;
    const name = peer.toString();
    const frames = new MessageStream(stream, ATTACH_FRAMES);
    const { attach } = await frames.read({ signal: this.#limit(MESSAGE_LIMIT) });
    if (attach === undefined || this.#closed) {
      throw new DirectoryError('ERR_DIRECTORY', 'no attachment', 'update the member');
    }
    const { nonce, session, known = new Uint8Array() } = attach;
    const older = this.#attached.get(name);
    const attachment: Attachment = {
      member: pass,
      frames,
      nonce,
      known,
      told: undefined,
      sending: undefined,
    };
    this.#attached.set(name, attachment);
    older?.frames.stream.abort(new DirectoryError('ERR_DIRECTORY', 'attached anew', 'none'));
    clearTimeout(this.#leaving.get(name));
    this.#leaving.delete(name);
    let clean = false;
    let heard = performance.now();
    try {
      const { membership, virtual = [] } = this.#options;
      const seen = ipOf(connection.remoteAddr);
      membership.add(pass, seenFirst(attach.multiaddrs, seen, virtual), session);
      this.#tell(attachment);
      const place = placeOf(connection, attach.multiaddrs);
      const other = this.#duplicates.attached(name, place);
      if (other !== undefined) await this.#warn(attachment, [place, other]);
      for (;;) {
        const message = await frames.read({ signal: this.#limit(SILENCE_LIMIT) });
        heard = performance.now();
        if (message.goodbye !== undefined) {
          clean = true;
          break;
        }
        await frames.write(frame({ beat: 1 }), { signal: this.#limit(MESSAGE_LIMIT) });
        await this.#heard(attachment, place);
      }
      await stream.close({ signal: this.#limit(MESSAGE_LIMIT) });
    } finally {
      if (this.#attached.get(name) === attachment) {
        this.#attached.delete(name);
        this.#duplicates.left(name);
        this.#leave(attachment, clean, heard);
      }
    }
  }

  /** A member that beats here is attached here: the newest attachment that is known must be this one. */
  async #heard(attachment: Attachment, place: string): Promise<void> {
    const { membership, gate } = this.#options;
    const { peerId } = attachment.member.value;
    const newest = membership.member(peerId);
    const elsewhere = newest !== undefined && !newest.superPeer.equals(gate.host.peerId);
    if (!this.#duplicates.heard(peerId.toString(), elsewhere) || newest === undefined) return;
    await this.#warn(attachment, [place, `${newest.multiaddrs.join()} by ${newest.superPeer}`]);
  }

  async #warn(
    { member, frames }: Attachment,
    places: readonly [here: string, other: string],
  ): Promise<void> {
    this.#options.onDuplicate?.({ member, places });
    const duplicate = places[1].slice(0, MAX_PLACE);
    await frames.write(frame({ duplicate }), { signal: this.#limit(MESSAGE_LIMIT) });
  }

  /** @param heard when it was last heard, by the monotonic clock */
  #leave({ member }: Attachment, clean: boolean, heard: number): void {
    const { peerId } = member.value;
    const { membership } = this.#options;
    membership.detached(peerId);
    if (clean) membership.remove(peerId);
    else if (!this.#closed) {
      const name = peerId.toString();
      const absence = heard + ABSENCE - performance.now();
      const timer = setTimeout(
        () => {
          this.#leaving.delete(name);
          membership.remove(peerId);
        },
        Math.min(Math.max(absence, 0), GRACE),
      );
      this.#leaving.set(name, timer);
    }
  }

  readonly #onChange = (change: MembershipChange): void => this.#feed.note(change);

  #schedule(): void {
    const rest = this.#restUntil - performance.now();
    const wait = Math.max(COLLECT, COLLECT_EACH * this.#attached.size, rest);
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#tellAll();
    }, wait);
  }

  async #tellAll(): Promise<void> {
    const begin = performance.now();
    const attached = [...this.#attached.values()];
    for (const [n, attachment] of attached.entries()) {
      if (n % SLICE === SLICE - 1) await setImmediate();
      if (this.#closed) return;
      if (attachment.frames.stream.status === 'open') this.#tell(attachment);
    }
    const end = performance.now();
    this.#restUntil = end + Math.min(REST.most, REST.times * (end - begin));
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
    return told !== undefined && told < this.#feed.sequence;
  }

  async #send(attachment: Attachment): Promise<void> {
    const { told, member } = attachment;
    if (told === this.#feed.sequence) return;
    const { epoch } = this.#options.trust();
    const changes = told === undefined ? undefined : this.#feed.since(told);
    attachment.told = this.#feed.sequence;
    // Members of an epoch that is over get nothing that is for all.
    const shared = told !== undefined && changes && member.value.epoch === epoch;
    const parts = shared
      ? (await this.#sharedNews(told, changes, epoch)).map((news) => frame({ news }))
      : (await this.#ownUpdate(attachment, told, changes, epoch)).map((update) =>
          frame({ update }),
        );
    for (const part of parts) {
      await attachment.frames.write(part, { signal: this.#limit(MESSAGE_LIMIT) });
    }
  }

  /** Made once for all who have been told as much. */
  #sharedNews(base: number, changes: DirectoryContents, epoch: number): Promise<Uint8Array[]> {
    const { key, seal: sealing = PLAIN } = this.#options;
    const { sequence } = this.#feed;
    if (this.#news.sequence !== sequence || this.#news.epoch !== epoch) {
      this.#news = { sequence, epoch, byBase: new Map() };
    }
    const { byBase } = this.#news;
    const made = byBase.get(base);
    if (made !== undefined) return made;
    const head = { ...this.#position(epoch), base, recipient: undefined };
    const { serviceId } = head;
    const making = sealParts(changes, head, key, (envelope) =>
      sealing.sealForAll(envelope, { serviceId, epoch }),
    );
    byBase.set(base, making);
    return making;
  }

  /** The first one of an attachment, or one for a member that cannot read what is for all. */
  async #ownUpdate(
    { member, nonce, known }: Attachment,
    told: number | undefined,
    changes: DirectoryContents | undefined,
    epoch: number,
  ): Promise<Uint8Array[]> {
    const { key, seal: sealing = PLAIN } = this.#options;
    // Whoever is too far behind for the feed is told all, as if it knew nobody.
    const contents = changes ?? this.#feed.whole(told === undefined ? known : new Uint8Array());
    const recipient = { peerId: member.value.peerId, nonce };
    const base = changes && told;
    const head = { ...this.#position(epoch), base, recipient };
    return sealParts(contents, head, key, (envelope) =>
      sealing.seal(envelope, member.value, nonce),
    );
  }

  #position(epoch: number): Pick<DirectoryUpdate, 'serviceId' | 'feed' | 'epoch' | 'sequence'> {
    const { id: feed, sequence } = this.#feed;
    return { serviceId: this.#options.gate.overlayId, feed, epoch, sequence };
  }

  #limit(limit: number): AbortSignal {
    return timeLimit(limit, this.#options.gate.closed);
  }
}

/** Where a member is: what the connection shows, and what it tells. */
function placeOf({ remoteAddr }: Connection, multiaddrs: readonly string[]): string {
  const host = tryGetNetConfig(remoteAddr)?.host ?? remoteAddr.toString();
  return `${host} (${multiaddrs.join() || 'no address'})`.slice(0, MAX_PLACE);
}

/** Signs and seals what is to be told, in parts. */
async function sealParts(
  contents: DirectoryContents,
  head: Omit<DirectoryUpdate, keyof DirectoryContents | 'part' | 'last'>,
  key: PrivateKey,
  hide: (envelope: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array[]> {
  const parts = partsOf(contents);
  const sealed: Uint8Array[] = [];
  for (const [part, each] of parts.entries()) {
    const last = part === parts.length - 1 ? 1 : 0;
    sealed.push(await hide(await seal(DIRECTORY, { ...head, ...each, part, last }, key)));
  }
  return sealed;
}

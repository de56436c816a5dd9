/** Opens membership shards as they arrive: one at a time, the newest of each bucket only. */
import { IcvpnError } from '../errors.ts';
import { CREDENTIAL, type Credential } from '../records/credential.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';
import { type MembershipShard, SHARD_CONTENT, type ShardContent } from '../records/membership.ts';
import type { Claim } from './claims.ts';
import type { ShardSeal } from './shard-seal.ts';

export interface ShardReaderOptions {
  readonly seal: Pick<ShardSeal, 'open'>;
  /** What is known already of the super-peer and bucket of a shard. */
  readonly known: (shard: MembershipShard) => ReadonlyMap<string, Claim>;
  /** Takes what a shard says. */
  readonly take: (shard: MembershipShard, claims: readonly Claim[]) => void;
}

export class ShardReader {
  readonly #options: ShardReaderOptions;
  /** Shards that came and wait for their check. */
  readonly #waiting = new Map<string, MembershipShard>();
  /** Shards that did not open when they came. */
  readonly #unopened = new Map<string, MembershipShard>();
  #reading: Promise<void> | undefined;
  #closed = false;

  constructor(options: ShardReaderOptions) {
    this.#options = options;
  }

  /** Puts a shard in the place of an older one that still waits. */
  enqueue(shard: MembershipShard): void {
    const name = `${shard.superPeer}/${shard.bucket}`;
    this.#unopened.delete(name);
    this.#waiting.set(name, shard);
    this.#reading ??= this.#readAll();
  }

  /** Tries those again that did not open when they came. */
  retry(): void {
    const again = [...this.#unopened].filter(([name]) => !this.#waiting.has(name));
    for (const [, shard] of again) this.enqueue(shard);
  }

  /** Resolves when none waits. */
  async idle(): Promise<void> {
    await this.#reading;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled([this.#reading]);
  }

  /** Opens what is new in a shard; entries that nobody signed are left out. */
  async read(shard: MembershipShard): Promise<void> {
    const { superPeer } = shard;
    const content = await this.#open(shard);
    if (content === undefined) return;
    const { members, departed } = content;
    const known = new Map<string, Opened<Credential>>();
    for (const { present } of this.#options.known(shard).values()) {
      if (present) known.set(spelling(present.credential.bytes), present.credential);
    }
    const claims: Claim[] = departed.map((each) => ({ ...each, superPeer, present: undefined }));
    for (const { credential, multiaddrs, session } of members) {
      const opened = known.get(spelling(credential)) ?? (await openOrSkip(credential));
      if (opened === undefined) continue;
      const { peerId } = opened.value;
      claims.push({ peerId, superPeer, session, present: { credential: opened, multiaddrs } });
    }
    this.#options.take(shard, claims);
  }

  /** @returns undefined for what says nothing, now or ever */
  async #open(shard: MembershipShard): Promise<ShardContent | undefined> {
    try {
      const content = await this.#options.seal.open(shard.content);
      if (content !== undefined) return SHARD_CONTENT.decode(content);
      this.#unopened.set(`${shard.superPeer}/${shard.bucket}`, shard);
    } catch (error) {
      if (!(error instanceof IcvpnError)) throw error;
    }
    return undefined;
  }

  async #readAll(): Promise<void> {
    try {
      for (const [name, shard] of this.#waiting) {
        if (this.#closed) return;
        this.#waiting.delete(name);
        await this.read(shard);
      }
    } finally {
      // At once: a shard that comes a moment later must find that nobody reads any more.
      this.#reading = undefined;
    }
  }
}

/** The bytes as a key of a map. */
const spelling = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

async function openOrSkip(bytes: Uint8Array): Promise<Opened<Credential> | undefined> {
  try {
    return await open(CREDENTIAL, bytes);
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}

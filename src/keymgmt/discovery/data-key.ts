/**
 * Data keys of member lists, kept on both sides: wrapping one by attribute-based encryption takes 12 ms
 * and unwrapping it 20 ms, sealing a list under one that is there takes none of that. All lists under
 * one policy go to the same readers, so they may share a key; each has an IV of its own.
 */
import { createHash, randomFillSync } from 'node:crypto';
import type { AbortOptions } from '@libp2p/interface';
import { MemberListError } from './errors.ts';
import { DATA_KEY_BYTES } from './messages.ts';

/** Encrypts a data key under a policy: `encrypt` of icvpn/abe, here or in the authority's thread. */
export type WrapKey = (policy: string, key: Uint8Array) => Uint8Array | Promise<Uint8Array>;

export interface DataKey {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** The same, encrypted under a policy. */
  readonly wrapped: Uint8Array;
}

/** Lists under one key. Random IVs of 96 bits would allow 2^32 (NIST SP 800-38D, section 8.3). */
const MAX_USES = 2 ** 20;

interface Kept {
  readonly made: Promise<DataKey>;
  uses: number;
}

/** The super-peer's side: one data key for each policy, the least recently used ones dropped. */
export class DataKeys {
  readonly #wrap: WrapKey;
  readonly #most: number;
  readonly #kept = new Map<string, Kept>();
  #wrapping = 0;

  /** @param most how many keys to keep */
  constructor(wrap: WrapKey, most = 4096) {
    this.#wrap = wrap;
    this.#most = most;
  }

  /** How many keys are being wrapped now. */
  get wrapping(): number {
    return this.#wrapping;
  }

  /** Whether the key for a policy is there, or will be soon. */
  has(policy: string): boolean {
    return this.#kept.has(policy);
  }

  /** @returns the key for a policy; a copy, for the caller to overwrite. @throws what wrapping throws */
  async get(policy: string, options?: AbortOptions): Promise<DataKey> {
    options?.signal?.throwIfAborted();
    const known = this.#kept.get(policy);
    const worn = known !== undefined && known.uses >= MAX_USES;
    if (worn) this.#forget(policy, known);
    const kept = known === undefined || worn ? { made: this.#make(policy), uses: 0 } : known;
    kept.uses += 1;
    // A Map iterates in the order of insertion: the first policy is the one unused for longest.
    this.#kept.delete(policy);
    this.#kept.set(policy, kept);
    for (const [oldest, old] of this.#kept) {
      if (this.#kept.size <= this.#most) break;
      this.#forget(oldest, old);
    }
    try {
      const { key, wrapped } = await kept.made;
      return { key: key.slice(), wrapped };
    } catch (error) {
      if (this.#kept.get(policy) === kept) this.#kept.delete(policy);
      throw error;
    }
  }

  /** Overwrites all keys. */
  clear(): void {
    for (const [policy, kept] of this.#kept) this.#forget(policy, kept);
  }

  #forget(policy: string, { made }: Kept): void {
    this.#kept.delete(policy);
    // After those who already wait for it have taken their copies. Why it could not be made, they hear.
    made.then(
      ({ key }) => key.fill(0),
      () => undefined,
    );
  }

  async #make(policy: string): Promise<DataKey> {
    const key = randomFillSync(new Uint8Array(DATA_KEY_BYTES));
    this.#wrapping++;
    try {
      return { key, wrapped: await this.#wrap(policy, key) };
    } finally {
      this.#wrapping--;
    }
  }
}

/** Decrypts a data key: `decrypt` of icvpn/abe, here or in the authority's thread. */
export type UnwrapKey = (wrapped: Uint8Array) => Uint8Array | Promise<Uint8Array>;

/** The reader's side: data keys that were unwrapped, the least recently used ones dropped. */
export class DataKeyReader {
  readonly #unwrap: UnwrapKey;
  readonly #most: number;
  readonly #known = new Map<string, Promise<Uint8Array>>();

  /** @param most how many keys to remember */
  constructor(unwrap: UnwrapKey, most = 4) {
    this.#unwrap = unwrap;
    this.#most = most;
  }

  /**
   * @returns the data key; a copy, for the caller to overwrite
   * @throws what unwrapping throws; MemberListError if what was wrapped is no data key
   */
  readonly unwrap = async (wrapped: Uint8Array): Promise<Uint8Array> => {
    const name = createHash('sha256').update(wrapped).digest('base64');
    const made = this.#known.get(name) ?? this.#open(wrapped);
    this.#known.delete(name);
    this.#known.set(name, made);
    for (const [oldest, old] of this.#known) {
      if (this.#known.size <= this.#most) break;
      this.#forget(oldest, old);
    }
    try {
      return (await made).slice();
    } catch (error) {
      if (this.#known.get(name) === made) this.#known.delete(name);
      throw error;
    }
  };

  /** Overwrites the remembered keys. */
  clear(): void {
    for (const [name, made] of this.#known) this.#forget(name, made);
  }

  #forget(name: string, made: Promise<Uint8Array>): void {
    this.#known.delete(name);
    // After those who already wait for it have taken their copies. Why it does not open, they hear.
    made.then(
      (key) => key.fill(0),
      () => undefined,
    );
  }

  async #open(wrapped: Uint8Array): Promise<Uint8Array> {
    const key = await this.#unwrap(wrapped);
    if (key.length === DATA_KEY_BYTES) return key;
    throw new MemberListError('content', `a member list: a data key of ${key.length} bytes`);
  }
}

/**
 * Discovery at a super-peer: the attribute authority of one service, keys for its members, and the
 * seal over what the directory tells them.
 *
 * ```
 *  descriptor: public key ─┐
 *  sealed secrets: master ─┴▶ authority's thread ─▶ attribute keys ─▶ members, once an epoch
 *                                    └────────────▶ data keys ─▶ seal ─▶ directory, own shard in tier 1
 * ```
 *
 * A new epoch brings a new authority: keys of the old one open nothing of the new. Members move one after
 * the other; those whose credential is still of the epoch before are served as before for a while.
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import { serviceAttributes } from '../keymgmt/discovery/attributes.ts';
import { Authority, type AuthorityKeys } from '../keymgmt/discovery/authority.ts';
import { DataKeyReader, DataKeys } from '../keymgmt/discovery/data-key.ts';
import { type UpdateSealer, updateSealer } from '../keymgmt/discovery/directory-seal.ts';
import { AuthorityError } from '../keymgmt/discovery/errors.ts';
import { openShard, sealShard } from '../keymgmt/discovery/shard-seal.ts';
import type { DirectorySeal } from '../overlay/directory.ts';
import type { Gate } from '../overlay/gate.ts';
import type { ShardSeal } from '../overlay/shard-seal.ts';
import { MAX_ADMITTERS } from '../records/descriptor.ts';
import { ATTRIBUTES_SUFFIX, serveAttributeKeys } from './attribute-protocol.ts';
import type { Log } from './log.ts';

export interface DiscoveryServerOptions {
  readonly serviceId: Ed25519PeerId;
  /** The super-peer's own key. */
  readonly key: PrivateKey;
  readonly log: Log;
}

/** Milliseconds for which the authority before the newest one stays; longer than old credentials hold. */
const PREVIOUS_STAYS_MS = 360_000;

/** What one epoch has. */
interface Term {
  readonly epoch: number;
  /** Aborted at its end: an authority that has not started by then never does. */
  readonly life: AbortController;
  readonly authority: Promise<Authority>;
  readonly dataKeys: DataKeys;
  /** Of the data keys under which super-peers seal their shards. */
  readonly reader: DataKeyReader;
  readonly sealer: UpdateSealer;
}

export class DiscoveryServer implements AsyncDisposable {
  readonly #options: DiscoveryServerOptions;
  /** The newest, and for a while the one before. */
  readonly #terms = new Map<number, Term>();
  #newest: Term | undefined;
  #previous: NodeJS.Timeout | undefined;
  readonly #ending = new Set<Promise<void>>();
  #closed = false;

  constructor(options: DiscoveryServerOptions) {
    this.#options = options;
  }

  /**
   * What the directory seals updates with. A service without an authority has them in clear; one that
   * has an authority never, whatever the epoch of the recipient.
   */
  readonly seal: Pick<DirectorySeal, 'seal' | 'sealForAll'> = {
    seal: async (envelope, recipient, nonce) => {
      if (this.#newest === undefined) return envelope;
      const term = this.#terms.get(recipient.epoch);
      if (term === undefined) throw noAuthority(recipient.epoch);
      return term.sealer.seal(envelope, recipient, nonce);
    },
    sealForAll: async (envelope, of) => {
      const term = this.#newest;
      if (term === undefined) return envelope;
      // The policy of an epoch that is over still admits those for whom it was ended.
      if (term.epoch !== of.epoch) throw noAuthority(of.epoch);
      return term.sealer.sealForAll(envelope, of);
    },
  };

  /** What shards in tier 1 are sealed with; in clear only for a service without an authority. */
  readonly shards: ShardSeal = {
    seal: async (content) => {
      const term = this.#newest;
      if (term === undefined) return content;
      const { serviceId } = this.#options;
      return sealShard(content, { serviceId, epoch: term.epoch }, term.dataKeys);
    },
    open: async (sealed) => {
      if (this.#newest === undefined) return sealed;
      try {
        return await openShard(sealed, (epoch) => this.#terms.get(epoch)?.reader.unwrap);
      } catch (error) {
        // A thread that is busy, slow or has just ended says nothing about the shard.
        const answered = !(error instanceof AuthorityError) || error.code === 'ERR_AUTHORITY';
        if (answered && !(error instanceof DOMException)) throw error;
        return undefined;
      }
    },
  };

  /** Gives keys to members from now on, until the gate closes. */
  async serve(gate: Gate): Promise<void> {
    await serveAttributeKeys(gate, (epoch) => this.#terms.get(epoch)?.authority);
  }

  async unserve(gate: Gate): Promise<void> {
    await gate.unhandle(ATTRIBUTES_SUFFIX);
  }

  /**
   * Takes the authority of the newest descriptor. It starts in its thread; who needs it waits.
   *
   * @param keys copied; undefined for a service without an authority
   * @returns whether it is a new one
   */
  follow(epoch: number, keys: AuthorityKeys | undefined): boolean {
    const old = this.#newest;
    if (this.#closed || old?.epoch === epoch) return false;
    for (const term of this.#terms.values()) if (term !== old) this.#end(term);
    this.#newest = keys && this.#begin(epoch, keys);
    clearTimeout(this.#previous);
    if (old === undefined) return this.#newest !== undefined;
    this.#previous = setTimeout(() => this.#end(old), PREVIOUS_STAYS_MS);
    this.#previous.unref();
    return true;
  }

  #begin(epoch: number, keys: AuthorityKeys): Term {
    const { key, log, serviceId } = this.#options;
    const life = new AbortController();
    const { signal } = life;
    const late = (): void => log('authority-late', { epoch });
    const authority = Authority.startPatiently(keys, { signal, late });
    authority.catch((error) => {
      if (!signal.aborted) log('authority-failed', { why: String(error) });
    });
    const dataKeys = new DataKeys(async (policy, dataKey) =>
      (await authority).encrypt(policy, dataKey),
    );
    const own = serviceAttributes(serviceId, epoch);
    const reader = new DataKeyReader(
      async (wrapped) => (await authority).decrypt(own, wrapped),
      // One of each super-peer, and one more of each that has started anew.
      2 * MAX_ADMITTERS,
    );
    // The policy of an epoch that is over still admits those for whom it was ended.
    const mayShare = (): boolean => this.#newest === term;
    const sealer = updateSealer(dataKeys, key, Date.now, mayShare);
    const term = { epoch, life, authority, dataKeys, reader, sealer };
    this.#terms.set(epoch, term);
    return term;
  }

  #end({ epoch, life, authority, dataKeys, reader }: Term): void {
    this.#terms.delete(epoch);
    life.abort();
    dataKeys.clear();
    reader.clear();
    const ended = authority.then(
      (started) => started.close(),
      () => undefined,
    );
    this.#ending.add(ended);
    void ended.finally(() => this.#ending.delete(ended));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#previous);
    for (const term of this.#terms.values()) this.#end(term);
    await Promise.all(this.#ending);
  }
}

function noAuthority(epoch: number): IcvpnError {
  return new IcvpnError(
    'ERR_NO_AUTHORITY',
    `there is no attribute authority for epoch ${epoch}`,
    'the member must renew its credential',
  );
}

/** The owner's two halves must come together. @throws IcvpnError ERR_AUTHORITY_KEYS */
export function authorityKeys(
  publicKey: Uint8Array | undefined,
  masterKey: Uint8Array | undefined,
): AuthorityKeys | undefined {
  if (publicKey !== undefined && masterKey !== undefined) return { publicKey, masterKey };
  if (publicKey === undefined && masterKey === undefined) return undefined;
  throw new IcvpnError(
    'ERR_AUTHORITY_KEYS',
    'the descriptor has one half of the attribute authority and not the other',
    'the owner must sign and publish a new descriptor',
  );
}

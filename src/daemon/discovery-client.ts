/**
 * Discovery at a member: its attribute key, and opening what the directory tells.
 *
 * ```
 *  update ─▶ a key for this epoch? ─yes─▶ statement checked ─▶ opened
 *                 │ no                        ▲
 *                 ├─▶ secure cache ───────────┤
 *                 └─▶ any super-peer ─▶ kept ─┘
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { bytes, message, required, uint32 } from '../codec/protobuf.ts';
import {
  type AttributeKey,
  decodeAttributeKey,
  decrypt,
  initAbe,
  wipeAttributeKey,
} from '../keymgmt/abe/index.ts';
import type { SecureCache } from '../keymgmt/cache/secure-cache.ts';
import { DataKeyReader } from '../keymgmt/discovery/data-key.ts';
import { type UpdateOpener, updateOpener } from '../keymgmt/discovery/directory-seal.ts';
import { MemberListError } from '../keymgmt/discovery/errors.ts';
import type { DirectorySeal } from '../overlay/directory.ts';
import type { Gate, Target, Trust } from '../overlay/gate.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import { peerId } from '../records/peer-id.ts';
import { AttributeKeyError, MAX_ATTRIBUTE_KEY, requestAttributeKey } from './attribute-protocol.ts';
import type { Log } from './log.ts';

const CACHE_ENTRY = 'attribute-key';

const stored = message({
  serviceId: required(1, peerId()),
  epoch: required(2, uint32()),
  key: required(3, bytes({ max: MAX_ATTRIBUTE_KEY })),
});

export interface DiscoveryClientOptions {
  readonly gate: Gate;
  readonly cache: SecureCache;
  readonly peerId: Ed25519PeerId;
  /** The service's super-peers, best first. */
  readonly superPeers: () => readonly Target[];
  /** The newest descriptor. */
  readonly service: () => ServiceDescriptor;
  /** Of this member's credential: keys and lists are of the same one. */
  readonly epoch: () => number;
  readonly trust: () => Trust;
  readonly log: Log;
}

interface Term {
  readonly epoch: number;
  readonly key: AttributeKey;
  readonly reader: DataKeyReader;
  readonly opener: UpdateOpener;
}

export class DiscoveryClient implements AsyncDisposable {
  readonly #options: DiscoveryClientOptions;
  readonly #life = new AbortController();
  #term: Term | undefined;
  #obtaining: Promise<Term> | undefined;

  constructor(options: DiscoveryClientOptions) {
    this.#options = options;
    // Compiling the pairing library takes 90 ms, and a key some round trips: while the member attaches.
    if (options.service().attributePublicKey === undefined) return;
    initAbe().catch(() => undefined);
    // Who opens the first list asks again, and hears why it failed.
    this.#current().catch(() => undefined);
  }

  /** What the directory opens updates with: sealed ones only, if the descriptor says that they are. */
  readonly seal: Pick<DirectorySeal, 'open'> = {
    open: async (sealed, nonce) => {
      if (this.#options.service().attributePublicKey === undefined) return sealed;
      const term = await this.#current();
      try {
        return await term.opener.open(sealed, nonce);
      } catch (error) {
        // A list that must not be believed says nothing about the key. One that holds and does not open does.
        if (!(error instanceof MemberListError)) await this.#discard(term);
        throw error;
      }
    },
  };

  async #current(): Promise<Term> {
    const epoch = this.#options.epoch();
    if (this.#term?.epoch === epoch) return this.#term;
    this.#obtaining ??= this.#obtain(epoch).finally(() => {
      this.#obtaining = undefined;
    });
    return this.#obtaining;
  }

  async #obtain(epoch: number): Promise<Term> {
    const { peerId, gate, trust, log } = this.#options;
    const encoded = (await this.#load(epoch)) ?? (await this.#request(epoch));
    await initAbe();
    this.#life.signal.throwIfAborted();
    const key = decodeAttributeKey(encoded);
    encoded.fill(0);
    const reader = new DataKeyReader((wrapped) => decrypt(key, wrapped));
    const context = () => ({ serviceId: gate.overlayId, epoch, admitters: trust().admitters });
    const opener = updateOpener(reader, peerId, context);
    this.#wipe();
    this.#term = { epoch, key, reader, opener };
    log('attribute-key', { epoch });
    return this.#term;
  }

  async #load(epoch: number): Promise<Uint8Array | undefined> {
    const raw = await this.#options.cache.get(CACHE_ENTRY);
    if (raw === undefined) return undefined;
    const kept = stored.decode(raw);
    raw.fill(0);
    if (kept.epoch === epoch && kept.serviceId.equals(this.#options.gate.overlayId)) {
      return kept.key;
    }
    kept.key.fill(0);
    return undefined;
  }

  async #request(epoch: number): Promise<Uint8Array> {
    const { gate, cache, superPeers, log } = this.#options;
    const { signal } = this.#life;
    let last: unknown;
    for (const superPeer of superPeers()) {
      try {
        const key = await requestAttributeKey(gate, superPeer, { signal });
        const raw = stored.encode({ serviceId: gate.overlayId, epoch, key });
        await cache.put(CACHE_ENTRY, raw);
        raw.fill(0);
        return key;
      } catch (error) {
        signal.throwIfAborted();
        log('attribute-key-failed', { superPeer: String(superPeer), why: String(error) });
        last = error;
      }
    }
    throw new AttributeKeyError('no super-peer gives this member an attribute key', {
      cause: last,
    });
  }

  async #discard(term: Term): Promise<void> {
    if (this.#term !== term) return;
    this.#wipe();
    await this.#options.cache.delete(CACHE_ENTRY);
  }

  #wipe(): void {
    this.#term?.reader.clear();
    if (this.#term) wipeAttributeKey(this.#term.key);
    this.#term = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#life.abort();
    await this.#obtaining?.catch(() => undefined);
    this.#wipe();
  }
}

/**
 * What of the records that concern everybody one node pushes, to whom, and what it says and takes when
 * it compares with another. No input or output here: that is for `spread.ts`.
 */
import { createHash } from 'node:crypto';
import type { PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { DecodeError } from '../codec/protobuf.ts';
import { compareVersions } from '../records/descriptor.ts';
import { EnvelopeError } from '../records/envelope.ts';
import type { Audience } from './audience.ts';
import type { Target } from './gate.ts';
import { type Held, RecordError, type RecordStore } from './record-store.ts';
import { DIGEST_LENGTH, MAX_KEYS, type SpreadFrame, type SpreadRecord } from './spread-messages.ts';
import { keyNames, type StoredKind } from './stored-kinds.ts';

export interface SpreadRuleOptions {
  readonly store: RecordStore;
  readonly kinds: readonly StoredKind<unknown>[];
  readonly audience: Audience;
  /** From 0 to 1, 1 excluded. */
  readonly random?: () => number;
}

export class SpreadRule {
  readonly #options: SpreadRuleOptions;
  /** From whom the record comes that is being checked, by key. */
  readonly #sources = new Map<string, PeerId>();

  constructor(options: SpreadRuleOptions) {
    this.#options = options;
  }

  /** @returns whom to push a record to that is new here: not to who it came from */
  targets(record: Held, old?: Held): Target[] {
    const { kinds, audience } = this.#options;
    if (!kinds.includes(record.kind)) return [];
    const source = this.#sources.get(record.key);
    return audience.targets(record, old).filter((target) => !source || !isPeer(target, source));
  }

  /** @returns what this node holds that concerns `peer`, at most `MAX_KEYS` records; not what its disk has refused */
  summary(peer: PeerId): SpreadFrame['have'] {
    return this.#inForce(peer).filter(({ key }) => this.#options.store.isStored(key));
  }

  #inForce(peer: PeerId): SpreadFrame['have'] {
    const { store, kinds, audience, random = Math.random } = this.#options;
    const summary: SpreadFrame['have'] = [];
    // In the order of the kinds, so that many records of one do not crowd out those before it.
    for (const kind of kinds) {
      const concerning = [...store.all(kind)].filter(({ service }) =>
        audience.concerns(service, peer),
      );
      const room = MAX_KEYS - summary.length;
      // Of more than there is room for others each time, so that each has its turn.
      const start = concerning.length > room ? Math.floor(random() * concerning.length) : 0;
      const turned = [...concerning.slice(start), ...concerning.slice(0, start)];
      for (const { key, epoch, sequence, bytes } of turned.slice(0, room)) {
        summary.push({ key, epoch, sequence, digest: digestOf(bytes) });
      }
    }
    return summary;
  }

  /**
   * Of two that differ and say the same version each side sends its own: both then keep the same one.
   *
   * @returns the keys of which this node has something newer for `peer`, and of which `peer` has
   */
  compare(have: SpreadFrame['have'], peer: PeerId): { newer: string[]; want: string[] } {
    const { store } = this.#options;
    const theirs = new Map(have.map((each) => [each.key, each]));
    const newer = this.#inForce(peer).filter((own) => {
      const other = theirs.get(own.key);
      return other === undefined || compareVersions(own, other) > 0 || isTwin(own, other);
    });
    const want = have.filter((other) => {
      const floor = store.floor(other.key);
      if (floor === undefined || compareVersions(other, floor) > 0) return true;
      const held = store.held(other.key);
      return held !== undefined && isTwin({ ...held, digest: digestOf(held.bytes) }, other);
    });
    return { newer: newer.map(({ key }) => key), want: want.map(({ key }) => key) };
  }

  /** @returns those records that are held and concern `peer` */
  records(keys: readonly string[], peer: PeerId): SpreadRecord[] {
    const { store, kinds, audience } = this.#options;
    return keys.flatMap((key) => {
      const held = store.held(key);
      if (!held || !kinds.includes(held.kind)) return [];
      return audience.concerns(held.service, peer) ? [{ key, bytes: held.bytes }] : [];
    });
  }

  /** @throws EnvelopeError, RecordError for what is forged or not spread; not for what is old or malformed */
  async take({ key, bytes }: SpreadRecord, peer: PeerId): Promise<void> {
    const { store, kinds, audience } = this.#options;
    const kind = kinds.find(({ namespace }) => key.startsWith(`/${namespace}/`));
    if (kind === undefined) throw new RecordError('ERR_RECORD_KEY', `${key} is not spread`);
    // No offence: a list may come before the descriptor that names its issuer.
    if (!audience.takes(kind, keyNames(key))) return;
    this.#sources.set(key, peer);
    try {
      await store.accept(key, bytes);
    } catch (error) {
      if (!isHarmless(error)) throw error;
    } finally {
      this.#sources.delete(key);
    }
  }
}

type Summary = Pick<SpreadFrame['have'][number], 'epoch' | 'sequence' | 'digest'>;

/** Whether two records of one key differ though they say the same version. */
function isTwin(a: Summary, b: Summary): boolean {
  return compareVersions(a, b) === 0 && !equals(a.digest, b.digest);
}

/** By the bytes of the envelope, of which a store hands out the same array each time. */
const digests = new WeakMap<Uint8Array, Uint8Array>();

function digestOf(bytes: Uint8Array): Uint8Array {
  const known = digests.get(bytes);
  if (known !== undefined) return known;
  const whole = createHash('sha256').update(bytes).digest();
  const digest = Uint8Array.from(whole.subarray(0, DIGEST_LENGTH));
  digests.set(bytes, digest);
  return digest;
}

/**
 * A peer that is behind, or passes on what its signer wrote wrongly, is no offender: the rest of what it has counts.
 * One that forges is, and loses the stream.
 */
function isHarmless(error: unknown): boolean {
  if (error instanceof RecordError) return error.code !== 'ERR_RECORD_SIGNER';
  return error instanceof EnvelopeError && error.cause instanceof DecodeError;
}

function isPeer(target: Target, peer: PeerId): boolean {
  return String(target) === peer.toString() || String(target).includes(`/p2p/${peer}`);
}

/**
 * The owner's tool on the network: it asks super-peers what they hold, and hands them what the owner signed.
 *
 * ```
 * ask    the super-peers of the own descriptor ─▶ those that the newest published one names besides
 * give   one record to one super-peer, at any of its addresses
 * ```
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { IcvpnError } from '../errors.ts';
import { createHost, type Host } from '../overlay/host.ts';
import type { HeldRecord } from '../overlay/owner-query.ts';
import { heldRecords, publishRecord } from '../overlay/publish.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  type StoredKind,
} from '../overlay/stored-kinds.ts';
import { OwnerError } from '../owner/errors.ts';
import type { Published } from '../owner/review.ts';
import type { OwnerState } from '../owner/state.ts';
import type { Admitter } from '../records/descriptor.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';

/** Milliseconds for one super-peer to answer. */
const ASK_LIMIT_MS = 5_000;
/** Milliseconds for the others, once one has answered. */
const OTHERS_LIMIT_MS = 2_000;
/** Milliseconds for one address to take a record. */
const GIVE_LIMIT_MS = 15_000;

/** What one super-peer holds of the owner's, by namespace of the kind; or why it did not say. */
export type Answer =
  | { readonly held: ReadonlyMap<string, Uint8Array> }
  | { readonly failure: unknown };

export interface Answers extends Published {
  /** By PeerID of the super-peer, as text. */
  readonly answers: ReadonlyMap<string, Answer>;
}

type Collected = {
  readonly [K in keyof Published]: Published[K][number][];
};

export class OwnerLink implements AsyncDisposable {
  readonly #host: Host;

  private constructor(host: Host) {
    this.#host = host;
  }

  /**
   * @param key the service's own: Noise proves it, so that super-peers hear the owner while others flood them,
   *   and take records above 60 KiB
   */
  static async open(key: PrivateKey): Promise<OwnerLink> {
    return new OwnerLink(await createHost({ key, listen: [] }));
  }

  /** @throws OwnerError `ERR_OWNER_UNREACHABLE` when no super-peer answers */
  async ask(state: OwnerState, signal?: AbortSignal): Promise<Answers> {
    const answers = new Map<string, Answer>();
    const all: Collected = { descriptors: [], policies: [], revocations: [] };
    let asked: readonly Admitter[] = state.descriptor.value.admitters;
    for (let round = 0; round < 2; round++) {
      await this.#askEach(asked, { state, answers, all, signal });
      signal?.throwIfAborted();
      asked = all.descriptors
        .flatMap(({ value }) => value.admitters)
        .filter(({ peerId }) => !answers.has(peerId.toString()));
    }
    if ([...answers.values()].some((each) => 'held' in each)) return { ...all, answers };
    throw unreachable(answers);
  }

  async #askEach(
    admitters: readonly Admitter[],
    to: {
      readonly state: OwnerState;
      readonly answers: Map<string, Answer>;
      readonly all: Collected;
      readonly signal: AbortSignal | undefined;
    },
  ): Promise<void> {
    const enough = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    await Promise.all(
      admitters.map(async (admitter) => {
        const limits = [enough.signal, AbortSignal.timeout(ASK_LIMIT_MS)];
        const signal = AbortSignal.any([...limits, ...(to.signal ? [to.signal] : [])]);
        const answer = await this.#askOne(admitter, to.state, to.all, signal);
        to.answers.set(admitter.peerId.toString(), answer);
        if ('held' in answer) timer ??= setTimeout(() => enough.abort(), OTHERS_LIMIT_MS);
      }),
    );
    clearTimeout(timer);
  }

  async #askOne(
    admitter: Admitter,
    { key, descriptor }: OwnerState,
    all: Collected,
    signal: AbortSignal,
  ): Promise<Answer> {
    const { peerId } = admitter;
    try {
      const records = await atAnyAddress(admitter, (at) =>
        heldRecords(this.#host, { peerId, multiaddr: at }, key, { signal }),
      );
      const held = new Map<string, Uint8Array>();
      const opened: Collected = { descriptors: [], policies: [], revocations: [] };
      for (const each of records) {
        await collect(each, descriptor.value.serviceId, opened);
        held.set(each.namespace, each.envelope);
      }
      all.descriptors.push(...opened.descriptors);
      all.policies.push(...opened.policies);
      all.revocations.push(...opened.revocations);
      return { held };
    } catch (failure) {
      return { failure };
    }
  }

  /** @returns why this super-peer did not take it; undefined when it did */
  async give<T>(
    admitter: Admitter,
    kind: StoredKind<T>,
    record: Uint8Array,
    signal: AbortSignal,
  ): Promise<unknown> {
    try {
      await atAnyAddress(admitter, (at) => {
        const limit = AbortSignal.any([signal, AbortSignal.timeout(GIVE_LIMIT_MS)]);
        return publishRecord(this.#host, at, kind, record, { signal: limit });
      });
      return undefined;
    } catch (error) {
      return error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#host.close();
  }
}

/** Tries one address after the other; what the super-peer itself refuses, it refuses at each. */
async function atAnyAddress<T>(
  { peerId, multiaddrs }: Admitter,
  run: (at: ReturnType<typeof multiaddr>) => Promise<T>,
): Promise<T> {
  let last: unknown = new OwnerError(
    'ERR_OWNER_ADDRESS',
    `the descriptor names no address of ${peerId}`,
    'name it anew with a card that has one',
  );
  for (const each of multiaddrs) {
    try {
      return await run(multiaddr(`${each}/p2p/${peerId}`));
    } catch (error) {
      last = error;
      if (error instanceof IcvpnError && error.code !== 'ERR_PUBLISH_UNREACHABLE') break;
    }
  }
  throw last;
}

/** @throws EnvelopeError when the owner did not sign it */
async function collect(
  { namespace, envelope }: HeldRecord,
  serviceId: Ed25519PeerId,
  into: Collected,
): Promise<void> {
  switch (namespace) {
    case DESCRIPTOR_RECORD.namespace:
      into.descriptors.push(await own(DESCRIPTOR_RECORD, envelope, serviceId));
      return;
    case POLICY_RECORD.namespace:
      into.policies.push(await own(POLICY_RECORD, envelope, serviceId));
      return;
    case REVOCATION_RECORD.namespace:
      into.revocations.push(await own(REVOCATION_RECORD, envelope, serviceId));
  }
}

async function own<T>(
  kind: StoredKind<T>,
  envelope: Uint8Array,
  serviceId: Ed25519PeerId,
): Promise<Opened<T>> {
  const opened = await open(kind.record, envelope);
  const { value, signer } = opened;
  if (signer.equals(serviceId) && kind.service(value).equals(serviceId)) return opened;
  throw new EnvelopeError(kind.record.name, 'the owner of this service did not sign it');
}

function unreachable(answers: ReadonlyMap<string, Answer>): OwnerError {
  const [why] = [...answers.values()].flatMap((each) => ('failure' in each ? [each.failure] : []));
  const reason = why instanceof Error ? why.message : String(why);
  return new OwnerError(
    'ERR_OWNER_UNREACHABLE',
    `none of the ${answers.size} super-peers says what is published: ${reason}`,
    'see to the network and try again; or sign with --offline and publish later',
    { cause: why },
  );
}

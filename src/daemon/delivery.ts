/**
 * Hands what the owner signed to every super-peer of the service, and goes on until all have it or time is up.
 *
 * ```
 * round ─▶ ask what they hold ─▶ merge into the directory ─▶ give what is missing ─▶ all have it: done
 *   ▲                                                                  │
 *   └──────────── 0.5 s, 1 s, 2 s, 4 s, 5 s … ◀── some have not ───────┘
 * ```
 *
 * What is missing stands in the owner's directory, so that the next act or `icvpn service publish` goes on.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { equals } from 'uint8arrays/equals';
import { IcvpnError } from '../errors.ts';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  type StoredKind,
} from '../overlay/stored-kinds.ts';
import { act } from '../owner/act.ts';
import { OwnerError } from '../owner/errors.ts';
import { signList } from '../owner/list.ts';
import type { OwnerState } from '../owner/state.ts';
import type { Admitter } from '../records/descriptor.ts';
import type { Answers, OwnerLink } from './owner-link.ts';
import type { Publication } from './publish.ts';

/** Milliseconds between rounds: the first pause, and the longest. */
const PAUSE_MS = { first: 500, most: 5_000 };

export type RecordName = 'descriptor' | 'policy' | 'revocations';

/** A super-peer that lacks the descriptor takes nothing else; others hear of revocations first. */
const ORDER: readonly RecordName[] = ['revocations', 'descriptor', 'policy'];
const NEW_ORDER: readonly RecordName[] = ['descriptor', 'revocations', 'policy'];

const KINDS: Readonly<Record<RecordName, StoredKind<unknown>>> = {
  descriptor: DESCRIPTOR_RECORD,
  policy: POLICY_RECORD,
  revocations: REVOCATION_RECORD,
};

/** What no second try changes; the person has to. */
const FINAL = new Set([
  'ERR_PUBLISH_NOT_NAMED',
  'ERR_PUBLISH_NOT_ALLOWED',
  'ERR_PUBLISH_KIND',
  'ERR_RECORD_CONTENT',
  'ERR_ENVELOPE',
  'ERR_OWNER_ADDRESS',
  'ERR_OWNER_BEHIND',
  'ERR_POLICY_ROUTE',
]);

export interface DeliveryOptions {
  readonly dir: string;
  readonly link: OwnerLink;
  /** Milliseconds to go on trying; 0 for one round. */
  readonly waitMs: number;
  /** Hands over also what a super-peer says that it has. */
  readonly everything?: boolean;
  /** Told before each pause what is missing. */
  readonly onWaiting?: (missing: readonly Publication[]) => void;
  readonly signal: AbortSignal;
}

export interface Delivery {
  /** Whether every super-peer has everything. */
  readonly whole: boolean;
  readonly state: OwnerState;
  /** For each super-peer, what it has of one kind. */
  readonly of: (name: RecordName) => Publication[];
  /** For each super-peer, the first thing that it has not. */
  readonly all: Publication[];
  /** Set where the directory is an old copy, whose descriptor is not handed over. */
  readonly behind: OwnerError | undefined;
}

interface Round {
  readonly state: OwnerState;
  readonly admitters: readonly Admitter[];
  readonly answers: Answers | undefined;
  /** Set where the descriptor of the directory is not the newest, so that it is not handed over. */
  readonly behind: OwnerError | undefined;
}

type Failures = Map<RecordName, unknown>;

/** @throws OwnerError, LockError, FileError; what a super-peer does not take is in the result */
export async function deliver(options: DeliveryOptions): Promise<Delivery> {
  const { waitMs, signal, onWaiting } = options;
  const end = performance.now() + waitMs;
  /** Records that a super-peer has taken in this run. */
  const taken = new Map<string, Set<string>>();
  let pause = PAUSE_MS.first;
  for (;;) {
    const round = await prepare(options);
    const results = new Map<string, Failures>();
    await Promise.all(
      round.admitters.map(async (admitter) => {
        const name = admitter.peerId.toString();
        const done = taken.get(name) ?? new Set();
        taken.set(name, done);
        results.set(name, await giveAll(admitter, round, done, options));
      }),
    );
    const delivery = summary(round, results);
    const retry = [...results.values()].some((each) => [...each.values()].some(isPassing));
    if (!retry || performance.now() + pause > end || signal.aborted) return delivery;
    onWaiting?.(delivery.all.filter(({ failure }) => failure !== null));
    // Told to stop: what is missing is told, and stays in the directory.
    await delay(pause, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return delivery;
    pause = Math.min(2 * pause, PAUSE_MS.most);
  }
}

/** Signs a list that holds all that super-peers told of, where none does. */
async function prepare({ dir, link, signal }: DeliveryOptions): Promise<Round> {
  let answers: Answers | undefined;
  const ask = async (state: OwnerState) => {
    answers = await link.ask(state, signal).catch((error: unknown) => {
      // Nobody answers: each of them tells why when it is given something. So it does when this was stopped.
      if (error instanceof OwnerError && error.code === 'ERR_OWNER_UNREACHABLE') return undefined;
      if (signal.aborted) return undefined;
      throw error;
    });
    return answers ?? { descriptors: [], policies: [], revocations: [] };
  };
  const { state, behind } = await act('icvpn service publish', { dir, ask }, async (view) => {
    const revocations = view.incomplete
      ? await signList(view, view.revoked)
      : view.state.revocations;
    const whole = view.incomplete ? { ...view.state, revocations } : view.state;
    return { state: whole, result: { state: whole, behind: view.behind } };
  });
  const { admitters } = (behind ?? state.descriptor).value;
  return { state, answers, admitters, behind: behind && isBehind(dir, state, behind.value.epoch) };
}

async function giveAll(
  admitter: Admitter,
  { state, answers, behind }: Round,
  done: Set<string>,
  { link, everything = false, signal }: DeliveryOptions,
): Promise<Failures> {
  const answer = answers?.answers.get(admitter.peerId.toString());
  const held = answer && 'held' in answer ? answer.held : undefined;
  const failures: Failures = new Map();
  let unreachable: unknown;
  for (const name of held?.has(DESCRIPTOR_RECORD.namespace) ? ORDER : NEW_ORDER) {
    const record = state[name];
    const kind = KINDS[name];
    if (record === undefined || done.has(`${name} ${record.value.sequence}`)) continue;
    const { bytes } = record;
    const there = held?.get(kind.namespace);
    if (there !== undefined && equals(there, bytes) && !everything) continue;
    const blocked = name === 'descriptor' && behind ? behind : unreachable;
    const failure = blocked ?? (await link.give(admitter, kind, bytes, signal));
    if (failure === undefined) done.add(`${name} ${record.value.sequence}`);
    else failures.set(name, failure);
    // It would not take the others either, and is not to be waited for each time.
    if (isUnreachable(failure)) unreachable = failure;
  }
  return failures;
}

const isUnreachable = (failure: unknown): boolean =>
  failure instanceof IcvpnError && failure.code === 'ERR_PUBLISH_UNREACHABLE';

const isPassing = (failure: unknown): boolean =>
  !(failure instanceof IcvpnError && FINAL.has(failure.code));

function summary(
  { state, admitters, behind }: Round,
  results: ReadonlyMap<string, Failures>,
): Delivery {
  const publications = (pick: (failures: Failures) => unknown): Publication[] =>
    admitters.map(({ peerId }) => {
      const superPeer = peerId.toString();
      const failure = pick(results.get(superPeer) ?? new Map());
      if (failure === undefined) return { superPeer, failure: null };
      return { superPeer, failure: failure instanceof Error ? failure.message : String(failure) };
    });
  const all = publications((failures) => [...failures.values()][0]);
  return {
    ...{ state, all, behind, whole: all.every(({ failure }) => failure === null) },
    of: (name) => publications((failures) => failures.get(name)),
  };
}

/** Why a directory's own descriptor is not published. */
function isBehind(dir: string, state: OwnerState, epoch: number): OwnerError {
  const own = state.descriptor.value.epoch;
  return new OwnerError(
    'ERR_OWNER_BEHIND',
    `${dir} is an old copy: it holds the secrets of epoch ${own}, and epoch ${epoch} is published`,
    `put a newer backup back; or begin epoch ${epoch + 1} with a new service secret: icvpn service update --dir ${dir} --bootstrap <file>, then publish`,
  );
}

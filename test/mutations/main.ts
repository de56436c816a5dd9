/**
 * `npm run mutate`: breaks every promise in a copy of the project, one change at a time, and fails when
 * all tests pass all the same.
 *
 * ```
 * copy ─▶ all tests concerned pass ─▶ for each mutation: change ─▶ tests ─▶ one failed: caught
 *         (without a change)                                             ─▶ none failed: survivor
 * ```
 *
 * `--unit` runs only what needs no kernel with ESP. `--minutes N` begins no more after that time, and says how many
 * were left; each promise has its turn before any has a second. `--passed` leaves the run without a change out, where
 * the tests have just passed. Words pick mutations by promise, file or title.
 */
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { MUTATIONS } from './list.ts';
import type { Mutation, Place } from './mutation.ts';
import { type Outcome, Sandbox } from './sandbox.ts';

const { values, positionals } = parseArgs({
  options: {
    unit: { type: 'boolean', default: false },
    minutes: { type: 'string' },
    passed: { type: 'boolean', default: false },
  },
  allowPositionals: true,
});

const placeOf = (mutation: Mutation): Place => mutation.where ?? 'unit';

function wanted(mutation: Mutation): boolean {
  if (values.unit && placeOf(mutation) !== 'unit') return false;
  const { promise, file, title } = mutation;
  return positionals.every(
    (word) => promise === word || file.includes(word) || title.includes(word),
  );
}

/** The first of each promise, then the second of each, and so on. */
function inTurns(mutations: readonly Mutation[]): Mutation[] {
  const byPromise = Object.values(Object.groupBy(mutations, ({ promise }) => promise));
  const most = Math.max(0, ...byPromise.map((each) => each?.length ?? 0));
  return Array.from({ length: most }, (_, turn) =>
    byPromise.flatMap((each) => each?.[turn] ?? []),
  ).flat();
}

const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
if (!(minutes > 0)) throw new RangeError('--minutes takes a number above 0');
const deadline = performance.now() + minutes * 60_000;
const chosen = inTurns(MUTATIONS.filter(wanted));
const faults: string[] = [];
let tried = 0;

/** Without a change everything passes; else "caught" would mean nothing. */
async function checkUnchanged(sandbox: Sandbox, place: Place): Promise<void> {
  const tests = [
    ...new Set(chosen.filter((each) => placeOf(each) === place).flatMap((each) => each.tests)),
  ];
  if (tests.length === 0) return;
  const outcome = await sandbox.test({ place, tests, bail: false });
  if (outcome.failed.length === 0 && outcome.passed > 0) return;
  throw new Error(`unchanged, these fail: ${outcome.failed.join(', ')}\n${outcome.output}`);
}

/** @returns why the mutation counts as a fault; undefined when a test caught it */
function faultOf({ failed, passed, output }: Outcome): string | undefined {
  if (failed.length > 0) return undefined;
  return passed > 0 ? 'SURVIVES: all tests pass' : `NO TEST RAN:\n${output}`;
}

async function tryOut(sandbox: Sandbox, mutation: Mutation): Promise<void> {
  const { promise, title, file, tests, grep } = mutation;
  const test = { place: placeOf(mutation), tests, grep, bail: true };
  tried++;
  let fault: string | undefined;
  let told: string;
  try {
    const outcome = await sandbox.with(mutation, () => sandbox.test(test));
    fault = faultOf(outcome);
    told = fault ?? `caught by: ${outcome.failed[0]}`;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    fault = told = `CANNOT BE APPLIED: ${error.message}`;
  }
  if (fault !== undefined) faults.push(`${promise} ${title} (${file}): ${fault}`);
  console.log(`${promise.padEnd(4)} ${title}\n     ${told}`);
}

/** Mutations in the lab go one after the other: a guest has this machine's processors. */
async function work(queue: Mutation[]): Promise<void> {
  await using sandbox = await Sandbox.create(process.cwd());
  while (queue.length > 0 && performance.now() < deadline) {
    const next = queue.shift();
    if (next !== undefined) await tryOut(sandbox, next);
  }
}

if (!values.passed) {
  await using sandbox = await Sandbox.create(process.cwd());
  for (const place of ['unit', 'lab', 'e2e'] as const) await checkUnchanged(sandbox, place);
}
const unit = chosen.filter((each) => placeOf(each) === 'unit');
const workers = Math.max(1, Math.min(4, availableParallelism()));
await Promise.all(Array.from({ length: workers }, () => work(unit)));
await work(chosen.filter((each) => placeOf(each) !== 'unit'));

const left = chosen.length - tried;
console.log(
  `\n${tried - faults.length} of ${tried} mutations caught${left > 0 ? `, ${left} not tried` : ''}`,
);
for (const fault of faults) console.error(fault);
process.exitCode = faults.length === 0 && tried > 0 ? 0 : 1;

/**
 * The exchange's cryptography alone: no stream, no kernel.
 *
 * One node spends one side of an exchange, so rates are given per side. Processor time is counted
 * rather than time by the clock, because other programs may share the machine; each round measures
 * everything once, and the medians of the rounds are compared. At first contact the signature on the
 * peer's credential is checked; at a rekey a node may know the credential from before.
 *
 *   node benchmarks/exchange/main.ts [rounds]
 */
import type { ExchangeContext } from '../../src/keymgmt/exchange/context.ts';
import { startExchange } from '../../src/keymgmt/exchange/initiator.ts';
import { readM1, respond } from '../../src/keymgmt/exchange/responder.ts';
import { ALL_SUITES, type Suite } from '../../src/keymgmt/exchange/suite.ts';
import { newPair, SPI_A, SPI_B } from '../../test/unit/exchange/fixture.ts';
import { median } from '../statistics.ts';
import { floorSide, nobleSide } from './yardsticks.ts';

const ROUNDS = Number(process.argv[2] ?? 15);
const RUNS = 100;
/** Rounds that are not counted: the code is still being compiled. */
const WARM_UP = 10;
const { a, b } = await newPair();
const known = async (context: ExchangeContext, peer: ExchangeContext): Promise<ExchangeContext> => {
  const opened = await context.verify(peer.identity.credential);
  return { ...context, verify: async () => opened };
};
const CONTACTS = {
  first: { a, b },
  rekey: { a: await known(a, b), b: await known(b, a) },
};
type Contact = keyof typeof CONTACTS;

/** Processor seconds. */
async function cost<T>(work: () => T | Promise<T>): Promise<{ seconds: number; result: T }> {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return { seconds: (user + system) / 1e6, result };
}

async function sequence<T, U>(
  items: readonly T[],
  step: (item: T) => U | Promise<U>,
): Promise<U[]> {
  const results: U[] = [];
  for (const item of items) results.push(await step(item));
  return results;
}

/** Runs all exchanges of a round step by step, so that each side's steps can be timed together. */
async function round(
  suite: Suite,
  contact: Contact,
): Promise<Record<'initiator' | 'responder', number>> {
  const responder = CONTACTS[contact].b;
  const initiator = { ...CONTACTS[contact].a, suites: [suite] };
  const runs = Array.from({ length: RUNS });
  const m1 = await cost(() => runs.map(() => startExchange(initiator, { inboundSpi: SPI_A })));
  const m2 = await cost(() =>
    m1.result.map((start) =>
      respond(responder, readM1(responder, start.m1), { inboundSpi: SPI_B }),
    ),
  );
  const pairs = m1.result.flatMap((start, n) =>
    m2.result.slice(n, n + 1).map((answer) => ({ start, answer })),
  );
  const m3 = await cost(() =>
    sequence(pairs, async ({ start, answer }) => {
      const step = await start.next.onM2(answer.m2);
      if (step.kind !== 'm3') throw new Error('the exchange must succeed');
      return { answer, step };
    }),
  );
  const m4 = await cost(() =>
    sequence(m3.result, async ({ answer, step }) => ({
      step,
      end: await answer.next.onM3(step.m3),
    })),
  );
  const last = await cost(() => m4.result.map(({ step, end }) => step.confirm(end.m4)));
  return {
    initiator: RUNS / (m1.seconds + m3.seconds + last.seconds),
    responder: RUNS / (m2.seconds + m4.seconds),
  };
}

const SIDES = ALL_SUITES.flatMap((suite) =>
  (['initiator', 'responder'] as const).map((role) => ({ suite, role })),
);
type Figures = Record<Contact | 'noble' | 'floor', number[]>;
const figures = new Map<string, Figures>(
  SIDES.map(({ suite, role }) => [
    `${suite} ${role}`,
    { first: [], rekey: [], noble: [], floor: [] },
  ]),
);

async function rate(runs: number, work: () => void): Promise<number> {
  const { seconds } = await cost(() => {
    for (let run = 0; run < runs; run++) work();
  });
  return runs / seconds;
}

for (let n = -WARM_UP; n < ROUNDS; n++) {
  const first = new Map<Suite, Record<'initiator' | 'responder', number>>();
  const rekey = new Map<Suite, Record<'initiator' | 'responder', number>>();
  for (const suite of ALL_SUITES) {
    first.set(suite, await round(suite, 'first'));
    rekey.set(suite, await round(suite, 'rekey'));
  }
  for (const { suite, role } of SIDES) {
    const noble = await rate(RUNS / 5, () => nobleSide(role, suite));
    const floor = await rate(RUNS, () => floorSide(role, suite));
    const at = figures.get(`${suite} ${role}`);
    if (n < 0 || at === undefined) continue;
    at.first.push(first.get(suite)?.[role] ?? Number.NaN);
    at.rekey.push(rekey.get(suite)?.[role] ?? Number.NaN);
    at.noble.push(noble);
    at.floor.push(floor);
  }
}

const results = [...figures].map(([side, { first, rekey, noble, floor }]) => ({
  side,
  firstContactPerCpuSecond: Math.round(median(first)),
  firstContactBestRound: Math.round(Math.max(...first)),
  rekeyPerCpuSecond: Math.round(median(rekey)),
  rekeyBestRound: Math.round(Math.max(...rekey)),
  noblePerCpuSecond: Math.round(median(noble)),
  barePrimitivesPerCpuSecond: Math.round(median(floor)),
  firstContactTimesNoble: Number((median(first) / median(noble)).toFixed(1)),
  firstContactShareOfBare: Number((median(first) / median(floor)).toFixed(2)),
}));
const setting = { node: process.version, rounds: ROUNDS, exchangesPerRound: RUNS };
console.log(JSON.stringify({ ...setting, results }, null, 2));

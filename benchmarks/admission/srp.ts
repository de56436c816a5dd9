/**
 * The server's half of SRP (B, then the session from A and M1), in processor time, beside that of
 * other programs at the same group and hash.
 *
 *   node benchmarks/admission/srp.ts [rounds=9]
 *
 * In each round every one runs for a while; the medians of the rounds are compared.
 */
import { randomBytes } from 'node:crypto';
import {
  fastSrpHap,
  type Oracle,
  randomLogin,
  secureRemotePassword,
} from '../../test/unit/admission/srp/oracles.ts';
import { median, round } from '../statistics.ts';
import { print } from './whole-world.ts';

const rounds = Number(process.argv[2] ?? 9);
/** Runs a round. */
const RUNS = { ours: 60, theirs: 3 };

const login = randomLogin();

/** @returns sessions a second of processor time */
function rate(runs: number, session: () => void): number {
  const before = process.cpuUsage();
  for (let i = 0; i < runs; i++) session();
  const { user, system } = process.cpuUsage(before);
  return runs / ((user + system) / 1e6);
}

/** A wrong M1 costs the same as a right one, and needs no client. */
function ours({ engine, verifier: make }: Oracle): () => void {
  const verifier = make(login);
  const A = engine.clientPublic(randomBytes(32));
  const M1 = randomBytes(32);
  return () => {
    const b = randomBytes(32);
    engine.serverSession(login, { verifier, b, B: engine.serverPublic(verifier, b) }, A, M1);
  };
}

function theirs(oracle: Oracle): () => void {
  const verifier = oracle.verifier(login);
  const { A } = oracle.client(login);
  return () => {
    const server = oracle.server(login, verifier);
    try {
      server.session(A, randomBytes(32));
    } catch {
      // As it must: the proof is wrong.
    }
  };
}

const programs = [
  { name: 'icvpn', runs: RUNS.ours, session: ours(secureRemotePassword) },
  { name: secureRemotePassword.name, runs: RUNS.theirs, session: theirs(secureRemotePassword) },
  { name: fastSrpHap.name, runs: RUNS.theirs, session: theirs(fastSrpHap) },
];
const rates = new Map<string, number[]>(programs.map(({ name }) => [name, []]));
for (let n = -1; n < rounds; n++) {
  for (const { name, runs, session } of programs) {
    const found = rate(runs, session);
    if (n >= 0) rates.get(name)?.push(found);
  }
}
const own = median(rates.get('icvpn') ?? []);
const results = [...rates].map(([program, found]) => ({
  program,
  n: found.length,
  sessionsPerCpuSecond: round(median(found)),
  best: round(Math.max(...found)),
  timesSlowerThanIcvpn: round(own / median(found)),
}));
print({ group: '2048 bits', hash: 'SHA-256' }, results);

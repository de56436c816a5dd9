/**
 * SRP and the door, in one run, as JSON:
 *
 *   node benchmarks/admission/main.ts [rounds]
 *
 * - a server session and a client session against those of secure-remote-password, as ratios
 * - the event loop's delay at 500 SRP sessions a second: worker pool, asynchronous
 *   `crypto.diffieHellman`, and everything on the event loop
 * - the time to a refusal for a wrong secret and for an unknown service
 *
 * What is compared takes turns in short rounds, by processor time of its thread, since other programs
 * may share the machine.
 */
import { randomBytes } from 'node:crypto';
import { ServerSession } from '../../src/admission/server-session.ts';
import { SrpEngine } from '../../src/admission/srp/engine.ts';
import { SUITE_SRP_2048 } from '../../src/admission/srp/group.ts';
import { dhModExp, keyModExp } from '../../src/admission/srp/modexp.ts';
import { SrpPool } from '../../src/admission/srp/pool.ts';
import { contextOf } from '../../test/unit/admission/runs.ts';
import { randomLogin, secureRemotePassword } from '../../test/unit/admission/srp/oracles.ts';
import { makeIdentity, makeService } from '../../test/unit/admission/world.ts';
import { median, percentile } from '../statistics.ts';
import { asynchronousSession } from './asynchronous.ts';
import { loopDelay, rounded } from './measure.ts';

const ROUNDS = Number(process.argv[2] ?? 60);
const OURS_PER_ROUND = 10;

const login = randomLogin();
const password = Buffer.from(login.password);
const worker = new SrpEngine(SUITE_SRP_2048, dhModExp(SUITE_SRP_2048.group));
const vm = new SrpEngine(SUITE_SRP_2048, keyModExp(SUITE_SRP_2048.group));
const x = worker.x(login, password);
const verifier = worker.verifier(x);
const A = worker.clientPublic(randomBytes(32));

/** One session of each side, whole: what it draws, sends and checks. */
function serverSession(): void {
  const b = randomBytes(32);
  const B = worker.serverPublic(verifier, b);
  worker.serverSession(login, { verifier, b, B }, A, new Uint8Array(32));
}

function clientSession(engine: SrpEngine, B: Uint8Array): void {
  const a = randomBytes(32);
  const own = { a, A: engine.clientPublic(a), x: engine.x(login, password) };
  engine.clientSession(login, own, B);
}

function theirServer(): void {
  const server = secureRemotePassword.server(login, verifier);
  try {
    server.session(A, new Uint8Array(32).fill(1));
  } catch {
    // A wrong proof costs what a right one does, and is what a flood sends.
  }
}

function engines() {
  const B = worker.serverPublic(verifier, randomBytes(32));
  const each = {
    server: () => serverSession(),
    'client, key objects (a VM)': () => clientSession(vm, B),
    'client, DH object': () => clientSession(worker, B),
  };
  const samples = new Map<string, number[]>();
  const sample = (name: string, times: number, work: () => void): void => {
    const list = samples.get(name) ?? [];
    samples.set(name, list);
    const before = process.threadCpuUsage();
    for (let i = 0; i < times; i++) work();
    const { user, system } = process.threadCpuUsage(before);
    list.push((user + system) / 1000 / times);
  };
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, work] of Object.entries(each)) sample(name, OURS_PER_ROUND, work);
    sample('their server', 1, theirServer);
    sample('their client', 1, () => {
      secureRemotePassword.client(login).session(B);
    });
  }
  const ms = (name: string): number => median(samples.get(name) ?? []);
  const ours = Object.keys(each).map((name) => {
    const theirs = ms(name.startsWith('server') ? 'their server' : 'their client');
    return [
      name,
      {
        'processor ms (median)': rounded(ms(name)),
        'secure-remote-password, processor ms (median)': rounded(theirs),
        ratio: rounded(theirs / ms(name)),
        'sessions a second and core': Math.round(1000 / ms(name)),
        n: ROUNDS * OURS_PER_ROUND,
      },
    ];
  });
  return Object.fromEntries(ours);
}

async function eventLoop(pool: SrpPool) {
  const suite = SUITE_SRP_2048.id;
  const inPool = async () => {
    const b = randomBytes(32);
    const B = await pool.start({ suite, verifier, b });
    await pool.finish({ suite, login, verifier, b, B, A, M1: new Uint8Array(32) });
  };
  return {
    idle: await loopDelay(500, 4, async () => undefined),
    'worker pool, one thread': await loopDelay(500, 4, inPool),
    'asynchronous diffieHellman': await loopDelay(500, 4, () =>
      asynchronousSession(verifier, randomBytes(32), A),
    ),
    'on the event loop': await loopDelay(500, 4, async () => serverSession()),
  };
}

async function refusals(pool: SrpPool) {
  const superPeer = await makeIdentity();
  const [shop, stranger] = [await makeService([superPeer.id]), await makeService([superPeer.id])];
  const context = contextOf(superPeer, [shop], { srp: pool });
  const remote = { peerId: (await makeIdentity()).id, address: '192.0.2.1' };
  const proof = {
    M1: new Uint8Array(32),
    confirmation: new Uint8Array(32),
    request: new Uint8Array(64),
  };
  const run = async (serviceId: typeof shop.owner.id): Promise<number> => {
    const hello = {
      ...{ version: 1, suite: 1, serviceId, identity: 'member', A, ticket: undefined },
      nonce: randomBytes(32),
    };
    const begin = performance.now();
    const session = new ServerSession(context, remote);
    await session.hello(hello);
    await session.proof(proof);
    return performance.now() - begin;
  };
  const [wrong, unknown]: [number[], number[]] = [[], []];
  for (let i = 0; i < 1100; i++) {
    // In turn, and each first every other time.
    const pair = [
      async () => wrong.push(await run(shop.owner.id)),
      async () => unknown.push(await run(stranger.owner.id)),
    ];
    for (const each of i % 2 === 0 ? pair : pair.toReversed()) await each();
  }
  const [known, decoy] = [wrong.slice(100), unknown.slice(100)];
  return {
    n: known.length,
    'wrong secret, ms (median)': rounded(median(known)),
    'unknown service, ms (median)': rounded(median(decoy)),
    'difference, %': rounded(Math.abs(median(decoy) / median(known) - 1) * 100),
    'quartiles, ms': [known, decoy].map((all) => [25, 75].map((p) => rounded(percentile(all, p)))),
  };
}

const pool = new SrpPool(1);
await pool.start({ suite: SUITE_SRP_2048.id, verifier, b: randomBytes(32) });
const srp = engines();
const loop = await eventLoop(pool);
const refusal = await refusals(pool);
await pool.close();
const node = process.version;
console.log(
  JSON.stringify({ node, srp, 'event loop delay at 500 a second, ms': loop, refusal }, null, 2),
);

/**
 * Whether time tells an unknown identity from a wrong secret: from the hello to the refusal, over
 * libp2p, at an admission server with its thread for SRP and its audit log. The two take turns, in
 * an order drawn anew for each pair.
 *
 *   node benchmarks/admission/whole-unknown.ts [n=1000]
 *
 * The server's clock leaps an hour with each attempt, so that wrong guesses are forgotten and slow
 * nothing down: being slowed down is for both the same, and would hide what is to be seen.
 */
import { randomBytes, randomInt } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lpStream } from '@libp2p/utils';
import { AuditLog } from '../../src/admission/audit.ts';
import { Opening, Proof, Reply } from '../../src/admission/messages.ts';
import { ADMISSION_PROTOCOL } from '../../src/admission/server.ts';
import { makeIdentity, makeService, serve, World } from '../../test/unit/admission/world.ts';
import { median, round } from '../statistics.ts';
import { print } from './whole-world.ts';

const n = Number(process.argv[2] ?? 1000);
const WARM_UP = 50;
const HOUR = 3_600_000;

const dir = await mkdtemp(join(tmpdir(), 'icvpn-benchmark-'));
let now = Date.now();
const clock = () => now;
const audit = await AuditLog.open(join(dir, 'audit.jsonl'), clock);
const world = new World();
const superPeer = await world.superPeer(await makeIdentity(), { audit, clock });
const shop = await makeService([superPeer.id]);
const elsewhere = await makeService([superPeer.id]);
serve(superPeer, shop);
const vm = await world.node((await makeIdentity()).key);
const connection = await vm.dial(superPeer.node.getMultiaddrs());

const KINDS = {
  'wrong secret': { serviceId: shop.owner.id, identity: 'member' },
  'unknown identity': { serviceId: shop.owner.id, identity: 'nobody' },
  'unknown service': { serviceId: elsewhere.owner.id, identity: 'member' },
};
type Kind = keyof typeof KINDS;
const KIND_NAMES = ['wrong secret', 'unknown identity', 'unknown service'] as const;

/** @returns milliseconds from the hello to the refusal */
async function attempt(kind: Kind): Promise<number> {
  now += HOUR;
  const stream = await connection.newStream(ADMISSION_PROTOCOL);
  const link = lpStream(stream);
  const login = { nonce: randomBytes(32), A: randomBytes(256).fill(1, 0, 1), ticket: undefined };
  const admit = { version: 1, suite: 1, ...KINDS[kind], ...login };
  const proof = { M1: randomBytes(32), confirmation: randomBytes(32), request: randomBytes(64) };
  const start = performance.now();
  await link.write(Opening.encode({ admit, renew: undefined }));
  const { challenge } = Reply.decode((await link.read()).subarray());
  if (challenge === undefined) throw new Error('there must be a challenge');
  await link.write(Proof.encode(proof));
  const { refusal } = Reply.decode((await link.read()).subarray());
  if (refusal === undefined) throw new Error('there must be a refusal');
  const took = performance.now() - start;
  await stream.close();
  return took;
}

const times: Record<Kind, number[]> = {
  ...{ 'wrong secret': [], 'unknown identity': [], 'unknown service': [] },
};
for (let i = -WARM_UP; i < n; i++) {
  const from = randomInt(KIND_NAMES.length);
  for (const kind of [...KIND_NAMES.slice(from), ...KIND_NAMES.slice(0, from)]) {
    const took = await attempt(kind);
    if (i >= 0) times[kind].push(took);
  }
}
await world.stop();
await audit.close();
await rm(dir, { recursive: true });
const yardstick = median(times['wrong secret']);
const results = KIND_NAMES.map((what) => ({
  what,
  n: times[what].length,
  medianMs: round(median(times[what]), 3),
  differencePercent: round((median(times[what]) / yardstick - 1) * 100, 2),
}));
print({}, results);

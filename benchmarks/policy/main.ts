/**
 * Measures what a policy costs. Prints JSON.
 *
 *     node benchmarks/policy/main.ts [members=30] [times=5]
 *
 * read: processor time to read a document and run its tests, as every node does that receives it.
 * evaluate: processor time for one member to find what to let in, as it does at each change.
 * publish: from the owner's record at one super-peer until the last member knows it, all nodes in this
 * process; as a multiple of a ping between two of them in the same run.
 */

import { POLICY_RECORD } from '../../src/overlay/stored-kinds.ts';
import { readPolicy } from '../../src/policy/embedded-tests.ts';
import { evaluate, type PolicyMember } from '../../src/policy/evaluate.ts';
import { addresses, nth, until } from '../../test/unit/overlay/harness.ts';
import { serviceWith } from '../overlay/service.ts';
import { median } from '../statistics.ts';

const ROLES = 20;
const RUNS = 21;

/** `rules` rules, each between two of 20 roles, and as many tests as fit. */
function document(rules: number): Uint8Array {
  const rule = (i: number) => ({
    from: [`role:${i % ROLES}`, `vmid:vm-${i}`],
    to: [`role:${(i * 7 + 1) % ROLES}`],
    ports: [`tcp/${1000 + i}`, 'udp/53'],
  });
  const all = Array.from({ length: rules }, (_, i) => rule(i));
  const tests = all.slice(0, 256).map(({ from, to, ports }) => ({
    ...{ from: from[0], to: to[0], port: ports[0], expect: 'allow' },
  }));
  return new TextEncoder().encode(JSON.stringify({ version: 1, rules: all, tests }));
}

const member = (i: number): PolicyMember => ({
  ...{ peerId: `peer-${i}`, vmid: `vm-${i}`, roles: [String(i % ROLES)] },
  ...{ vouched: undefined, subnets: [] },
  ...{ ipv4: `100.64.${i >> 8}.${i & 255}`, ipv6: `fd00::${i.toString(16)}` },
});

function medianMilliseconds(work: () => unknown): number {
  const times = Array.from({ length: RUNS }, () => {
    const begin = process.cpuUsage();
    work();
    const { user, system } = process.cpuUsage(begin);
    return (user + system) / 1000;
  });
  return median(times);
}

async function publish(members: number, times: number): Promise<object> {
  const {
    service,
    members: { enrolled },
  } = await serviceWith(3, members);
  const { records } = nth(service.supers, 0).tier1;
  const { id, key } = service.service;
  const seconds: number[] = [];
  const pings: number[] = [];
  for (let sequence = 1; sequence <= times; sequence++) {
    const { libp2p } = nth(enrolled, 0).node.host;
    const other = addresses(nth(enrolled, 1).node.host);
    await libp2p.dial(other);
    pings.push((await libp2p.services.ping.ping(other)) / 1000);
    const record = { serviceId: id, sequence, document: document(100) };
    const began = performance.now();
    const everybody = enrolled.map(({ trust }) =>
      until(trust, 'policy', () => trust.policy?.sequence === sequence, 60_000),
    );
    await records.put(POLICY_RECORD, record, key);
    await Promise.all(everybody);
    seconds.push((performance.now() - began) / 1000);
  }
  const [taken, ping] = [median(seconds), median(pings)];
  const most = Math.max(...seconds);
  return { what: 'publish', members, n: times, medianSeconds: taken, most, inPings: taken / ping };
}

const [members = 30, times = 5] = process.argv.slice(2).map(Number);
const results: object[] = [];
for (const rules of [10, 100, 1000]) {
  const raw = document(rules);
  const medianCpuMs = medianMilliseconds(() => readPolicy(raw));
  results.push({ what: 'read', rules, bytes: raw.length, n: RUNS, medianCpuMs });
}
for (const [rules, count] of [
  [10, 100],
  [100, 1000],
  [1000, 1000],
] as const) {
  const parsed = readPolicy(document(rules));
  const all = Array.from({ length: count }, (_, i) => member(i));
  const view = { self: member(1), members: all, prefixes: ['100.64.0.0/16', 'fd00::/64'] };
  const medianCpuMs = medianMilliseconds(() => evaluate(parsed, view));
  results.push({ what: 'evaluate', rules, members: count, n: RUNS, medianCpuMs });
}
results.push(await publish(members, times));
console.log(JSON.stringify({ results }));
process.exit(0);

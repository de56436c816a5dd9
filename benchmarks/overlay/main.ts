/**
 * Measures the overlay with all nodes of a service in this process. Prints JSON.
 *
 *     node benchmarks/overlay/main.ts churn [members=100]
 *     node benchmarks/overlay/main.ts revoke [members=50] [times=5] [tier2=1]
 *     unshare -n sh -c 'ip link set lo up; node benchmarks/overlay/main.ts idle [members=40] [minutes=11]'
 *
 * churn: half of the members are replaced, some leave and some crash; then whether 30 s later any
 * list misses a member or has one that is gone. Of more than a minute of replacing it says so.
 * revoke: from the owner's list at one super-peer until the last member has cut the revoked one off;
 * as a multiple of a ping between two members in the same run. With tier2=0 members join no tier 2, as hundreds of
 * them in one process do slowly: the list then comes from super-peers alone.
 * idle: bytes on loopback, headers included, divided by the members. Needs a network of its own.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { REVOCATION_RECORD } from '../../src/overlay/stored-kinds.ts';
import { addresses, nth, until } from '../../test/unit/overlay/harness.ts';
import { median } from '../statistics.ts';
import { serviceWith } from './service.ts';

const [what, ...numbers] = process.argv.slice(2);

async function churn(count: number): Promise<object> {
  const { members } = await serviceWith(3, count);
  const began = performance.now();
  for (let i = 0; i < count / 2; i += 10) {
    const gone = members.enrolled.splice(0, Math.min(10, count / 2 - i));
    await Promise.all(
      gone.map(async ({ node }, j) => {
        // Every other one crashes.
        if (j % 2 === 0) await node.directory.goodbye();
        await node.close();
      }),
    );
    await members.enrol(gone.length);
  }
  const replacedInSeconds = (performance.now() - began) / 1000;
  await sleep(30_000);
  const withinAMinute = replacedInSeconds <= 60;
  return { members: count, replacedInSeconds, withinAMinute, ...members.errors() };
}

async function revoke(count: number, times: number, tier2: boolean): Promise<object> {
  const { service, members } = await serviceWith(3, count, tier2);
  const { enrolled } = members;
  const { records } = nth(service.supers, 0).tier1;
  const revocations: {
    peerId: (typeof service)['service']['id'];
    serial: undefined;
    since: number;
  }[] = [];
  const seconds: number[] = [];
  const cpuSeconds: number[] = [];
  const pings: number[] = [];
  for (let i = 0; i < times; i++) {
    const [out] = enrolled.splice(0, 1);
    if (out === undefined) break;
    const { libp2p } = nth(enrolled, 0).node.host;
    const other = addresses(nth(enrolled, 1).node.host);
    await libp2p.dial(other);
    pings.push((await libp2p.services.ping.ping(other)) / 1000);
    const { peerId } = out.node.host;
    revocations.push({ peerId, serial: undefined, since: Math.floor(Date.now() / 1000) });
    const list = { serviceId: service.service.id, issuer: service.service.id, sequence: i + 1 };
    const began = performance.now();
    const cpu = process.cpuUsage();
    const everybody = enrolled.map(({ trust }) =>
      until(trust, 'change', () => trust.barred(peerId), 60_000),
    );
    await records.put(
      REVOCATION_RECORD,
      { ...list, revocations, tickets: [] },
      service.service.key,
    );
    await Promise.all(everybody);
    seconds.push((performance.now() - began) / 1000);
    const used = process.cpuUsage(cpu);
    cpuSeconds.push((used.user + used.system) / 1e6);
    await out.node.close();
  }
  const [taken, ping] = [median(seconds), median(pings)];
  const cpuSecondsOfAll = median(cpuSeconds);
  const measured = { n: seconds.length, medianSeconds: taken, inPings: taken / ping };
  return { members: count, tier2, ...measured, cpuSecondsOfAll };
}

async function idle(count: number, minutes: number): Promise<object> {
  await serviceWith(2, count);
  await sleep(30_000);
  const before = loopbackBytes();
  await sleep(minutes * 60_000);
  const bytesPerHour = ((loopbackBytes() - before) / count / minutes) * 60;
  return { members: count, minutes, megabytesPerMemberAndHour: bytesPerHour / 1e6 };
}

function loopbackBytes(): number {
  const line = readFileSync('/proc/net/dev', 'utf8')
    .split('\n')
    .find((each) => each.trim().startsWith('lo:'));
  return Number(line?.trim().split(/\s+/)[1]);
}

const [first, second, third] = numbers.map(Number);
const result =
  what === 'churn'
    ? await churn(first ?? 100)
    : what === 'revoke'
      ? await revoke(first ?? 50, second ?? 5, third !== 0)
      : what === 'idle'
        ? await idle(first ?? 40, second ?? 11)
        : undefined;
if (result === undefined) {
  console.error('say what to measure: churn, revoke or idle');
  process.exit(2);
}
console.log(JSON.stringify({ what, ...result }));
process.exit(0);

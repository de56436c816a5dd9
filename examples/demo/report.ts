/** Prints what the demo saw, and judges whether it is what was promised. */
import { table } from '../../src/cli/output.ts';
import type { Seen } from './run.ts';

/** @returns whether every claim held */
export function report(seen: Seen, say: (line: string) => void): boolean {
  const failures: string[] = [];
  const claim = (holds: boolean, what: string): void => void (holds || failures.push(what));

  const admittedAt = new Set(seen.statuses.map((each) => each.admittedBy));
  say('\nMembers');
  say(
    table(
      ['VM', 'roles', 'IPv4', 'IPv6', 'underlay', 'admitted by'],
      seen.statuses.map((each) => {
        const self = each.members.find((member) => member.self);
        const roles = self?.roles.join(',') ?? '';
        const underlay = self?.underlay ?? '-';
        return [each.vmid, roles, each.ipv4, each.ipv6, underlay, each.admittedBy.slice(-8)];
      }),
    ),
  );
  claim(seen.statuses.length === 3, 'three VMs are members');
  claim(
    seen.statuses.every((each) => each.members.length === 3),
    'every VM sees three members',
  );
  claim(admittedAt.size === 2, 'both super-peers admitted a VM');

  say('\nPings');
  say(
    table(
      ['from', 'to', 'address', 'answered', 'average'],
      seen.pings.map((each) => [
        each.from,
        each.to,
        each.address,
        `${each.received} of ${each.sent}`,
        each.averageMs === null ? '-' : `${each.averageMs.toFixed(1)} ms`,
      ]),
    ),
  );
  claim(seen.pings.length === 12, 'six directed pairs were pinged by IPv4 and IPv6');
  claim(
    seen.pings.every((each) => each.sent > 0 && each.received === each.sent),
    'every ping was answered',
  );

  const { esp, control, clear, marked } = seen.captured;
  say("\nWhat cloud a's router saw between the VMs");
  say(`  ${esp} packets of ESP, ${control} of the encrypted control plane`);
  say(`  ${clear} packets in clear, ${marked} with the text that every ping carried`);
  const wanted = seen.pings.reduce((sum, each) => sum + 2 * each.received, 0);
  claim(esp >= wanted, `at least ${wanted} packets of ESP were captured`);
  claim(clear === 0 && marked === 0, 'no packet in clear was captured');

  say('\nSecurity associations in the kernel');
  const rows = [...seen.kernel].flatMap(([vm, all]) =>
    all.map((sa) => [vm, `${sa.src} > ${sa.dst}`, sa.spi, String(sa.packets), String(sa.bytes)]),
  );
  say(table(['VM', 'direction', 'SPI', 'packets', 'bytes'], rows));
  claim(
    [...seen.kernel.values()].every((all) => all.filter((sa) => sa.packets > 0).length >= 4),
    'every VM has an SA in and out for each peer, with packets counted',
  );

  say('\nFrom start of a VM to its first answered ping');
  for (const { vm, ms } of seen.firstAnswers) say(`  ${vm}  ${(ms / 1000).toFixed(2)} s`);
  claim(seen.firstAnswers.length === 2, 'the time to the first answer was measured');

  say('');
  for (const failure of failures) say(`DID NOT HOLD: ${failure}`);
  say(failures.length === 0 ? 'All of it held.' : `${failures.length} claims did not hold.`);
  return failures.length === 0;
}

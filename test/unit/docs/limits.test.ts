import { deepEqual, equal } from 'node:assert/strict';
import { DEFAULT_LIMITS } from '../../../src/admission/limits.ts';
import { DEFAULT_LISTEN } from '../../../src/cli/address-options.ts';
import { MAX_MULTIADDRS } from '../../../src/codec/multiaddr.ts';
import { PATIENCE_MS } from '../../../src/daemon/patience.ts';
import { PREFERENCE } from '../../../src/ipsec/dataplane/routing.ts';
import { NAT_TRAVERSAL_PORT } from '../../../src/ipsec/encap/udp.ts';
import { MAX_UNPROVEN } from '../../../src/overlay/publish.ts';
import { RANGE_UNITS } from '../../../src/records/address-range.ts';
import {
  CLOCK_SKEW_SECONDS,
  CREDENTIAL,
  MAX_ROLES,
  MAX_SUBNETS,
  WAY_BACK_SECONDS,
} from '../../../src/records/credential.ts';
import { MAX_ADMITTERS, MAX_RETIRED } from '../../../src/records/descriptor.ts';
import { MAX_UPDATE_MEMBERS } from '../../../src/records/directory.ts';
import {
  MAX_BUCKET_DEPARTED,
  MAX_BUCKET_MEMBERS,
  SHARD_BUCKETS,
} from '../../../src/records/membership.ts';
import { MAX_REVOCATIONS, MAX_REVOKED_TICKETS } from '../../../src/records/revocation.ts';
import { PAGES, quoted, read, rows, SOURCE, section } from './pages.ts';

const KiB = 1024;

/** A number of the source that is not exported: `name = …`, `name: …` or `?? …`. */
function constant(path: string, before: RegExp): number {
  const text = SOURCE.get(path) ?? '';
  const found = new RegExp(`${before.source}\\s*([\\d_]+(?: \\* [\\d_]+)*)`).exec(text)?.[1];
  if (found === undefined) throw new Error(`${path} has no ${before.source}`);
  const factors = found.replaceAll('_', '').split('*').map(Number);
  return factors.reduce((product, each) => product * each, 1);
}

const WORDS: Readonly<Record<string, number>> = { two: 2, five: 5, eight: 8 };
const numberOf = (text: string): number => WORDS[text] ?? Number(text.replaceAll(',', ''));

/** Wherever a page says this, it says these numbers; it says it at least once. */
function says(page: string, sentence: RegExp, ...expected: number[]): void {
  const found = [...read(page).matchAll(new RegExp(sentence, 'g'))];
  equal(found.length > 0, true, `${page} does not say ${sentence}`);
  for (const [all, ...numbers] of found)
    deepEqual(numbers.map(numberOf), expected, `${page}: ${all}`);
}

describe('limits that pages state', () => {
  it('of ports', () => {
    const ports = section(read('docs/operations.md'), '## Ports and packets');
    const udp = [...ports.matchAll(/(?:UDP|udp dport) (\d+)/g)].map(([, port]) => Number(port));
    equal(udp.length > 1, true);
    const tcp = [...ports.matchAll(/(?:TCP|tcp dport) (\d+)/g)].map(([, port]) => port);
    const listening = DEFAULT_LISTEN.map((each) => each.split('/').at(-1));
    deepEqual([...new Set(tcp)], [...new Set(listening)]);
    for (const port of udp) equal(port, NAT_TRAVERSAL_PORT);
    const taking = rows(ports).map(([node]) => node);
    for (const node of ['super-peer', 'member', "owner's machine"]) {
      equal(taking.includes(node), true, node);
    }
    equal(/iifname "icvpn0" accept/.test(ports), true);
    says('docs/encapsulation.md', /on one port, (\d+) unless `--udp-port`/, NAT_TRAVERSAL_PORT);
  });

  it('of admission', () => {
    const { rate, ratePerHost, ratePerSite, srp, ...places } = DEFAULT_LIMITS;
    const limits = section(read('docs/admission.md'), '## Limits');
    const table = new Map(rows(limits).map(([what = '', ...cells]) => [what, cells]));
    const text = ({ rate, burst }: { rate: number; burst: number }): string => `${rate}, ${burst}`;
    deepEqual(table.get('streams a second, burst'), [
      ...['', text(ratePerHost), text(ratePerSite), text(rate)],
    ]);
    deepEqual(table.get('not yet proven')?.map(Number), [
      ...[places.halfOpenPerPeer, places.halfOpenPerHost, places.halfOpenPerSite, places.halfOpen],
    ]);
    deepEqual(table.get('of these in SRP'), ['', '', '', String(srp)]);
    const { unproven, puzzle, proven } = places;
    const seconds = [unproven, puzzle, proven].map((each) => each / 1000);
    const page = 'docs/admission.md';
    says(page, /(\d+) s for each message, (\d+) s for a puzzle, and\s(\d+) s after/, ...seconds);
    const limit = 'src/admission/limits.ts';
    const load = [/LOAD_PUZZLE = { first:/, /LOAD_PUZZLE = { first: 12, most:/];
    says(page, /a puzzle of (\d+) to (\d+) bits/, ...load.map((each) => constant(limit, each)));
    says(page, /\(to (\d+) bits\)/, constant(limit, /GUESS_PUZZLE = { first: 12, most:/));
    const arrivals = 'src/overlay/arrivals.ts';
    says(page, /shares out ([\d,]+) places/, constant(arrivals, /STRANGERS =/));
    says(page, /and (\d+) more for hosts/, constant(arrivals, /RESERVED =/));
    says(page, /up to (\d+) times,\n\s+multiaddrs/, MAX_ROLES);
    says(page, /CIDR, up to (\d+) times/, MAX_SUBNETS);
    says(page, /asks again for (\w+) minutes/, PATIENCE_MS / 60_000);
    const file = constant('src/admission/audit.ts', /MAX_FILE =/) / KiB / KiB;
    const kept = constant('src/admission/audit-files.ts', /KEPT_FILES =/);
    says(page, /At (\d+) MiB a file becomes/, file);
    says(page, /The (\w+) newest of these stay/, kept);
    says(page, /takes (\d+) MiB at most/, file * (kept + 1));
  });

  it('of credentials and epochs', () => {
    const days = WAY_BACK_SECONDS / 86_400;
    says('docs/admission.md', /for (\d+) days\s/, days);
    says('docs/architecture.md', /is renewed as well, for (\d+) days/, days);
    says('docs/operations.md', /for (\d+) days after its end/, days);
    says('docs/owner.md', /and (\d+) days more, in which it could be renewed/, days);
    says('docs/security.md', /can be renewed for (\d+) days/, days);
    const skew = CLOCK_SKEW_SECONDS / 60;
    says('docs/operations.md', /Clocks must be right within (\w+) minutes/, skew);
    says('docs/security.md', /off by more than (\w+) minutes/, skew);
    says('docs/admission.md', /give or take (\w+) minutes/, skew);
    const grace = constant('src/overlay/service-trust.ts', /EPOCH_GRACE_MS =/) / 60_000;
    says('docs/architecture.md', /For (\w+) minutes credentials of the epochs/, grace);
    says('docs/records.md', /hold for (\w+) minutes more/, grace);
    const news = constant('src/daemon/member/listing.ts', /FIRST_NEWS_MS =/) / 1000;
    says('docs/architecture.md', /if no super-peer answers within ([\d.]+) s/, news);
  });

  it('of records', () => {
    const page = 'docs/records.md';
    says(page, /up to ([\d,]+) `revocations`/, MAX_REVOCATIONS);
    says(page, /up to ([\d,]+) `tickets`/, MAX_REVOKED_TICKETS);
    says(page, /own list keeps the newest ([\d,]+)/, MAX_REVOCATIONS);
    says(page, /refuses the ([\d,]+)th/, MAX_REVOCATIONS + 1);
    says(
      'docs/owner.md',
      /holds ([\d,]+) nodes and ([\d,]+) tickets/,
      MAX_REVOCATIONS,
      MAX_REVOKED_TICKETS,
    );
    says(page, /up to (\d+) `admitters`/, MAX_ADMITTERS);
    says(page, /`retired`, up to (\d+) ranges/, MAX_RETIRED);
    says(page, /of the ([\d,]+) units of the prefix/, RANGE_UNITS);
    says(page, /`multiaddrs` \((\d)\)/, MAX_MULTIADDRS);
    says(page, /`bucket` \(0 to (\d+)\)/, SHARD_BUCKETS - 1);
    says(page, /up to (\d+) `members`/, MAX_BUCKET_MEMBERS);
    says(page, /up to (\d+) `departed`/, MAX_BUCKET_DEPARTED);
    says(page, /names at most ([\d,]+) members/, MAX_UPDATE_MEMBERS);
    const store = 'src/overlay/record-store.ts';
    const bytes = constant(store, /options.maxBytes \?\?/) / KiB / KiB;
    says(page, /holds ([\d,]+) records and (\d+) MiB/, constant(store, /maxRecords \?\?/), bytes);
    says('docs/exchange.md', /credential = 1 bytes \(1 to (\d+)\)/, CREDENTIAL.maxLength);
    says('docs/errors.md', /a record over (\d+) KiB/, MAX_UNPROVEN / KiB);
  });

  it('of connections and packets', () => {
    const surplus = constant('src/overlay/surplus.ts', /LIMITS: SurplusLimits = { high:/);
    says('docs/architecture.md', /Of idle others a node keeps (\d+) at most/, surplus);
    says(
      'docs/architecture.md',
      /counters are read every (\d+) s/,
      constant('src/daemon/pair/usage-watch.ts', /INTERVAL =/) / 1000,
    );
    const mtu = constant('src/ipsec/dataplane.ts', /DEFAULT_MTU =/);
    says('docs/encapsulation.md', /`icvpn0` has an MTU of ([\d,]+)/, mtu);
    says('docs/operations.md', /of a preference below (\d+)/, PREFERENCE.service);
    says('docs/guard.md', /rules (\d+) to (\d+) ──/, PREFERENCE.service, PREFERENCE.fallback);
  });

  it('of what IPv6 needs of a path', () => {
    // RFC 4303: pad length and next header, padded to 4 bytes; SPI, sequence, IV and ICV.
    const esp = Math.ceil((1280 + 2) / 4) * 4 + 4 + 4 + 8 + 16;
    const table = rows(section(read('docs/encapsulation.md'), '## Path MTU'));
    const numbers = table.map(([, ...cells]) => cells.map(numberOf));
    deepEqual(numbers, [
      [esp + 20, esp + 20 + 8],
      [esp + 40, esp + 40 + 8],
    ]);
  });

  it('of the kernel: every page and remedy for members names the same version', () => {
    const wanted = /Linux (\d+\.\d+)(?: and| or) newer/g;
    const pages = PAGES.filter((page) => page !== 'docs/xfrm.md').map(read);
    const texts = pages.map((page) => page.replaceAll(/^.*ERR_NETLINK.*$/gm, ''));
    for (const part of ['dataplane', 'firewall']) {
      texts.push(SOURCE.get(`src/ipsec/${part}/errors.ts`) ?? '');
    }
    const versions = texts.flatMap((text) => [...text.matchAll(wanted)].map(([, each]) => each));
    deepEqual([...new Set(versions)], ['5.7']);
    equal(versions.length > 4, true);
  });
});

describe('numbers on the wire that pages state', () => {
  /** What a list such as `1 refused, 2 unsupported` says. */
  const listed = (text: string): [string, number][] =>
    [...text.matchAll(/(\d+) ([a-z]+(?: [a-z]+)?)/g)].map(([, number, name = '']) => [
      name,
      Number(number),
    ]);

  it('of refusals at admission', () => {
    const text = SOURCE.get('src/admission/messages.ts') ?? '';
    const reasons = [...text.matchAll(/^export const ([A-Z_]+) = (\d);$/gm)]
      .map(([, name = '', number]): [string, number] => [
        name.toLowerCase().replace('_', ' '),
        Number(number),
      ])
      .filter(([name]) => name !== 'protocol version');
    const page = read('docs/admission.md');
    const said = /^Refusal .*\}([^}]*?)^Provision/ms.exec(page)?.[1] ?? '';
    deepEqual(
      listed(said),
      reasons.sort(([, a], [, b]) => a - b),
    );
  });

  it('of refusals in the exchange', () => {
    const text = SOURCE.get('src/keymgmt/exchange/messages.ts') ?? '';
    const known = /REFUSALS: readonly Refusal\[\] = \[([^\]]+)\]/.exec(text)?.[1] ?? '';
    const names = [...known.matchAll(/'(\w+)'/g)].map(([, name = ''], i) => [name, i + 1]);
    const said = /sends a refusal in clear:([^.]+)\./.exec(read('docs/exchange.md'))?.[1] ?? '';
    deepEqual(listed(said), names);
  });
});

describe('commands of npm that pages state', () => {
  it('print nothing beside the output that goes into a file', () => {
    for (const page of PAGES) {
      for (const [line] of read(page).matchAll(/npm run [^\n`]*> \S+/g)) {
        equal(line.includes('--silent'), true, `${page}: ${line}`);
      }
    }
  });

  it('are in package.json', () => {
    const { scripts }: { scripts: Record<string, string> } = JSON.parse(read('package.json'));
    for (const page of PAGES) {
      for (const [, name = ''] of read(page).matchAll(/npm run (?:--silent )?([a-z][\w:]*)/g)) {
        equal(name in scripts, true, `${page}: npm run ${name}`);
      }
    }
  });

  it('install no package by the name of icvpn from a registry', () => {
    for (const page of [...PAGES, 'examples/vm-bootstrap/user-data.ts']) {
      const installs = read(page).matchAll(/(?:npm (?:install|i|add|exec)|npx)[^\n`]*/g);
      for (const [line] of installs) {
        equal(/(?<![\w./-])icvpn(?![\w./-])/.test(line), false, `${page}: ${line}`);
      }
    }
  });
});

describe('architecture.md', () => {
  it('lists each folder of the source', () => {
    const parts = rows(section(read('docs/architecture.md'), '## The parts'));
    const listed = parts.flatMap(([first = '']) => quoted(first)).filter((each) => each !== 'lab');
    const folders = new Set(
      [...SOURCE.keys()].map((path) => path.split('/').slice(0, 2).join('/')),
    );
    const named = (folder: string): boolean =>
      listed.includes(folder) || listed.includes(folder.replace(/\.ts$/, ''));
    deepEqual(
      [...folders].filter((each) => !named(each)),
      [],
    );
    const there = (each: string): boolean =>
      [...SOURCE.keys()].some(
        (path) => path.startsWith(`${each}/`) || path === each || path === `${each}.ts`,
      );
    deepEqual(
      listed.filter((each) => !there(each)),
      [],
    );
  });

  it('says what each folder imports', () => {
    const parts = rows(section(read('docs/architecture.md'), '## The parts'));
    for (const [first = '', , imports = ''] of parts) {
      const [folder = ''] = quoted(first);
      if (folder.endsWith('.ts') || folder === 'lab' || imports === 'all above') continue;
      const found = new Set<string>();
      for (const [path, text] of SOURCE) {
        if (!path.startsWith(`${folder}/`)) continue;
        const up = path.split('/').length - 2;
        const others = new RegExp(`from '${'\\.\\./'.repeat(up)}([a-z]+)/`, 'g');
        for (const [, other = ''] of text.matchAll(others)) found.add(other);
      }
      const listed = imports === '' ? [] : imports.split(', ');
      deepEqual(listed.sort(), [...found].sort(), folder);
    }
  });

  it('lists each protocol id', () => {
    const listed = rows(section(read('docs/architecture.md'), '## Protocols')).flatMap(
      ([first = '']) => quoted(first),
    );
    const ids = new Set<string>();
    for (const text of SOURCE.values()) {
      for (const [, id = ''] of text.matchAll(/'(?:\/icvpn\/)?([a-z]+\/1\.0\.0)'/g)) ids.add(id);
    }
    const short = listed.map((each) => each.replace(/^\/icvpn\/(<id>\/)?/, ''));
    deepEqual(short.sort(), [...ids].sort());
  });
});

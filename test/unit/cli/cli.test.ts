import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { AuditLog } from '../../../src/admission/audit.ts';
import { errorLine } from '../../../src/cli/output.ts';
import { runCli } from '../../../src/cli/program.ts';
import { parseBootstrap } from '../../../src/records/bootstrap.ts';

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function icvpn(...args: string[]): Promise<Run> {
  let out = '';
  let err = '';
  const output = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
  };
  const code = await runCli(args, { output, signal: AbortSignal.timeout(50_000) });
  return { code, out, err };
}

const makeServiceId = async (): Promise<string> =>
  peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString();

describe('icvpn command line', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-cli-'));
  });
  after(() => rm(dir, { recursive: true }));
  const path = (name: string): string => join(dir, name);

  for (const [what, args, names] of [
    ['an unknown option', ['up', '--bootstarp', 'x'], /'--bootstarp'.*see icvpn up --help/],
    ['an unknown command', ['upp'], /unknown command 'upp'.*: see icvpn --help/],
    ['an unknown word', ['service', 'pubish'], /'pubish'.*: see icvpn service --help/],
    ['no super-peer', ['service', 'create'], /'--super-peer|--name/],
    ['a card without address', ['super-peer', 'card', '--out', 'x'], /'--address <multiaddr>'/],
    ['a bad ticket', ['service', 'revoke-ticket', 'x', '--dir', 'x'], /'x' is invalid/],
    ['no ticket', ['service', 'revoke-ticket', '--dir', 'x'], /give the ids of tickets, or --all/],
    ['a missing option', ['service', 'publish'], /'--dir <dir>'.*see icvpn service publish --help/],
    ['a surplus word', ['status', 'all'], /too many arguments/],
    ['a bad prefix', ['service', 'create', '--ipv4', '10.0.0.1/8'], /'10.0.0.1\/8' is invalid/],
    ['a bad multiaddr', ['up', '--listen', 'localhost:1'], /'localhost:1' is invalid/],
    ['a bad ServiceID', ['super-peer', 'run', '--allow-service', 'shop'], /'shop' is invalid/],
    ['an unknown outcome', ['audit', '--outcome', 'lost'], /'lost' is invalid.*admitted/],
    ['a bad time', ['audit', '--since', 'noon'], /'noon' is invalid/],
    ['a bad member', ['revoke', 'web-1', '--dir', 'x'], /'web-1' is invalid/],
    ['a bad count', ['service', 'create', '--credential-lifetime', '0'], /'0' is invalid/],
  ] as const) {
    it(`P22 says in one line what is wrong with ${what}, and exits with 2`, async () => {
      const { code, out, err } = await icvpn(...args);
      assert.equal(code, 2);
      assert.match(err, /^icvpn: .*\n$/);
      assert.match(err, names);
      assert.equal(out, '');
    });
  }

  it('shows help on standard output', async () => {
    const { code, out, err } = await icvpn('up', '--help');
    assert.deepEqual([code, err], [0, '']);
    assert.match(out, /--bootstrap <file>/);
  });

  for (const [what, args, line] of [
    [
      'a missing file',
      ['service', 'create', '--super-peer', '/none'],
      /\/none does not exist: check/,
    ],
    ['no audit log', ['audit', '--state', '/none'], /\/none\/audit.log does not exist: check/],
    ['no daemon', ['status', '--state', '/none'], /no daemon answers .*: start it with icvpn up/],
    ['a missing bootstrap file', ['up', '--foreground', '--bootstrap', '/none'], /\/none does not/],
  ] as const) {
    it(`says in one line what to do about ${what}, and exits with 1`, async () => {
      const more = ['--name', 'n', '--dir', path('x'), '--bootstrap', path('y')];
      const { code, err } = await icvpn(...args, ...(args[0] === 'service' ? more : []));
      assert.equal(code, 1);
      assert.match(err, /^icvpn: .*\n$/);
      assert.match(err, line);
    });
  }

  it('P34 refuses an overlay’s bootstrap data, which would let a VM into tier 1', async () => {
    const at = ['--address', '/ip4/127.0.0.1/tcp/4242'];
    const card = path('overlay-sp.card');
    await icvpn('super-peer', 'card', '--state', path('overlay-sp'), ...at, '--out', card);
    const overlay = ['--name', 'tier1', '--dir', path('overlay'), '--super-peer', card];
    const file = path('overlay.json');
    const made = await icvpn('overlay', 'create', ...overlay, '--bootstrap', file);
    assert.equal(made.code, 0, made.err);
    const state = ['--state', path('vm')];
    const { code, err } = await icvpn('up', '--foreground', ...state, '--bootstrap', file);
    assert.equal(code, 1);
    assert.match(err, /"tier1", an overlay, which super-peers join .*--overlay\n$/);
  });

  it('P34 says what is wrong with a disk in a line, and does not call it a defect', () => {
    for (const [code, line] of [
      ['EROFS', /\/x\/y is on a file system that cannot be written: /],
      ['ENOSPC', /no space left for \/x\/y: /],
    ] as const) {
      const error = Object.assign(new Error(`${code}: open`), { code, path: '/x/y' });
      assert.match(errorLine(error), line);
    }
  });

  it('P22 P34 names a VMID or role that no credential can carry', async () => {
    for (const [option, value] of [
      ['--vmid', ''],
      ['--vmid', 'x'.repeat(129)],
      ['--vmid', 'a\nb'],
      ['--role', '\u001b[31m'],
    ] as const) {
      const state = ['--state', path('named')];
      const { code, err } = await icvpn('up', '--foreground', ...state, option, value);
      assert.equal(code, 1);
      assert.match(err, /cannot be a (VMID|role): /);
    }
  });

  it('prints its version', async () => {
    const { version } = JSON.parse(
      await readFile(new URL('../../../package.json', import.meta.url), 'utf8'),
    );
    assert.deepEqual(await icvpn('--version'), { code: 0, out: `${version}\n`, err: '' });
  });

  it('P34 gives programs an error as JSON, with its code', async () => {
    for (const [args, exit, code] of [
      [['status', '--state', '/none', '--json'], 1, 'ERR_NOT_RUNNING'],
      [['service', 'status', '--dir', '/none', '--json'], 1, 'ERR_NO_SERVICE'],
      [['audit', '--state', '/none', '--json'], 1, 'ENOENT'],
      [['status', '--json', '--colour'], 2, 'commander.unknownOption'],
    ] as const) {
      const run = await icvpn(...args);
      assert.equal(run.code, exit);
      const { error } = JSON.parse(run.err);
      assert.equal(error.code, code);
      assert.ok(error.message && error.remedy);
    }
  });

  it('P34 tells what keeps a file from being written, and never calls that a defect', async () => {
    const at = ['--address', '/ip4/127.0.0.1/tcp/4242', '--state', path('sp-files')];
    for (const [out, why] of [
      ['/proc/none', /\/proc\/none/],
      [path('none/x.card'), /does not exist|no such file/],
      ['/dev/full', /no space left on device.*: make room/],
    ] as const) {
      const { code, err } = await icvpn('super-peer', 'card', ...at, '--out', out);
      assert.equal(code, 1);
      assert.match(err, /^icvpn: .*\n$/);
      assert.match(err, why);
      assert.doesNotMatch(err, /defect/);
    }
  });

  it('P23 makes a card and a service, and prints no secret', async () => {
    const at = ['--address', '/ip4/127.0.0.1/tcp/4242'];
    const card = path('sp.card');
    const made = await icvpn('super-peer', 'card', '--state', path('sp'), ...at, '--out', card);
    assert.equal(made.code, 0, made.err);
    const service = ['--name', 'shop', '--dir', path('shop'), '--super-peer', card];
    const file = path('shop.json');
    const run = await icvpn('service', 'create', ...service, '--bootstrap', file, '--json');
    assert.equal(run.code, 0, run.err);
    const bootstrap = parseBootstrap(await readFile(file, 'utf8'));
    assert.equal(JSON.parse(run.out).serviceId, bootstrap.serviceId.toString());
    assert.ok(!`${run.out}${run.err}`.includes(bootstrap.secret));
    assert.equal((await stat(file)).mode & 0o777, 0o600);
    const again = await icvpn('service', 'create', ...service, '--bootstrap', path('2.json'));
    assert.match(again.err, /holds a service already: give another --dir/);
  });

  it('makes a ticket, whose bootstrap data holds no service secret', async () => {
    const dir = ['--dir', path('shop')];
    const file = path('ticket.json');
    const run = await icvpn('service', 'ticket', ...dir, '--bootstrap', file, '--vmid', 'web-1');
    assert.equal(run.code, 0, run.err);
    const ticket = parseBootstrap(await readFile(file, 'utf8'));
    const whole = parseBootstrap(await readFile(path('shop.json'), 'utf8'));
    assert.notEqual(ticket.secret, whole.secret);
    assert.ok(!run.out.includes(ticket.secret));
    assert.ok(ticket.serviceId.equals(whole.serviceId));
  });

  it('shows the audit log by time, VMID, outcome and service, as text and as JSON', async () => {
    let now = Date.parse('2030-01-31T10:00:00Z');
    const log = await AuditLog.open(path('audit.log'), () => now);
    const [shop, bank] = [await makeServiceId(), await makeServiceId()];
    for (const [vmid, serviceId] of [
      ['web-1', shop],
      ['db-1', shop],
      ['web-1', bank],
    ] as const) {
      await log.append({ event: 'admitted', serviceId, vmid });
      now += 60_000;
      await log.append({ event: 'refused', serviceId, vmid, cause: 'wrong secret' });
      now += 60_000;
    }
    await log.close();
    const found = async (...filter: string[]): Promise<unknown[]> => {
      const { code, out, err } = await icvpn('audit', '--state', dir, '--json', ...filter);
      assert.equal(code, 0, err);
      const lines = out.trim().split('\n').filter(Boolean);
      return lines.map((line) => JSON.parse(line).sequence);
    };
    assert.deepEqual(await found(), [1, 2, 3, 4, 5, 6]);
    assert.deepEqual(await found('--vmid', 'web-1'), [1, 2, 5, 6]);
    assert.deepEqual(await found('--outcome', 'refused'), [2, 4, 6]);
    assert.deepEqual(await found('--service', bank), [5, 6]);
    assert.deepEqual(await found('--since', '2030-01-31T10:02:00Z', '--vmid', 'web-1'), [5, 6]);
    assert.deepEqual(await found('--until', '2030-01-31T10:02:00Z'), [1, 2]);
    const { out } = await icvpn('audit', '--state', dir, '--outcome', 'refused', '--vmid', 'db-1');
    const line = '2030-01-31T10:03:00.000Z refused db-1: wrong secret';
    assert.equal(out, `${line}\n1 records; the chain of the log holds\n`);
    // The whole word: its first letters alone may stand in a ServiceID or a hash before it, too.
    const text = await readFile(path('audit.log'), 'utf8');
    assert.ok(text.includes('"db-1"'));
    await writeFile(path('audit.log'), text.replace('"db-1"', '"dc-1"'));
    const broken = await icvpn('audit', '--state', dir);
    assert.equal(broken.code, 1);
    assert.match(broken.err, /line 4: it does not follow from the line before/);
  });

  it('P22 refuses a bootstrap file with a field that it does not know', async () => {
    await writeFile(path('bad.json'), '{"icvpn":1,"sekret":"x"}');
    const { code, err } = await icvpn('up', '--foreground', '--bootstrap', path('bad.json'));
    assert.equal(code, 1);
    assert.match(err, /unknown field "sekret": get the file anew/);
  });

  const policy = {
    version: 1,
    rules: [{ from: ['role:web'], to: ['role:db'], ports: ['tcp/5432'] }],
    tests: [{ from: 'role:web', to: 'role:db', port: 'tcp/5432', expect: 'allow' }],
  };

  it('checks a policy and runs its tests', async () => {
    await writeFile(path('policy.json'), JSON.stringify(policy));
    const run = await icvpn('policy', 'check', path('policy.json'));
    assert.deepEqual([run.code, run.out, run.err], [0, '1 rules, 0 routes, 1 tests\n', '']);
    const open = JSON.stringify({ version: 1 });
    await writeFile(path('open.json'), open);
    const { out } = await icvpn('policy', 'check', path('open.json'), '--json');
    assert.deepEqual(JSON.parse(out), { rules: null, routes: 0, tests: 0, failures: [] });
  });

  it('checks that a policy routes none of the addresses of the service', async () => {
    const routes = [{ gateway: 'role:gw', subnets: ['198.18.3.0/24'] }];
    await writeFile(path('routes.json'), JSON.stringify({ version: 1, routes }));
    assert.equal((await icvpn('policy', 'check', path('routes.json'))).code, 0);
    const dir = ['--dir', path('shop')];
    const { code, err } = await icvpn('policy', 'check', path('routes.json'), ...dir);
    assert.equal(code, 1);
    assert.match(err, /routes\[0\]\.subnets\[0\]: 198\.18\.3\.0\/24 overlaps 198\.18\.0\.0\/16/);
  });

  it('P22 names what is wrong in a policy, and every test of it that fails', async () => {
    await writeFile(path('typo.json'), JSON.stringify({ ...policy, ruels: [] }));
    const typo = await icvpn('policy', 'check', path('typo.json'));
    assert.equal(typo.code, 1);
    assert.match(typo.err, /^icvpn: policy: unknown field "ruels": known here are .*rules.*\n$/);
    const tests = ['tcp/80', 'tcp/81'].map((port) => ({ ...policy.tests[0], port }));
    await writeFile(path('failing.json'), JSON.stringify({ ...policy, tests }));
    for (const command of ['check', 'publish']) {
      const dir = command === 'publish' ? ['--dir', path('shop')] : [];
      const run = await icvpn('policy', command, path('failing.json'), ...dir);
      assert.equal(run.code, 1);
      assert.match(run.err, /^icvpn: policy, tests\[0\]: role:web to role:db at tcp\/80 is denied/);
      if (command === 'check') assert.match(run.out, /tests\[0\] fails.*\n.*tests\[1\] fails/);
    }
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeServiceSecret } from '../../src/admission/secret.ts';
import type { ExecResult } from '../lab/exec.ts';
import { connect, createNetns, type Netns } from '../lab/netns.ts';

// The command itself, as a person runs it, on what goes right and on what goes wrong.
//
//   +-- sp ----------+            +-- vm ----------+
//   |  192.0.2.1:4242 +==========+ 192.0.2.2      |
//   +----------------+            +----------------+

const ICVPN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const AT = '/ip4/192.0.2.1/tcp/4242';

describe('icvpn command', function () {
  this.timeout(180_000);
  let owned: AsyncDisposableStack;
  let dir: string;
  let sp: Netns;
  let vm: Netns;
  const file = (name: string): string => join(dir, name);
  const icvpn = (ns: Netns, ...args: string[]): Promise<ExecResult> =>
    ns.exec(process.execPath, [ICVPN, ...args], { timeoutMs: 60_000 });
  const done = async (ns: Netns, ...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await icvpn(ns, ...args);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  const refused = async (expected: RegExp, ns: Netns, ...args: string[]): Promise<void> => {
    const { code, stderr } = await icvpn(ns, ...args);
    assert.notEqual(code, 0);
    const last = stderr.trimEnd().split('\n').at(-1) ?? '';
    assert.match(last, /^icvpn: .+: .+/);
    assert.match(last, expected);
  };

  before(async () => {
    owned = new AsyncDisposableStack();
    dir = await mkdtemp(join(tmpdir(), 'icvpn-e2e-'));
    owned.defer(() => rm(dir, { recursive: true }));
    sp = owned.use(await createNetns('sp'));
    vm = owned.use(await createNetns('vm'));
    await connect(sp, vm, { addressesA: ['192.0.2.1/24'], addressesB: ['192.0.2.2/24'] });
    const state = ['--state', file('sp')];
    await done(sp, 'super-peer', 'card', ...state, '--address', AT, '--out', file('card'));
    const made = (name: string) => {
      const files = ['--dir', file(name), '--bootstrap', file(`${name}.json`)];
      return ['create', '--name', name, ...files, '--super-peer', file('card'), '--json'];
    };
    await done(sp, 'overlay', ...made('overlay'));
    const { serviceId } = JSON.parse(await done(sp, 'service', ...made('shop')));
    const run = ['super-peer', 'run', ...state, '--overlay', file('overlay.json'), '--listen', AT];
    const allow = ['--allow-service', serviceId, '--json'];
    const daemon = owned.use(sp.start(process.execPath, [ICVPN, ...run, ...allow]));
    await daemon.receive(60_000);
    await done(sp, 'service', 'publish', '--dir', file('shop'));
  });
  after(() => owned.disposeAsync());

  const up = (state: string, ...more: string[]): string[] => {
    return ['up', '--state', file(state), '--bootstrap', file('shop.json'), ...more];
  };

  it('up returns when the VM is a member, status tells, down removes everything', async () => {
    const before = await vm.ip('-d', 'link');
    await done(vm, ...up('vm', '--vmid', 'web-1'));
    const status = JSON.parse(await done(vm, 'status', '--state', file('vm'), '--json'));
    assert.equal(status.vmid, 'web-1');
    assert.equal(status.members.length, 1);
    assert.match(await vm.ip('-d', 'link', 'show', 'icvpn0'), /xfrm if_id/);
    await refused(/is running .*: stop it first/, vm, ...up('vm'));
    await refused(/listens at .*: stop that program/, vm, ...up('other', '--interface', 'icvpn1'));
    await done(vm, 'down', '--state', file('vm'));
    assert.equal(await vm.ip('-d', 'link'), before);
    assert.equal(await vm.ip('xfrm', 'policy'), '');
    await refused(/no daemon answers/, vm, 'status', '--state', file('vm'));
  });

  it('comes up again from its state alone, with the same address and no new admission', async () => {
    const listed = (state: string) => done(vm, 'status', '--state', file(state), '--json');
    await done(vm, 'up', '--state', file('vm'));
    const { ipv4 } = JSON.parse(await listed('vm'));
    await done(vm, 'down', '--state', file('vm'));
    await done(vm, 'up', '--state', file('vm'));
    assert.equal(JSON.parse(await listed('vm')).ipv4, ipv4);
    await done(vm, 'down', '--state', file('vm'));
    const log = await readFile(file('vm/log'), 'utf8');
    assert.equal(log.match(/ was-admitted /g)?.length, 1);
  });

  it('P23 tells a wrong secret, gets no credential, and shows no secret anywhere', async () => {
    const bootstrap = JSON.parse(await readFile(file('shop.json'), 'utf8'));
    const wrong = { ...bootstrap, secret: makeServiceSecret() };
    await writeFile(file('wrong.json'), JSON.stringify(wrong));
    const state = file('refused');
    const args = ['up', '--state', state, '--bootstrap', file('wrong.json')];
    await refused(/does not admit this VM: the secret is wrong/, vm, ...args);
    const typo = { ...bootstrap, secret: `${bootstrap.secret.slice(0, -1)}0` };
    await writeFile(file('typo.json'), JSON.stringify(typo));
    const typed = ['up', '--state', file('typo'), '--bootstrap', file('typo.json')];
    await refused(/mistyped.*copy the secret again/, vm, ...typed);
    assert.ok(!(await readdir(join(state, 'cache'))).includes('standing.entry'));
    assert.equal(await vm.ip('xfrm', 'policy'), '');
    const texts = await Promise.all(
      ['vm/log', 'refused/log'].map((name) => readFile(file(name), 'utf8')),
    );
    for (const secret of [bootstrap.secret, wrong.secret]) {
      assert.ok(!texts.join('').includes(secret));
    }
  });

  it('says what is wrong without root, without bootstrap data, with no super-peer there', async () => {
    const nobody = ['--reuid', '65534', '--clear-groups', '--bounding-set=-all'];
    const state = ['--state', file('nobody')];
    const { stderr } = await vm.exec('setpriv', [
      ...nobody,
      process.execPath,
      ICVPN,
      'up',
      ...state,
    ]);
    assert.match(stderr, /^icvpn: no permission for .*: run as root or as its owner\n$/);
    await refused(/knows no service.*--bootstrap/, vm, 'up', '--state', file('empty'));
    const bootstrap = JSON.parse(await readFile(file('shop.json'), 'utf8'));
    const [, id] = String(bootstrap.superPeers[0]).split('/p2p/');
    const away = { ...bootstrap, superPeers: [`/ip4/192.0.2.77/tcp/4242/p2p/${id}`] };
    await writeFile(file('away.json'), JSON.stringify(away));
    const wait = ['--wait', '3'];
    const args = ['up', '--state', file('away'), '--bootstrap', file('away.json'), ...wait];
    await refused(/no super-peer .* admits this VM .*could not be reached.*: check/, vm, ...args);
  });

  it('says whose the interface is when its name is taken', async () => {
    await vm.ip('link', 'add', 'taken0', 'type', 'dummy');
    await refused(/taken0.* is in use/, vm, ...up('taken', '--interface', 'taken0'));
  });
});

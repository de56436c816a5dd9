import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCli } from '../../../src/cli/program.ts';
import { ControlServer } from '../../../src/daemon/control.ts';
import type { MemberStatus } from '../../../src/daemon/status.ts';

/** What a daemon says of a member that lacks nothing. */
const WELL: MemberStatus = {
  role: 'member',
  service: { id: '12D3shop', name: 'shop' },
  ...{ peerId: '12D3vm1', vmid: 'vm1', ipv6: 'fd00::1', ipv4: '10.0.0.1', interface: 'icvpn0' },
  ...{ epoch: 3, credentialEnds: new Date(Date.now() + 3_600_000).toISOString() },
  ...{ revoked: false, superPeer: '12D3sp', waiting: null, duplicate: null, kernelProblem: null },
  ...{ packetsWait: true, rulesAbove: [], admittedBy: '12D3sp', policy: null, overlaps: [] },
  ...{ conflicts: [], subnetConflicts: [], members: [] },
};

describe('icvpn status', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-status-'));
  });
  after(() => rm(dir, { recursive: true }));

  /** @param answer of the daemon */
  async function status(answer: MemberStatus, ...args: string[]) {
    await using _ = await ControlServer.listen(dir, async () => answer);
    const told = { out: '', err: '' };
    const output = {
      out: (text: string): void => {
        told.out += text;
      },
      err: (text: string): void => {
        told.err += text;
      },
    };
    const signal = AbortSignal.timeout(50_000);
    const code = await runCli(['status', '--state', dir, ...args], { output, signal });
    return { ...told, code };
  }

  it('P34 exits with 0 and says nothing on standard error while the VM is a member', async () => {
    const { code, out, err } = await status(WELL);
    assert.deepEqual([code, err], [0, '']);
    assert.doesNotMatch(out, /REVOKED/);
  });

  it('P34 says that the VM was revoked, in its text, in JSON and by its exit code', async () => {
    const revoked = { ...WELL, revoked: true, superPeer: null };
    const text = await status(revoked);
    assert.equal(text.code, 4);
    assert.match(text.out, /^REVOKED: /m);
    assert.match(text.err, /^icvpn: this VM was revoked: .*owner/);
    const json = await status(revoked, '--json');
    assert.equal(json.code, 4);
    assert.equal(JSON.parse(json.out).revoked, true);
    assert.equal(JSON.parse(json.err).error.code, 'ERR_REVOKED');
  });

  it('P34 says that the credential has ended', async () => {
    const credentialEnds = '2026-01-01T00:00:00.000Z';
    const { code, out, err } = await status({ ...WELL, credentialEnds, superPeer: null });
    assert.equal(code, 1);
    assert.match(out, /credential ends 2026-01-01/);
    assert.match(
      err,
      /^icvpn: the credential of this VM ended at 2026-01-01T.*: check the network/,
    );
  });
});

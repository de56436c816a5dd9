import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ControlError,
  ControlServer,
  controlPath,
  controlRequest,
} from '../../../src/daemon/control.ts';
import { lockState } from '../../../src/daemon/state-lock.ts';
import { IcvpnError } from '../../../src/errors.ts';

const code = (expected: string) => (error: unknown) =>
  error instanceof ControlError && error.code === expected;

describe('control socket', () => {
  let dir: string;
  let signal: AbortSignal;
  beforeEach(async () => {
    signal = AbortSignal.timeout(30_000);
    dir = await mkdtemp(join(tmpdir(), 'icvpn-control-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('carries a command there and its result back, and only its owner may use it', async () => {
    await using _ = await ControlServer.listen(dir, async (command) => ({ got: command, n: 1 }));
    assert.deepEqual(await controlRequest(dir, 'status', { signal }), { got: 'status', n: 1 });
    assert.equal((await stat(controlPath(dir))).mode & 0o777, 0o600);
  });

  it('carries an error with its code and remedy', async () => {
    await using _ = await ControlServer.listen(dir, async () => {
      throw new IcvpnError('ERR_SOME', 'it failed', 'do this');
    });
    await assert.rejects(controlRequest(dir, 'x', { signal }), (error) => {
      return code('ERR_SOME')(error) && error instanceof ControlError && error.remedy === 'do this';
    });
  });

  it('says when no daemon is there', async () => {
    await assert.rejects(controlRequest(dir, 'x', { signal }), code('ERR_NOT_RUNNING'));
    await assert.rejects(controlRequest(join(dir, 'no'), 'x', { signal }), code('ERR_NOT_RUNNING'));
  });

  it('P34 says when another user may not ask the daemon that is there', async () => {
    await using _ = await ControlServer.listen(dir, async () => 1);
    const root = process.geteuid?.() === 0;
    await chmod(dir, root ? 0o700 : 0);
    try {
      if (root) process.seteuid?.(65_534);
      await assert.rejects(controlRequest(dir, 'status', { signal }), code('ERR_NO_PERMISSION'));
    } finally {
      if (root) process.seteuid?.(0);
      await chmod(dir, 0o700);
    }
  });

  it('takes the place of a killed daemon', async () => {
    const script = `require('net').createServer().listen(process.argv[1], () => console.log('up'))`;
    const other = spawn(process.execPath, ['-e', script, controlPath(dir)]);
    await once(other.stdout, 'data');
    other.kill('SIGKILL');
    await once(other, 'exit');
    await assert.rejects(controlRequest(dir, 'x', { signal }), code('ERR_NOT_RUNNING'));
    await using _ = await ControlServer.listen(dir, async () => 3);
    assert.equal(await controlRequest(dir, 'x', { signal }), 3);
  });

  it('P34 a command waits for the socket of a daemon that has just begun to start', async () => {
    await using _lock = await lockState(dir, 'icvpn up');
    const asked = controlRequest(dir, 'down', { signal });
    await using _ = await ControlServer.listen(dir, async (command) => command);
    assert.equal(await asked, 'down');
  });

  it('P24 cuts off who sends too much, and answers what is not a request with an error', async () => {
    await using _ = await ControlServer.listen(dir, async () => 1);
    const flood = connect(controlPath(dir));
    flood.on('error', () => {});
    flood.write('x'.repeat(10_000));
    await once(flood, 'close');
    const garbage = connect(controlPath(dir));
    garbage.setEncoding('utf8');
    garbage.write('{"cmd":1}\n');
    const [line] = await once(garbage, 'data');
    assert.match(String(line), /"code":"ERR_CONTROL"/);
    garbage.destroy();
  });
});

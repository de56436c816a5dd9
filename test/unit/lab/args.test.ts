import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { parseLabArgs } from '../../../lab/args.ts';

describe('lab arguments', () => {
  it('leaves everything after -- to the command', () => {
    assert.deepEqual(parseLabArgs(['--', 'mocha', '--cpus', '4', '--', '--help']), {
      command: ['mocha', '--cpus', '4', '--', '--help'],
      writable: [],
      memory: '2G',
      cpus: 1,
      timeLimitSeconds: undefined,
      consoleFile: undefined,
      boot: [],
    });
  });

  it('takes its own options before --', () => {
    const argv = ['--rw', 'out', '--rw=/var/a b', '--memory', '512M', '--cpus', '2'];
    const limits = ['--time-limit', '30', '--console', 'log'];
    const boot = ['--boot', 'quiet', '--boot', 'maxcpus=1'];
    assert.deepEqual(parseLabArgs([...argv, ...limits, ...boot, '--', 'true']), {
      command: ['true'],
      writable: [resolve('out'), '/var/a b'],
      memory: '512M',
      cpus: 2,
      timeLimitSeconds: 30,
      consoleFile: resolve('log'),
      boot: ['quiet', 'maxcpus=1'],
    });
  });

  it('gives way to --help, but not to that of the command', () => {
    assert.equal(parseLabArgs(['--help']), undefined);
    assert.notEqual(parseLabArgs(['--', 'true', '--help']), undefined);
  });

  for (const [argv, named] of [
    [['--cpu', '2', '--', 'true'], '--cpu'],
    [['-x', '--', 'true'], '-x'],
    [['true'], 'true'],
    [['--memory', '--', 'true'], '--memory'],
    [['--memory', '2GB', '--', 'true'], '2GB'],
    [['--memory', '0G', '--', 'true'], '0G'],
    [['--cpus', '0', '--', 'true'], '0'],
    [['--cpus', '9', '--', 'true'], '9'],
    [['--cpus', '1.5', '--', 'true'], '1.5'],
    [['--time-limit', '-1', '--', 'true'], '--time-limit'],
    [['--rw', 'a,b', '--', 'true'], 'a,b'],
    [['--boot', 'a b', '--', 'true'], 'a b'],
    [['--'], 'no command'],
    [[], 'no command'],
  ] as const) {
    it(`P22 refuses '${argv.join(' ')}' and names what is wrong`, () => {
      assert.throws(
        () => parseLabArgs(argv),
        (error: Error & { code?: string; exitCode?: number }) => {
          assert.equal(error.code, 'ERR_LAB_USAGE');
          assert.equal(error.exitCode, 2);
          assert.ok(error.message.includes(named), error.message);
          return true;
        },
      );
    });
  }
});

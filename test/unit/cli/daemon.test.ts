import assert from 'node:assert/strict';
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DaemonRun, runDaemon } from '../../../src/cli/daemon.ts';
import { controlPath, controlRequest } from '../../../src/daemon/control.ts';
import { lockState } from '../../../src/daemon/state-lock.ts';
import { IcvpnError } from '../../../src/errors.ts';

/** A node that closes three things, each of which may fail. */
class Node {
  readonly closed: string[] = [];
  readonly #failing: readonly string[];

  constructor(failing: readonly string[] = []) {
    this.#failing = failing;
  }

  status(): object {
    return { role: 'node' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await using owned = new AsyncDisposableStack();
    for (const each of ['first', 'second', 'third']) {
      owned.defer(() => {
        this.closed.push(each);
        if (this.#failing.includes(each)) throw new IcvpnError('ERR_X', `${each} fails`, 'mend it');
      });
    }
  }
}

describe('a daemon from start to end', () => {
  let dir: string;
  let signal: AbortSignal;
  beforeEach(async () => {
    signal = AbortSignal.timeout(30_000);
    dir = await mkdtemp(join(tmpdir(), 'icvpn-daemon-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  /** @returns when the node is up: what happens until it ends, and its log */
  async function up(node: Node, stop: AbortSignal, more: Partial<DaemonRun<Node>> = {}) {
    const log: string[] = [];
    const isUp = Promise.withResolvers<void>();
    const run = runDaemon({
      stateDir: dir,
      purpose: 'a test',
      log: (event) => void log.push(event),
      signal: stop,
      start: async () => node,
      onUp: () => isUp.resolve(),
      ...more,
    });
    const over = run.then(
      () => undefined,
      (error: unknown) => error,
    );
    await Promise.race([isUp.promise, run]);
    return { over, log };
  }

  it('P35 closes everything when a part of it fails to close, says so, and leaves nothing behind', async () => {
    const stop = new AbortController();
    const node = new Node(['third', 'first']);
    const { over } = await up(node, stop.signal);
    stop.abort();
    const error = await over;
    assert.ok(error instanceof IcvpnError);
    assert.equal(error.code, 'ERR_STOP');
    assert.match(error.message, /has stopped, but: third fails; first fails/);
    assert.equal(error.remedy, 'mend it');
    assert.deepEqual(node.closed, ['third', 'second', 'first']);
    await assert.rejects(access(controlPath(dir)), { code: 'ENOENT' });
    await using _ = await lockState(dir, 'the next');
  });

  it('P34 down is told that the daemon could not close everything', async () => {
    const { over } = await up(new Node(['second']), signal);
    await assert.rejects(controlRequest(dir, 'down', { signal }), { code: 'ERR_STOP' });
    assert.ok((await over) instanceof IcvpnError);
  });

  it('P35 is the only one on its state directory, however close to each other two start', async () => {
    const stop = new AbortController();
    let running = 0;
    const start = async (): Promise<Node> => {
      running++;
      return new Node();
    };
    const runs = [0, 1, 2].map(() => up(new Node(), stop.signal, { start }));
    const results = await Promise.allSettled(runs);
    const refused = results.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    assert.deepEqual(
      refused.map(({ code }) => code),
      ['ERR_ALREADY_RUNNING', 'ERR_ALREADY_RUNNING'],
    );
    assert.match(refused[0].message, new RegExp(`process ${process.pid}, a test`));
    assert.equal(running, 1);
    assert.deepEqual(await controlRequest(dir, 'status', { signal }), { role: 'node' });
    stop.abort();
    for (const each of results) {
      if (each.status === 'fulfilled') assert.equal(await each.value.over, undefined);
    }
  });

  it('P34 down before the daemon is up ends it', async () => {
    const begun = Promise.withResolvers<void>();
    const starting = up(new Node(), signal, {
      start: async (stop) => {
        begun.resolve();
        await new Promise((resolve) => stop.addEventListener('abort', resolve));
        stop.throwIfAborted();
        return new Node();
      },
    });
    await begun.promise;
    assert.deepEqual(await controlRequest(dir, 'down', { signal }), {});
    assert.equal(await (await starting).over, undefined);
  });

  it('goes on at SIGHUP, and says so', async () => {
    const stop = new AbortController();
    const { over, log } = await up(new Node(), stop.signal);
    const before = process.listenerCount('SIGHUP');
    process.emit('SIGHUP');
    assert.deepEqual(log, ['hangup-ignored']);
    assert.deepEqual(await controlRequest(dir, 'status', { signal }), { role: 'node' });
    stop.abort();
    assert.equal(await over, undefined);
    assert.equal(process.listenerCount('SIGHUP'), before - 1);
  });
});

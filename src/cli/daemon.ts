/**
 * Runs a daemon in the foreground from start to end.
 *
 * ```
 *  state directory locked
 *  control socket open                     teardown done, or failed: everything has been tried
 *  starting ──────────▶ up ──▶ stopping ──────────────────▶ socket closed, lock given back, exit
 *     └── SIGINT, SIGTERM, `icvpn down` at any time ──▲
 * ```
 */

import type { Ed25519PeerId } from '@libp2p/interface';
import { type ControlHandler, ControlServer } from '../daemon/control.ts';
import type { Log } from '../daemon/log.ts';
import { lockState } from '../daemon/state-lock.ts';
import { IcvpnError } from '../errors.ts';
import { onListenerFailure } from '../events.ts';
import type { DirectoryLock } from '../files/lock.ts';
import { parsePeerId } from '../records/peer-id.ts';
import { reportStart } from './detach.ts';

/** Argument of the command `down`. */
export const KEEP_GUARD = 'keep-guard';

/** A node that runs until it is disposed of. */
export interface Daemon extends AsyncDisposable {
  status(): unknown | Promise<unknown>;
  /** The members of its service; absent in a node that is in none. */
  members?(): unknown;
  /** The policy that it applies, undefined when it knows none; absent in a node that applies none. */
  policy?(): unknown;
  /** It will not come back; absent in a node that leaves nothing behind. */
  leave?(options: { readonly keepGuard: boolean }): void;
  /** What it has left behind in the end. */
  left?(): unknown;
  /** Throws a member out; only super-peers can. */
  revoke?(member: Ed25519PeerId): Promise<unknown>;
}

export interface DaemonRun<D extends Daemon> {
  readonly stateDir: string;
  /** What runs, for those that find the state directory taken: `icvpn up`. */
  readonly purpose: string;
  readonly log: Log;
  /** Starts the node; what it made before an abort or error it cleans up itself. */
  readonly start: (signal: AbortSignal, lock: DirectoryLock) => Promise<D>;
  /** What the start waits for; undefined while it does not wait. */
  readonly waitsFor?: () => string | undefined;
  /** Told once, when the node is up. */
  readonly onUp: (daemon: D) => void | Promise<void>;
  readonly signal: AbortSignal;
}

/** @throws what the start failed with, or `ERR_STOP` when not everything could be closed in the end */
export async function runDaemon<D extends Daemon>(run: DaemonRun<D>): Promise<void> {
  await using owned = new AsyncDisposableStack();
  const lock = owned.use(await lockState(run.stateDir, run.purpose));
  owned.defer(
    onListenerFailure(({ event, error }) =>
      run.log('listener-failed', { event, why: String(error) }),
    ),
  );
  const down = new AbortController();
  const stop = AbortSignal.any([run.signal, down.signal]);
  const ended = Promise.withResolvers<void>();
  ended.promise.catch(() => undefined); // told to who asked, if anybody did
  let daemon: D | undefined;
  // A terminal that closes, or a service manager that asks for a reload, must not end a daemon.
  const onHangup = (): void => run.log('hangup-ignored');
  process.on('SIGHUP', onHangup);
  owned.defer(() => void process.off('SIGHUP', onHangup));
  const handler: ControlHandler = async (command, argument) => {
    switch (command) {
      case 'status':
        return daemon ? daemon.status() : { role: 'starting', waiting: run.waitsFor?.() ?? null };
      case 'members':
        return membersOf(daemon);
      case 'policy':
        return policyOf(daemon);
      case 'revoke':
        if (daemon?.revoke !== undefined) return daemon.revoke(parsePeerId(argument));
        throw new IcvpnError(
          'ERR_NOT_SUPER_PEER',
          'this is no super-peer',
          "give a super-peer's --state, or the owner's --dir",
        );
      case 'down':
        daemon?.leave?.({ keepGuard: argument === KEEP_GUARD });
        down.abort();
        await ended.promise;
        return daemon?.left?.() ?? {};
      default:
        throw new IcvpnError('ERR_CONTROL', `unknown command "${command}"`, 'update icvpn');
    }
  };
  owned.use(await ControlServer.listen(run.stateDir, handler));
  try {
    daemon = await run.start(stop, lock);
    await run.onUp(daemon);
    reportStart({ ready: await daemon.status() });
    await aborted(stop);
  } catch (error) {
    // Being told to stop while starting is not a failure.
    if (!stop.aborted) throw error;
  } finally {
    try {
      await daemon?.[Symbol.asyncDispose]();
      ended.resolve();
    } catch (cause) {
      const failure = stopFailure(cause);
      ended.reject(failure);
      // biome-ignore lint/correctness/noUnsafeFinally: the daemon was up, so there is no other error
      throw failure;
    }
  }
}

/** A disposal goes on when one part fails, and then tells all failures, one in the other. */
function stopFailure(cause: unknown): IcvpnError {
  const failures = flatten(cause);
  const messages = failures.map((each) => (each instanceof Error ? each.message : String(each)));
  const known = failures.find((each) => each instanceof IcvpnError);
  return new IcvpnError(
    'ERR_STOP',
    `the daemon has stopped, but: ${messages.join('; ')}`,
    known?.remedy ?? 'see its log',
    { cause },
  );
}

const flatten = (error: unknown): unknown[] =>
  error instanceof SuppressedError
    ? [...flatten(error.suppressed), ...flatten(error.error)]
    : [error];

function policyOf(daemon: Daemon | undefined): unknown {
  if (daemon?.policy) return daemon.policy() ?? null;
  throw new IcvpnError(
    'ERR_NO_POLICY',
    daemon ? 'a super-peer applies no policy' : 'the daemon is starting',
    daemon ? 'ask at a VM that is a member of the service' : 'try again in a few seconds',
  );
}

function membersOf(daemon: Daemon | undefined): unknown {
  if (daemon?.members) return daemon.members();
  throw new IcvpnError(
    'ERR_NO_MEMBERS',
    daemon ? 'a super-peer shows no members' : 'the daemon is starting',
    daemon ? 'ask at a VM that is a member of the service' : 'try again in a few seconds',
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
    // A daemon with nothing to do right now must not end for want of something to wait for.
    const alive = setInterval(() => {}, 2 ** 30);
    signal.addEventListener('abort', () => clearInterval(alive), { once: true });
  });
}

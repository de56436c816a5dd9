/**
 * Runs a daemon in the foreground from start to end.
 *
 * ```
 *            control socket open                      teardown done
 *  starting ────────────────────▶ up ──▶ stopping ─────────────────▶ socket closed, exit
 *     └── SIGINT, SIGTERM, `icvpn down` at any time ──▲
 * ```
 */

import type { Ed25519PeerId } from '@libp2p/interface';
import { ControlServer } from '../daemon/control.ts';
import { IcvpnError } from '../errors.ts';
import { parsePeerId } from '../records/peer-id.ts';
import { reportStart } from './detach.ts';

/** A node that runs until it is disposed of. */
export interface Daemon extends AsyncDisposable {
  status(): unknown | Promise<unknown>;
  /** The members of its service; absent in a node that is in none. */
  members?(): unknown;
  /** The policy that it applies, undefined when it knows none; absent in a node that applies none. */
  policy?(): unknown;
  /** Throws a member out; only super-peers can. */
  revoke?(member: Ed25519PeerId): Promise<unknown>;
}

export interface DaemonRun<D extends Daemon> {
  readonly stateDir: string;
  /** Starts the node; what it made before an abort or error it cleans up itself. */
  readonly start: (signal: AbortSignal) => Promise<D>;
  /** Told once, when the node is up. */
  readonly onUp: (daemon: D) => void | Promise<void>;
  readonly signal: AbortSignal;
}

export async function runDaemon<D extends Daemon>(run: DaemonRun<D>): Promise<void> {
  const down = new AbortController();
  const stop = AbortSignal.any([run.signal, down.signal]);
  const ended = Promise.withResolvers<void>();
  let daemon: D | undefined;
  const control = await ControlServer.listen(run.stateDir, async (command, argument) => {
    switch (command) {
      case 'status':
        return daemon ? daemon.status() : { role: 'starting' };
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
        down.abort();
        await ended.promise;
        return {};
      default:
        throw new IcvpnError('ERR_CONTROL', `unknown command "${command}"`, 'update icvpn');
    }
  });
  try {
    daemon = await run.start(stop);
    await run.onUp(daemon);
    reportStart({ ready: await daemon.status() });
    await aborted(stop);
  } catch (error) {
    // Being told to stop while starting is not a failure.
    if (!stop.aborted) throw error;
  } finally {
    await daemon?.[Symbol.asyncDispose]();
    ended.resolve();
    await control[Symbol.asyncDispose]();
  }
}

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

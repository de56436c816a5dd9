/** One node at a time on a state directory: a second one would be the same PeerID, and use the same tickets. */
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { IcvpnError } from '../errors.ts';
import { makeDirectory } from '../files/atomic.ts';
import { DirectoryLock, LOCK_FILE, LockError } from '../files/lock.ts';

/** Milliseconds: longer than others hold it to see whether it is free. */
const WAIT_MS = 1_000;

/**
 * @param stateDir made, with mode 0700, when it is not there
 * @param purpose what runs, for those that find it taken
 * @throws IcvpnError `ERR_ALREADY_RUNNING` with the process that has it
 */
export async function lockState(stateDir: string, purpose: string): Promise<DirectoryLock> {
  await makeDirectory(stateDir);
  try {
    return await DirectoryLock.take(stateDir, { purpose, waitMs: WAIT_MS });
  } catch (cause) {
    if (!(cause instanceof LockError) || cause.code !== 'ERR_LOCKED') throw cause;
    throw new IcvpnError(
      'ERR_ALREADY_RUNNING',
      `a daemon is running with the state directory ${stateDir}: ${cause.message}`,
      `stop it first (icvpn down --state ${stateDir}) or give another --state`,
      { cause },
    );
  }
}

/** Whether a node has the directory, one that starts or ends included. */
export async function isStateLocked(stateDir: string): Promise<boolean> {
  try {
    // Not to make one where no node ever was.
    await access(join(stateDir, LOCK_FILE));
    await using _ = await DirectoryLock.take(stateDir, { purpose: 'icvpn', waitMs: 0 });
    return false;
  } catch (error) {
    return error instanceof LockError && error.code === 'ERR_LOCKED';
  }
}

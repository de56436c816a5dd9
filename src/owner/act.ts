/**
 * One act of the owner: alone on the directory, after a look at what is published, all of it or nothing.
 *
 * ```
 * lock ─▶ read ─▶ ask super-peers ─▶ review ─▶ change, sign ─▶ commit ─▶ unlock
 * ```
 *
 * Publishing comes afterwards and is no part of it: what is committed goes on to super-peers until all have it.
 */
import { type OutsideFile, OwnerDirectory } from './directory.ts';
import { NOTHING_PUBLISHED, type Published, type Review, review } from './review.ts';
import type { OwnerState } from './state.ts';

/**
 * Asks super-peers what they hold. Left out, an act knows its directory alone, which may be an old copy.
 *
 * @throws OwnerError `ERR_OWNER_UNREACHABLE` when none answers
 */
export type AskPublished = (state: OwnerState, signal?: AbortSignal) => Promise<Published>;

export interface ActOptions {
  /** The owner's directory. */
  readonly dir: string;
  readonly ask?: AskPublished | undefined;
  readonly signal?: AbortSignal;
}

export interface Change<T> {
  readonly state: OwnerState;
  readonly result: T;
  /** Bootstrap data to be written with it. */
  readonly file?: OutsideFile | undefined;
}

/**
 * @param purpose told to others that wait: `icvpn revoke`
 * @throws what `change` throws, OwnerError, FileError, LockError; nothing has changed then
 */
export async function act<T>(
  purpose: string,
  { dir, ask, signal }: ActOptions,
  change: (view: Review) => Promise<Change<T>> | Change<T>,
): Promise<T> {
  await using directory = await OwnerDirectory.open(dir, { purpose, ...(signal && { signal }) });
  const published = (await ask?.(directory.state, signal)) ?? NOTHING_PUBLISHED;
  const { state, result, file } = await change(review(directory.state, published));
  signal?.throwIfAborted();
  if (state !== directory.state || file !== undefined) await directory.commit(state, file);
  return result;
}

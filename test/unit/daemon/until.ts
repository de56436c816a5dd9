import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';

/** Looks every 2 ms until it holds. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  limitMs = 30_000,
): Promise<void> {
  const limit = AbortSignal.timeout(limitMs);
  while (!(await holds())) {
    assert.ok(!limit.aborted, `never: ${what}`);
    await delay(2);
  }
}

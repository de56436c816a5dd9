/**
 * ```
 *   named ─── b, c      tier 1: named by the operator's descriptor; admitted by it, by SRP
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SuperPeer } from '../../../src/index.ts';
import { until } from './until.ts';
import { type Arranged, arrange } from './world.ts';

describe('super-peers of tier 1', () => {
  let owned: AsyncDisposableStack;
  let arranged: Arranged;
  let dir: string;

  before(async () => {
    owned = new AsyncDisposableStack();
    dir = await mkdtemp(join(tmpdir(), 'icvpn-tier1-'));
    owned.defer(() => rm(dir, { recursive: true }));
    arranged = await arrange(dir, 1, AbortSignal.timeout(20_000));
  });
  after(() => owned.disposeAsync());

  function start(stateDir: string, listen: string): Promise<SuperPeer> {
    const signal = AbortSignal.timeout(30_000);
    const { overlay } = arranged;
    const common = { overlay, announce: [], allowedServices: [], log: () => {}, signal };
    return SuperPeer.start({ ...common, stateDir, listen: [listen] });
  }

  /** What it is connected to in tier 1, once that is so. */
  async function connected(node: SuperPeer, ...others: SuperPeer[]): Promise<void> {
    const wanted = others.map((each) => each.status().peerId).toSorted();
    await until('the right ones are connected', () => {
      return node.status().superPeers.toSorted().join() === wanted.join();
    });
  }

  it('P12 those that were admitted find each other, and stay together without the one that admitted them', async () => {
    const [place] = arranged.places;
    assert.ok(place);
    const named = owned.use(await start(place.stateDir, place.listen));
    const anywhere = '/ip4/127.0.0.1/tcp/0';
    const b = owned.use(await start(join(dir, 'b'), anywhere));
    const c = await start(join(dir, 'c'), anywhere);
    await connected(b, named, c);
    await connected(c, named, b);
    await named[Symbol.asyncDispose]();
    await connected(b, c);
    await connected(c, b);

    // It comes back, and they to it; one that leaves is gone.
    const again = owned.use(await start(place.stateDir, place.listen));
    await connected(again, b, c);
    await c[Symbol.asyncDispose]();
    await connected(again, b);
    await connected(b, again);
  });
});

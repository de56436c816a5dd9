/** A ticket that the owner takes back, at a super-peer with its store, also after a restart. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Bootstrap,
  createTicket,
  deliver,
  OwnerLink,
  revokeTickets,
  SuperPeer,
} from '../../../src/index.ts';
import { readOwner } from '../../../src/owner/directory.ts';
import { type Arranged, admit, arrange, hostFrom } from './world.ts';

describe('a ticket that was taken back', () => {
  let owned: AsyncDisposableStack;
  beforeEach(() => {
    owned = new AsyncDisposableStack();
  });
  afterEach(() => owned.disposeAsync());

  it('P33 admits nobody, neither at once nor after the super-peer’s restart', async () => {
    const signal = AbortSignal.timeout(50_000);
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-ticket-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const { places, overlay, service }: Arranged = await arrange(dir, 1, signal);
    const [place] = places;
    assert.ok(place);
    const shop = join(dir, 'shop');
    const allowedServices = [service.bootstrap.serviceId];
    const start = (): Promise<SuperPeer> =>
      SuperPeer.start({
        ...{ stateDir: place.stateDir, listen: [place.listen], announce: [], allowedServices },
        ...{ overlay, log: () => {}, signal },
      });
    const link = owned.use(await OwnerLink.open((await readOwner(shop)).key));
    const publish = async (): Promise<void> => {
      const { whole, all } = await deliver({ dir: shop, link, waitMs: 0, signal });
      assert.ok(whole, JSON.stringify(all));
    };
    const use = async ({ bootstrap }: { bootstrap: Bootstrap }, from: string): Promise<void> => {
      const vm = await hostFrom(from);
      try {
        const [at] = bootstrap.superPeers;
        assert.ok(at);
        await admit(vm, at, bootstrap);
      } finally {
        await vm.close();
      }
    };
    const make = () => createTicket({ dir: shop, validFor: 3600, roles: ['web'] });
    const [used, taken, kept] = [await make(), await make(), await make()];

    const first = await start();
    await publish();
    await use(used, '127.0.0.1');
    await revokeTickets({ dir: shop, ids: [used.id, taken.id], ask: (state) => link.ask(state) });
    await publish();
    await assert.rejects(use(used, '127.0.0.1'), { message: /the ticket was taken back/ });
    await assert.rejects(use(taken, '127.0.0.2'), { message: /the ticket was taken back/ });
    await first[Symbol.asyncDispose]();

    owned.use(await start());
    await assert.rejects(use(used, '127.0.0.1'), { message: /the ticket was taken back/ });
    await assert.rejects(use(taken, '127.0.0.2'), { message: /the ticket was taken back/ });
    await use(kept, '127.0.0.3');
  });
});

import assert from 'node:assert/strict';
import { connect, createNetns, type Netns } from '../netns.ts';

/**
 *     bridges br0 … br9, made first, as container engines have them
 *     host ── 10.0.2.15 ──▶ default route          a NAT that is the same at every host
 *          ── 192.168.7.10 ──▶ 192.168.0.0/16      super-peers
 */
describe('the addresses that a host with ten bridges tells', function () {
  this.timeout(120_000);
  const owned = new AsyncDisposableStack();
  let host: Netns;
  before(async () => {
    const [made, nat, router] = [
      owned.use(await createNetns('host')),
      owned.use(await createNetns('nat')),
      owned.use(await createNetns('router')),
    ];
    host = made;
    for (let i = 0; i < 10; i++) {
      await host.ip('link', 'add', `br${i}`, 'type', 'bridge');
      await host.ip('address', 'add', `172.${17 + i}.0.1/16`, 'dev', `br${i}`);
      await host.ip('link', 'set', `br${i}`, 'up');
    }
    await connect(host, nat, { addressesA: ['10.0.2.15/24'], addressesB: ['10.0.2.2/24'] });
    await connect(host, router, {
      addressesA: ['192.168.7.10/24'],
      addressesB: ['192.168.7.1/24'],
    });
    await host.ip('route', 'add', 'default', 'via', '10.0.2.2');
    await host.ip('route', 'add', '192.168.0.0/16', 'via', '192.168.7.1');
  });
  after(() => owned.disposeAsync());

  async function told(...superPeers: string[]): Promise<unknown> {
    await using child = host.node(new URL('./told-child.ts', import.meta.url), superPeers);
    return await child.receive(60_000);
  }

  it('P27 begin with the one that super-peers are reached from, and have none of a bridge', async () => {
    const [first, second] = ['/ip4/192.168.7.10/tcp/4242', '/ip4/10.0.2.15/tcp/4242'];
    assert.deepEqual(await told('192.168.1.10'), [first, second]);
    assert.deepEqual(await told('198.51.100.4'), [second, first]);
  });

  it('P27 have that of a bridge over which the way to super-peers leads', async () => {
    const all = await told('172.20.0.9');
    assert.ok(Array.isArray(all));
    assert.equal(all[0], '/ip4/172.20.0.1/tcp/4242');
    assert.equal(all.length, 3);
  });
});

import assert from 'node:assert/strict';
import { Sources } from '../../../src/daemon/sources.ts';

/** Routes of a machine: from which own address it sends to a remote. */
function machine(routes: Record<string, string>) {
  const sources = new Sources(async (remote) => routes[remote]);
  return { routes, sources };
}

describe('sources towards remotes', () => {
  it('P20 a tunnel that takes over the default route changes the way to all, though no address went', async () => {
    const { routes, sources } = machine({ a: '192.0.2.1', b: '192.0.2.1' });
    await sources.add('a');
    await sources.add('b');
    assert.deepEqual(await sources.look(['a', 'b']), []);
    for (const remote of ['a', 'b']) routes[remote] = '10.66.0.2';
    assert.deepEqual(await sources.look(['a', 'b']), ['a', 'b']);
    assert.deepEqual(await sources.look(['a', 'b']), [], 'that is known now');
    routes['b'] = '192.0.2.1';
    assert.deepEqual(await sources.look(['a', 'b']), ['b']);
  });

  it('P20 a way that is lost and comes back by another address has changed; a new remote has not', async () => {
    const { routes, sources } = machine({ a: '192.0.2.1' });
    await sources.add('a');
    delete routes['a'];
    assert.deepEqual(await sources.look(['a', 'b']), ['a']);
    routes['a'] = '192.0.2.7';
    assert.deepEqual(await sources.look(['a', 'b']), ['a']);
  });

  it('remotes without a connection are forgotten', async () => {
    const { routes, sources } = machine({ a: '192.0.2.1' });
    await sources.add('a');
    assert.deepEqual(await sources.look([]), []);
    routes['a'] = '192.0.2.7';
    assert.deepEqual(await sources.look(['a']), []);
  });
});

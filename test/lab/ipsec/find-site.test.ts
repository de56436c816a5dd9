import assert from 'node:assert/strict';
import { findSite } from '../../../src/ipsec/dataplane/find-site.ts';
import { connect, createNetns } from '../netns.ts';
import { inside } from './inside.ts';

describe('the interfaces that subnets are behind', () => {
  it('are those that routes lead to, or those that are named where routes contradict each other', async () => {
    await using g = await createNetns('g');
    await using h1 = await createNetns('h1');
    await using h2 = await createNetns('h2');
    await connect(g, h1, { addressesA: ['10.20.0.1/16', 'fd20::1/64', '10.40.0.1/24'] });
    await connect(g, h2, { addressesA: ['10.21.0.1/16', '10.40.0.2/24'] });
    await g.ip('route', 'add', 'default', 'via', '10.21.0.9');
    await g.ip('route', 'add', '10.30.4.0/24', 'via', '10.20.0.9');
    const find = (subnets: string[], interfaces: string[] = []) =>
      inside(g, () => findSite({ subnets, interfaces })).then((site) => site.interfaces);
    assert.deepEqual(await find([]), []);
    assert.deepEqual(await find(['10.20.0.0/16', 'fd20::/64']), ['to-h1']);
    assert.deepEqual(await find(['10.20.5.0/24']), ['to-h1'], 'a part of a network');
    assert.deepEqual(await find(['10.30.0.0/16']), ['to-h1'], 'behind a router');
    assert.deepEqual(await find(['10.20.0.0/15']), ['to-h1', 'to-h2']);
    await assert.rejects(find(['10.50.0.0/16']), { code: 'ERR_SUBNET_NOT_HERE' });
    await assert.rejects(find(['10.40.0.0/24']), { code: 'ERR_SUBNET_AMBIGUOUS' });
    assert.deepEqual(await find(['10.40.0.0/24'], ['to-h2']), ['to-h2']);
  });
});

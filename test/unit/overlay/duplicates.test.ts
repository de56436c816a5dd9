import assert from 'node:assert/strict';
import { once } from 'node:events';
import { multiaddr } from '@multiformats/multiaddr';
import { Duplicates } from '../../../src/overlay/duplicates.ts';
import {
  Cleanup,
  credentialFor,
  identity,
  listen,
  MemberNode,
  SuperPeer,
  trustIn,
} from './harness.ts';

describe('one node key at two places', () => {
  let now: number;
  let duplicates: Duplicates;
  beforeEach(() => {
    now = 0;
    duplicates = new Duplicates(() => now);
  });

  it('P34 shows when two machines attach in turns', () => {
    const places = ['x', 'y', 'x', 'y'];
    const seen = places.map((place) => {
      now += 5_000;
      return duplicates.attached('node', place);
    });
    assert.deepEqual(seen, [undefined, undefined, undefined, 'x']);
    assert.equal(duplicates.attached('node', 'x'), 'y');
    assert.equal(duplicates.attached('other', 'x'), undefined);
  });

  it('is not taken from a node that moves, restarts, or comes back from time to time', () => {
    for (const place of ['home', 'road', 'road', 'work', 'road', 'home']) {
      now += 1_000;
      assert.equal(duplicates.attached('roaming', place), undefined);
    }
    for (let i = 0; i < 20; i++) {
      now += 30_000;
      assert.equal(duplicates.attached('commuting', i % 2 === 0 ? 'home' : 'work'), undefined);
    }
    for (let i = 0; i < 20; i++) {
      now += 100;
      assert.equal(duplicates.attached('restarting', 'home'), undefined);
    }
  });

  it('P34 shows when a node is heard here again and again while its newest attachment is elsewhere', () => {
    duplicates.attached('node', 'x');
    assert.ok(!duplicates.heard('node', true));
    assert.ok(!duplicates.heard('node', false), 'news of it were late');
    for (const wanted of [false, false, true, true]) {
      assert.equal(duplicates.heard('node', true), wanted);
    }
    duplicates.attached('node', 'x');
    assert.ok(!duplicates.heard('node', true), 'it attached anew');
  });

  it('P5 remembers no node that has left long ago', () => {
    for (const place of ['x', 'y', 'x']) duplicates.attached('node', place);
    duplicates.left('node');
    now += 61_000;
    duplicates.attached('other', 'z');
    duplicates.left('other');
    assert.equal(duplicates.attached('node', 'y'), undefined);
    for (const place of ['x', 'y']) assert.equal(duplicates.attached('node', place), undefined);
  });
});

describe('two machines with one node key', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('P34 are both told by their super-peer, over libp2p', async () => {
    const [overlay, service, superPeer, vm] = await Promise.all(
      Array.from({ length: 4 }, () => identity()),
    );
    assert.ok(overlay && service && superPeer && vm);
    const trust = () => trustIn([superPeer.id]);
    const host = await listen(superPeer.key);
    const node = cleanup.add(
      new SuperPeer(host, superPeer.key, overlay.id, trust, service.id, trust),
    );
    await node.start();
    const credential = await credentialFor(service.id, superPeer.key, vm.id);
    const superPeers = () => [host.multiaddrs().map((each) => multiaddr(each))];
    const told = [];
    for (let i = 0; i < 2; i++) {
      const machine = cleanup.add(
        new MemberNode(await listen(vm.key), vm.key, service.id, credential, trust, superPeers),
      );
      await machine.start();
      told.push(once(machine.directory, 'duplicate'));
      await machine.directory.attach();
    }
    const [first, second] = (await Promise.all(told)).map(([place]) => String(place));
    assert.ok(first !== undefined && second !== undefined);
    assert.match(first, /^127\.0\.0\.1 \(\/ip4\//);
    assert.notEqual(first, second, 'each is told where the other is');
    assert.ok(node.membership.member(vm.id), 'and the node is still a member');
  });
});

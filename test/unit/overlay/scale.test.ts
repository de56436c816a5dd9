/**
 * What one member that comes costs, counted and not timed, at n members and at twice as many:
 *
 * ```
 *   SP1 ───── SP2      real hosts on loopback, gates and directories
 *   ││││      ││││
 *   members
 * ```
 */
import assert from 'node:assert/strict';
import type { Multiaddr } from '@multiformats/multiaddr';
import { DirectoryClient } from '../../../src/overlay/directory-client.ts';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { CountingSeal, countingKey } from './counting.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  descriptorOf,
  type Identity,
  identities,
  identity,
  listen,
  nth,
  SuperPeer,
  trustIn,
  until,
} from './harness.ts';

interface Counted {
  readonly directory: DirectoryClient;
  readonly seal: CountingSeal;
}

interface Cost {
  /** Of both super-peers. */
  readonly signatures: number;
  /** The most that a member which was there already got. */
  readonly updates: number;
  readonly bytes: number;
}

const N = 8;

describe('many members', () => {
  const cleanup = new Cleanup();
  after(() => cleanup.run());
  let keys: Identity[];
  let service: Identity;
  const supers: SuperPeer[] = [];
  const members: Counted[] = [];
  let signatures = 0;
  const trust = (): Trust => trustIn(keys.map(({ id }) => id));
  const costs: Cost[] = [];

  before(async () => {
    const overlay = await identity();
    service = await identity();
    keys = await identities(2);
    for (const { key } of keys) {
      const counting = countingKey(key, () => signatures++);
      const host = await listen(key);
      const node = new SuperPeer(host, counting, overlay.id, trust, service.id, trust);
      supers.push(cleanup.add(node));
      await node.start();
    }
    const [one, two] = supers.map(({ host }) => host);
    assert.ok(one && two);
    await nth(supers, 1).tier1.dht.join([addresses(one)]);
    const descriptor = descriptorOf(service.id, [one, two]);
    for (const { tier1 } of supers) {
      await tier1.records.put(DESCRIPTOR_RECORD, descriptor, service.key);
    }
  });

  async function join(): Promise<void> {
    const { key, id } = await identity();
    const host = cleanup.add(await listen(key));
    const first = members.length % 2;
    const credential = await credentialFor(service.id, nth(keys, first).key, id);
    const shown = () => credential.bytes;
    const gate = new Gate(host, { overlayId: service.id, credential: shown, trust });
    await gate.start();
    cleanup.add(gate);
    const seal = new CountingSeal();
    const order = (): Multiaddr[][] =>
      [first, 1 - first].map((i) => addresses(nth(supers, i).host));
    const multiaddrs = () => host.multiaddrs();
    const options = { gate, superPeers: order, multiaddrs, trust, seal };
    const directory = cleanup.add(new DirectoryClient(options));
    members.push({ directory, seal });
    await directory.attach();
  }

  async function settled(): Promise<void> {
    for (const { directory } of members) {
      await until(directory, 'change', () => directory.members().length === members.length);
    }
  }

  function reset(): void {
    signatures = 0;
    for (const { seal } of members) seal.reset();
  }

  async function grow(to: number): Promise<void> {
    while (members.length < to - 1) await join();
    await settled();
    reset();
    const before = [...members];
    await join();
    await settled();
    costs.push({
      signatures,
      updates: Math.max(...before.map(({ seal }) => seal.updates)),
      bytes: Math.max(...before.map(({ seal }) => seal.bytes)),
    });
  }

  it('what a join costs each member and in signatures does not grow with their number', async () => {
    await grow(N);
    await grow(2 * N);
    const [small, large] = costs;
    assert.ok(small && large);
    // One for the shard, one for the newcomer's list, one of each super-peer for all its members; the
    // shard may be written twice.
    assert.ok(small.signatures >= 3 && large.signatures >= 3, JSON.stringify(costs));
    assert.ok(small.signatures <= 6 && large.signatures <= 6, JSON.stringify(costs));
    assert.ok(small.updates <= 2 && large.updates <= 2, JSON.stringify(costs));
    assert.ok(large.bytes <= small.bytes + 700, JSON.stringify(costs));
  });

  it('a member that attaches anew is told what it does not know, and nobody is told of it', async () => {
    reset();
    const [one] = members;
    assert.ok(one);
    const { directory } = one;
    const again = new Promise((resolve) => directory.once('attached', resolve));
    directory.reattach();
    await again;
    assert.ok(directory.superPeer?.equals(nth(supers, 0).host.peerId), 'where it was');
    assert.equal(directory.members().length, 2 * N);
    assert.ok(one.seal.bytes < 700, `${one.seal.bytes} bytes for ${2 * N} members that were known`);
    assert.equal(
      members.reduce((sum, { seal }) => sum + seal.updates, 0),
      1,
    );
  });

  it('members that fail over cost a small answer each', async () => {
    reset();
    const crashed = nth(supers, 0).host.peerId;
    await nth(supers, 0).close();
    for (const { directory } of members) {
      await until(directory, 'attached', () => {
        const at = directory.superPeer;
        return at !== undefined && !at.equals(crashed);
      });
    }
    const moved = members.filter(({ seal }) => seal.updates > 0);
    assert.equal(moved.length, N);
    for (const { seal, directory } of moved) {
      assert.ok(seal.bytes < 700, `${seal.bytes} bytes`);
      assert.equal(directory.members().length, 2 * N);
    }
  });
});

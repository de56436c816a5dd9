import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { Connection } from '@libp2p/interface';
import type { Gate } from '../../../src/overlay/gate.ts';
import { createHost, type Host } from '../../../src/overlay/host.ts';
import { Surplus } from '../../../src/overlay/surplus.ts';
import {
  addresses,
  Cleanup,
  type Identity,
  identity,
  LOOPBACK,
  listen,
  memberGate,
  nth,
} from './harness.ts';

const LIMITS = { high: 3, low: 1, idle: 1_000 };

describe('idle connections', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  describe('of which there are many', () => {
    let connections: Connection[];
    let surplus: Surplus;
    const open = () => connections.map(({ status }) => status === 'open');

    /** One host that is connected to so many others, each used a millisecond after the one before. */
    async function connect(count: number): Promise<void> {
      const host = cleanup.add(await listen((await identity()).key));
      connections = [];
      surplus = new Surplus(() => connections.filter(({ status }) => status === 'open'), LIMITS);
      for (let n = 0; n < count; n++) {
        const other = cleanup.add(await listen((await identity()).key));
        await other.libp2p.handle('/test/open', () => {});
        const connection = await host.libp2p.dial(addresses(other));
        surplus.used(connection, n);
        connections.push(connection);
      }
    }

    it('are closed, the longest idle first, until few are left', async () => {
      await connect(5);
      await surplus.look(LIMITS.idle + 10);
      assert.deepEqual(open(), [false, false, false, false, true]);
    });

    it('stay while there are no more than the limit', async () => {
      await connect(3);
      await surplus.look(LIMITS.idle + 10);
      assert.deepEqual(open(), [true, true, true]);
    });

    it('stay until their time without a stream is over', async () => {
      await connect(4);
      await surplus.look(LIMITS.idle + 2); // the last one was used at 3
      assert.deepEqual(open(), [true, true, true, true]);
      await surplus.look(LIMITS.idle + 3);
      assert.deepEqual(open(), [false, false, false, true]);
    });

    it('are not those with a stream, nor those that somebody keeps', async () => {
      await connect(6);
      const [inUse, kept] = [nth(connections, 0), nth(connections, 1)];
      await inUse.newStream('/test/open');
      const forget = surplus.except((each) => each === kept);
      await surplus.look(LIMITS.idle + 10);
      assert.deepEqual(open(), [true, true, false, false, false, true]);
      forget();
      await surplus.look(LIMITS.idle + 20);
      assert.deepEqual(open(), [true, true, false, false, false, true], 'two are not too many');
    });

    it('count from when they are first seen', async () => {
      await connect(0);
      const host = cleanup.add(await listen((await identity()).key));
      for (let n = 0; n < 4; n++) {
        const other = cleanup.add(await listen((await identity()).key));
        connections.push(await host.libp2p.dial(addresses(other)));
      }
      await surplus.look(5 * LIMITS.idle);
      await surplus.look(6 * LIMITS.idle - 1);
      assert.deepEqual(open(), [true, true, true, true]);
      await surplus.look(6 * LIMITS.idle);
      assert.equal(open().filter((each) => each).length, 1);
    });
  });

  it('close by themselves behind a gate, and open again when they are needed', async () => {
    const [service, admitter] = [await identity(), await identity()];
    const gateOf = async (host: Host): Promise<Gate> =>
      cleanup.add((await memberGate(host, service.id, admitter)).gate);
    const { key } = await identity();
    const surplus = { high: 1, low: 0, idle: 1_000 };
    const host = cleanup.add(await createHost({ key, listen: LOOPBACK, surplus }));
    const gate = await gateOf(host);
    const others: Identity[] = [await identity(), await identity()];
    const gone: Promise<unknown>[] = [];
    for (const other of others) {
      const otherHost = cleanup.add(await listen(other.key));
      const otherGate = await gateOf(otherHost);
      await gate.admit(addresses(otherHost));
      gone.push(once(otherGate, 'left'));
    }
    await Promise.all(gone);
    assert.deepEqual(gate.peers(), []);
    for (const { id } of others) await gate.admit(id);
  });
});

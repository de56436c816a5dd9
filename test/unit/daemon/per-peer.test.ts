import assert from 'node:assert/strict';
import type { Stream } from '@libp2p/interface';
import { perPeer } from '../../../src/daemon/pair/per-peer.ts';
import type { Gate } from '../../../src/overlay/gate.ts';
import {
  addresses,
  Cleanup,
  type Identity,
  identity,
  listen,
  memberGate,
} from '../overlay/harness.ts';
import { until } from './until.ts';

describe('streams of one peer', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('are limited across its connections, and another peer is served', async () => {
    const [service, admitter] = [await identity(), await identity()];
    const node = async ({ key }: Identity): Promise<Gate> => {
      const host = cleanup.add(await listen(key));
      return cleanup.add((await memberGate(host, service.id, admitter)).gate);
    };
    const [server, guest, other] = await Promise.all(
      [await identity(), await identity(), await identity()].map(node),
    );
    assert.ok(server && guest && other);
    const served: Stream[] = [];
    const release: (() => void)[] = [];
    await server.handle(
      'test/1.0.0',
      perPeer(2, (stream) => {
        served.push(stream);
        return new Promise<void>((resolve) => release.push(resolve));
      }),
    );
    const target = addresses(server.host);
    const dial = (gate: Gate) => gate.open(target, 'test/1.0.0');
    await dial(guest);
    await dial(guest);
    await until('two', () => served.length === 2);
    const third = await dial(guest);
    await until('the third is reset', () => third.status !== 'open');
    assert.equal(served.length, 2);
    await dial(other);
    await until('the other peer', () => served.length === 3);
    // One has ended: there is room again.
    release[0]?.();
    await until('room again', async () => {
      const stream = await dial(guest);
      return served.length === 4 && stream.status === 'open';
    });
  });
});

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import net from 'node:net';
import { promisify } from 'node:util';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { identify } from '@libp2p/identify';
import { tcp } from '@libp2p/tcp';
import { createLibp2p } from 'libp2p';
import { createHost, HostError } from '../../../src/overlay/host.ts';
import { addresses, Cleanup, identity, listen, memberGate, nth } from './harness.ts';

describe('the host', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  it('says which address is in use, and what to do', async () => {
    const { key } = await identity();
    const first = cleanup.add(await listen(key));
    const taken = nth(first.multiaddrs(), 0);
    await assert.rejects(createHost({ key, listen: [taken] }), (error) => {
      assert.ok(error instanceof HostError);
      assert.equal(error.code, 'ERR_ADDRESS_IN_USE');
      assert.match(error.message, new RegExp(taken));
      return error.remedy.includes('listen');
    });
  });

  it('P34 says that an address is not this machine’s, in the system’s words', async () => {
    const { key } = await identity();
    await assert.rejects(createHost({ key, listen: ['/ip4/192.0.2.1/tcp/0'] }), {
      code: 'ERR_LISTEN',
      message:
        'cannot listen at /ip4/192.0.2.1/tcp/0: EADDRNOTAVAIL: address not available 192.0.2.1',
    });
  });

  it('P3 tells a stranger neither its services nor its version, by identify or by `ls`', async () => {
    const [{ key }, service, admitter] = await Promise.all([identity(), identity(), identity()]);
    const host = cleanup.add(await listen(key));
    const { gate } = await memberGate(host, service.id, admitter);
    cleanup.add(gate);
    const client = await createLibp2p({
      transports: [tcp()],
      connectionEncrypters: [noise()],
      streamMuxers: [yamux()],
      services: { identify: identify({ runOnConnectionOpen: false }) },
    });
    cleanup.add({ close: () => client.stop() });
    const connection = await client.dial(addresses(host));
    const { agentVersion, protocolVersion, protocols } =
      await client.services.identify.identify(connection);
    assert.deepEqual([agentVersion, protocolVersion, protocols], ['libp2p', 'ipfs/0.1.0', []]);
    // What multistream-select answers `ls` with is made by `map`, and what it serves found by `includes`.
    const served = host.components.registrar.getProtocols();
    assert.ok(served.includes(gate.protocol('hello/1.0.0')));
    assert.deepEqual(
      served.map((each) => each),
      [],
    );
  });

  it('tells what it announces', async () => {
    const { key } = await identity();
    const announce = ['/ip4/192.0.2.7/tcp/4001'];
    const host = cleanup.add(await createHost({ key, listen: [], announce }));
    assert.deepEqual(host.multiaddrs(), announce);
  });

  it('lets 200 nodes behind one address connect within the same second', async () => {
    const host = cleanup.add(await listen((await identity()).key));
    const port = Number(nth(host.multiaddrs(), 0).split('/')[4]);
    const sockets = await Promise.all(
      Array.from({ length: 200 }, async () => {
        const socket = net.connect(port, '127.0.0.1');
        // Noise has begun when multistream-select answers; a refused connection is closed instead.
        const answer = new Promise<string>((resolve) => {
          socket.once('data', () => resolve('answer'));
          socket.once('close', () => resolve('refused'));
          socket.once('error', () => resolve('refused'));
        });
        socket.write(Buffer.from('\u0013/multistream/1.0.0\n', 'latin1'));
        return { socket, answer: await answer };
      }),
    );
    for (const { socket } of sockets) socket.destroy();
    assert.equal(sockets.filter(({ answer }) => answer === 'refused').length, 0);
  });

  it('nothing runs on after close: a program that used every part ends by itself', async () => {
    const program = new URL('./whole-run.ts', import.meta.url).pathname;
    const options = { timeout: 50_000 };
    const { stdout } = await promisify(execFile)(process.execPath, [program], options);
    assert.equal(stdout, 'closed\n');
  });
});

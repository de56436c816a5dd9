import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Stream } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { Trust } from '../../../src/overlay/gate.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { PublishServer } from '../../../src/overlay/publish.ts';
import { Attacker, closed, ENDLESS, frame, send } from './attacker.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  identity,
  listen,
  MemberNode,
  memberGate,
  SuperPeer,
  trustIn,
} from './harness.ts';

const overlay = await identity();
const service = await identity();
/** For each step, not for the file: a whole run takes longer. */
const LIMIT = {
  get signal(): AbortSignal {
    return AbortSignal.timeout(300_000);
  },
};
const text = (line: string): Buffer =>
  Buffer.from(`${String.fromCharCode(line.length + 1)}${line}\n`);

describe('what comes on a connection', () => {
  const cleanup = new Cleanup();
  let superPeer: SuperPeer;
  let member: MemberNode;
  let admitter: Awaited<ReturnType<typeof identity>>;
  const trust = (): Trust => trustIn([admitter.id]);

  before(async () => {
    admitter = await identity();
    const host = await listen(admitter.key);
    superPeer = new SuperPeer(host, admitter.key, overlay.id, trust, service.id, trust);
    cleanup.add(superPeer);
    await superPeer.start();
    const { records } = superPeer.tier1;
    await cleanup
      .add(new PublishServer({ host, records, allow: (id) => id.equals(service.id) }))
      .start();
    const { key, id } = await identity();
    const credential = await credentialFor(service.id, admitter.key, id);
    superPeer.membership.add(credential, []);
    const at = () => [addresses(host)];
    const own = await listen(key);
    member = cleanup.add(new MemberNode(own, key, service.id, credential, trust, at));
    await member.start();
    await member.directory.attach();
  });
  after(() => cleanup.run());

  async function attacker(): Promise<Attacker> {
    return cleanup.add(await Attacker.at());
  }

  /** That others are served, by both nodes. */
  async function isServed(): Promise<void> {
    const { key, id } = await identity();
    const host = cleanup.add(await listen(key));
    const { gate } = await memberGate(host, service.id, { key: admitter.key, id: admitter.id });
    cleanup.add(gate);
    for (const node of [superPeer.host, member.host]) {
      await gate.admit(addresses(node), LIMIT);
      assert.ok(gate.isAdmitted(node.peerId), id.toString());
    }
    await host.close();
  }

  /** A broken rule ends `broken`, not the time limit of a handshake, which ends `silent` earlier. */
  async function breaksRule(
    { guards }: Host,
    broken: Promise<unknown>,
    silent: Promise<unknown>,
    before: number,
  ): Promise<void> {
    const first = await Promise.race([
      broken.then(() => 'what breaks a rule'),
      silent.then(() => 'what was silent for longer'),
    ]);
    assert.equal(first, 'what breaks a rule');
    assert.equal(guards.refusals, before + 1);
  }

  const BARE = {
    '1 MiB of a length that never ends': [ENDLESS],
    'a length of three bytes': [Uint8Array.of(0x80, 0x80, 0x80)],
    'a padded length': [Uint8Array.of(0x80, 0x00)],
    'a line of 1,025 bytes': [Uint8Array.of(0x81, 0x08)],
    'more lines than a negotiation has': Array.from({ length: 17 }, () => text('/tls')),
    'a request for the list of protocols': [text('/multistream/1.0.0'), text('ls')],
    'a handshake message of 60,000 bytes': [
      text('/multistream/1.0.0'),
      text('/noise'),
      Uint8Array.of(0xea, 0x60),
    ],
  };
  for (const [what, pieces] of Object.entries(BARE)) {
    it(`P5 ends a bare connection at once for ${what}`, async () => {
      const enemy = await attacker();
      for (const node of [superPeer.host, member.host]) {
        const { refusals } = node.guards;
        const silent = await enemy.socket(addresses(node));
        const socket = await enemy.socket(addresses(node));
        for (const each of pieces) socket.write(each);
        await breaksRule(node, closed(socket), closed(silent), refusals);
        silent.destroy();
      }
      await isServed();
    });
  }

  it('P5 ends a connection that would negotiate its multiplexer afterwards', async () => {
    const enemy = await attacker();
    await assert.rejects(enemy.dial(addresses(superPeer.host), { early: false }));
    await isServed();
  });

  it('P5 gives up a node that it dials and that sends a length without end', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(ENDLESS);
    }).listen(0, '127.0.0.1');
    cleanup.add({ close: () => void server.close() });
    await once(server, 'listening');
    const address = server.address();
    assert.ok(typeof address === 'object' && address);
    const { id } = await identity();
    const to = multiaddr(`/ip4/127.0.0.1/tcp/${address.port}/p2p/${id}`);
    await assert.rejects(
      member.host.libp2p.dial(to, LIMIT),
      /announces a length of more than 2 bytes/,
    );
    await isServed();
  });

  const FRAMES = {
    'a frame of 4 GiB': frame(0, 1, 1, 2 ** 32 - 1),
    'a frame above the window': frame(0, 1, 1, 256 * 1024 + 1),
    'data on stream 0': frame(0, 0, 0, 1),
    'a stream that is opened twice': Buffer.concat([frame(1, 1, 7, 0), frame(1, 1, 7, 0)]),
    'pings without end': Buffer.concat(Array.from({ length: 200 }, (_, i) => frame(2, 1, 0, i))),
    'streams without end': Buffer.concat(
      Array.from({ length: 500 }, (_, i) => frame(1, 1, 2 * i + 1, 0)),
    ),
    'another multiplexer': Uint8Array.of(1, ...frame(0, 1, 1, 0).subarray(1)),
  };
  for (const [what, bytes] of Object.entries(FRAMES)) {
    it(`P5 ends a connection for ${what}`, async () => {
      const enemy = await attacker();
      for (const node of [superPeer.host, member.host]) {
        const { refusals } = node.guards;
        const silent = await enemy.dial(addresses(node));
        const line = await enemy.dial(addresses(node));
        send(line.secured, bytes);
        await breaksRule(node, line.ended, silent.ended, refusals);
      }
      await isServed();
    });
  }

  it('P5 ends a connection for a stream that never says its protocol', async () => {
    const enemy = await attacker();
    for (const node of [superPeer.host, member.host]) {
      const { refusals } = node.guards;
      const silent = await enemy.dial(addresses(node));
      const line = await enemy.dial(addresses(node));
      const stream = await line.open();
      send(stream, ENDLESS);
      await breaksRule(node, line.ended, silent.ended, refusals);
    }
    await isServed();
  });

  it('P5 ends a connection whose streams hold 64 KiB of what nobody reads', async () => {
    const enemy = await attacker();
    const { refusals } = superPeer.host.guards;
    const line = await enemy.dial(addresses(superPeer.host));
    // More streams than ten before the other end is ready make libp2p itself give up.
    await line.connection.newStream('/ipfs/ping/1.0.0', LIMIT);
    // Lines of which the last byte is missing: legal, and never read.
    const half = Buffer.concat([Uint8Array.of(0x80, 0x08), Buffer.alloc(1_023, 'x')]);
    for (let n = 0; n < 64 && line.connection.status === 'open'; n++) send(await line.open(), half);
    await line.ended;
    assert.equal(superPeer.host.guards.refusals, refusals + 1);
    await isServed();
  });

  /** Resolves when a stream or its connection is over. */
  const over = (stream: Stream): Promise<void> =>
    new Promise((resolve) => {
      if (stream.status !== 'open') resolve();
      else stream.addEventListener('close', () => resolve(), { once: true });
    });

  for (const role of ['stranger', 'member'] as const) {
    it(`P5 ends a length that never ends in every protocol, from a ${role}`, async () => {
      for (const node of [superPeer.host, member.host]) {
        const protocols = node.libp2p.getProtocols();
        assert.ok(protocols.length >= 5);
        for (const protocol of protocols) {
          const { key, id } = await identity();
          const host = cleanup.add(await listen(key));
          const credential = await credentialFor(service.id, admitter.key, id);
          if (role === 'member') {
            const { gate } = await memberGate(host, service.id, admitter);
            cleanup.add(gate);
            assert.ok(credential.value.peerId.equals(id));
            await gate.admit(addresses(node), LIMIT);
          }
          const connection = await host.libp2p.dial(addresses(node), LIMIT);
          const stream = await connection.newStream(protocol, LIMIT).catch(() => undefined);
          if (stream !== undefined) {
            const ended = over(stream);
            send(stream, ENDLESS);
            // Pings have no length, and a member may send as many as it likes.
            if (protocol.includes('/ping/')) stream.abort(new Error('enough'));
            await ended;
          }
          await host.close();
        }
      }
      await isServed();
    });
  }
});

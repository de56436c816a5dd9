import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { multiaddr } from '@multiformats/multiaddr';
import { parseTcpMultiaddr, type TcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { connect } from '../../../src/daemon/pair/calls.ts';
import { answersAt } from '../../../src/daemon/pair/proof-of-place.ts';
import { type Located, Whereabouts } from '../../../src/daemon/pair/whereabouts.ts';
import type { Endpoint } from '../../../src/records/endpoint.ts';
import type { Opened } from '../../../src/records/envelope.ts';
import { blackHole } from '../overlay/black-hole.ts';
import { Cleanup, identity, listen, memberGate } from '../overlay/harness.ts';

const [service, admitter] = [await identity(), await identity()];
const NEVER = AbortSignal.any([]);

type Answer = Opened<Endpoint> | undefined;

describe('where a peer is, before the first run with it', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function member() {
    const host = cleanup.add(await listen((await identity()).key));
    const { gate, credential } = await memberGate(host, service.id, admitter);
    return { host, gate: cleanup.add(gate), credential };
  }

  type Member = Awaited<ReturnType<typeof member>>;

  function entryOf({ host, credential }: Member, multiaddrs: readonly TcpMultiaddr[]): Located {
    const underlay = { local: '127.0.0.1', remote: '127.0.0.1' };
    const pair = { current: undefined, path: undefined, aim: async () => {}, move: () => {} };
    const addresses = { ipv4: '100.64.0.1', ipv6: 'fd00::1' };
    const known = { multiaddrs, candidates: [], seenAt: undefined, subnets: [], listed: '' };
    const news = { sequence: 1, untold: false };
    return { peerId: host.peerId, addresses, pair, credential, underlay, ...known, ...news };
  }

  function endpointOf({ host }: Member, sequence: number): Opened<Endpoint> {
    const { peerId } = host;
    const where = { multiaddrs: host.multiaddrs(), underlay: ['127.0.0.1'] };
    const value = { serviceId: service.id, peerId, sequence, notAfter: 2 ** 40, ...where };
    return { signer: peerId, bytes: new Uint8Array(), value };
  }

  /** @param answer to each question; without it each waits until it is given up */
  function whereabouts({ gate }: Member, answer?: () => Promise<Answer>) {
    const asked: AbortSignal[] = [];
    const logged = new EventEmitter();
    const found = new Whereabouts({
      gate,
      endpointOf: async (_peer, { signal = NEVER }) => {
        asked.push(signal);
        if (answer !== undefined) return answer();
        await once(signal, 'abort');
        throw signal.reason;
      },
      multiaddrs: () => gate.host.multiaddrs(),
      best: (_peer, addresses) => addresses[0],
      log: (event, facts) => logged.emit(event, facts),
      closed: NEVER,
      enqueue: (work) => work(),
    });
    return { found, asked, logged };
  }

  it('P20 before there are SAs the peer is where its connection shows it, of all that it tells', async () => {
    const [self, peer] = [await member(), await member()];
    const { found } = whereabouts(self);
    const told = ['/ip4/127.0.0.1/tcp/4242', '/ip4/127.0.0.2/tcp/4242'].map(parseTcpMultiaddr);
    const entry = entryOf(peer, told);
    await found.seen(entry, '127.0.0.2');
    assert.equal(entry.underlay.remote, '127.0.0.2');
    const sa = { current: { inboundSpi: 300, outboundSpi: 301 } };
    const busy = { ...entryOf(peer, told), pair: { ...entry.pair, ...sa } };
    await found.seen(busy, '127.0.0.2');
    assert.equal(busy.underlay.remote, '127.0.0.1', 'SAs stay');
  });

  it('P20 an address at which super-peers see the peer stays, though its own record does not name it first', async () => {
    const [self, peer] = [await member(), await member()];
    const { found } = whereabouts(self);
    const entry = { ...entryOf(peer, []), candidates: ['127.0.0.1'] };
    await found.follow(entry, [parseTcpMultiaddr('/ip4/127.0.0.9/tcp/4242')]);
    assert.equal(entry.underlay.remote, '127.0.0.1');
    entry.candidates = [];
    await found.follow(entry, [parseTcpMultiaddr('/ip4/127.0.0.9/tcp/4242')]);
    assert.equal(entry.underlay.remote, '127.0.0.9');
  });

  it('a peer that is where the directory says is reached without waiting for its endpoint record', async () => {
    const [self, peer] = [await member(), await member()];
    const { found, asked } = whereabouts(self);
    await found.prepare(entryOf(peer, peer.host.multiaddrs()), NEVER);
    assert.ok(self.gate.isAdmitted(peer.host.peerId));
    assert.deepEqual(
      asked.map(({ aborted }) => aborted),
      [true],
      'the question is given up',
    );
  });

  it('a peer that has moved is reached where its endpoint record says, without waiting for the dead address', async () => {
    const [self, peer] = [await member(), await member()];
    const { multiaddr, met } = await blackHole(cleanup);
    const gone = met.then((socket) => once(socket.resume(), 'close'));
    const { found } = whereabouts(self, async () => {
      await met;
      return endpointOf(peer, 2);
    });
    const entry = entryOf(peer, [parseTcpMultiaddr(multiaddr)]);
    await found.prepare(entry, NEVER);
    await gone;
    assert.deepEqual(entry.multiaddrs, peer.host.multiaddrs());
    await connect(self.gate, entry, NEVER);
    assert.ok(self.gate.isAdmitted(peer.host.peerId));
  });

  it('a record that is no news does not end the dial', async () => {
    const [self, peer] = [await member(), await member()];
    const { found } = whereabouts(self, async () => endpointOf(peer, 2));
    await found.prepare(entryOf(peer, peer.host.multiaddrs()), NEVER);
    assert.ok(self.gate.isAdmitted(peer.host.peerId));
  });

  it('a peer of which nothing is known that helps is left to the run', async () => {
    const [self, peer] = [await member(), await member()];
    const { found } = whereabouts(self, async () => undefined);
    await peer.host.close();
    await found.prepare(entryOf(peer, peer.host.multiaddrs()), NEVER);
    assert.ok(!self.gate.isAdmitted(peer.host.peerId));
  });

  it('the caller’s end ends both', async () => {
    const [self, peer] = [await member(), await member()];
    const { multiaddr, met } = await blackHole(cleanup);
    const { found, asked } = whereabouts(self);
    const stop = new AbortController();
    const entry = entryOf(peer, [parseTcpMultiaddr(multiaddr)]);
    const prepared = found.prepare(entry, stop.signal);
    const socket = await met;
    const gone = once(socket.resume(), 'close');
    stop.abort(new Error('stopped'));
    await assert.rejects(prepared, { message: 'stopped' });
    await gone;
    assert.equal(asked[0]?.aborted, true);
  });

  /** A connection of the peer's to this node, and where a victim is that the peer tells beside its own address. */
  async function connected() {
    const [self, peer, victim] = [await member(), await member(), await member()];
    const there = self.host.multiaddrs().map((each) => multiaddr(each));
    const opened = once(self.host.libp2p, 'connection:open');
    await peer.host.libp2p.dial(there);
    await opened;
    const [connection] = self.host.libp2p.getConnections(peer.host.peerId);
    assert.ok(connection);
    const [mine] = victim.host.multiaddrs();
    assert.ok(mine);
    const elsewhere = parseTcpMultiaddr(mine.replace('127.0.0.1', '127.0.0.9'));
    return { ...whereabouts(self), peer, connection, victim: elsewhere };
  }

  it('P7 a peer that says it has moved is where its connection is, and nowhere that does not answer as it', async () => {
    const { found, logged, peer, connection, victim } = await connected();
    const own = peer.host.multiaddrs();
    const entry = entryOf(peer, own);
    entry.underlay = { local: '127.0.0.1', remote: '127.0.0.3' };
    const noted = once(logged, 'peer-not-there');
    // The victim first, so that it is the best that is told.
    const moved = { sequence: 2, multiaddrs: [victim, ...own] };
    assert.equal(await found.heardOfMove(entry, moved, connection), true);
    assert.equal(entry.underlay.remote, '127.0.0.1');
    await noted;
    assert.equal(
      await found.heardOfMove(entry, { ...moved, sequence: 3, multiaddrs: [victim] }, connection),
      true,
    );
    assert.equal(entry.underlay.remote, '127.0.0.1', 'nor when it tells nothing else');
  });

  it('P7 another node that answers at an address does not answer as the peer', async () => {
    const [self, peer, other] = [await member(), await member(), await member()];
    const entry = entryOf(peer, other.host.multiaddrs());
    assert.equal(await answersAt(self.host, entry, '127.0.0.1', NEVER), false);
    entry.multiaddrs = peer.host.multiaddrs();
    assert.equal(await answersAt(self.host, entry, '127.0.0.1', NEVER), true);
  });

  it('P7 SAs in use follow what the directory says only to where the peer answers', async () => {
    const { found, logged, peer, victim } = await connected();
    const sa = { current: { inboundSpi: 300, outboundSpi: 301 } };
    const entry = entryOf(peer, peer.host.multiaddrs());
    const busy = { ...entry, pair: { ...entry.pair, ...sa } };
    const noted = once(logged, 'peer-not-there');
    await found.follow(busy, [victim]);
    await noted;
    assert.equal(busy.underlay.remote, '127.0.0.1');
    busy.underlay = { local: '127.0.0.1', remote: '127.0.0.3' };
    const pointed = once(logged, 'peer-moved');
    await found.follow(busy, peer.host.multiaddrs());
    await pointed;
    assert.equal(busy.underlay.remote, '127.0.0.1');
  });

  it('P7 without SAs what is told counts until the connection of a run shows the peer, also where it was seen before', async () => {
    const { found, peer, victim } = await connected();
    const entry = { ...entryOf(peer, peer.host.multiaddrs()), seenAt: '127.0.0.1' };
    await found.follow(entry, [victim, ...peer.host.multiaddrs()]);
    await found.follow(entry, [victim]);
    assert.equal(entry.underlay.remote, '127.0.0.9');
    await found.seen(entry, '127.0.0.1', { initiator: true });
    assert.equal(entry.underlay.remote, '127.0.0.1');
  });
});

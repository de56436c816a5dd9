/**
 * ```
 *   VM ──▶ served: admits   unserved: knows no such service   silent: takes connections, says nothing   away
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { multiaddr } from '@multiformats/multiaddr';
import { makeTicket } from '../../../src/admission/ticket.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { type AdmissionWish, admitAtAny } from '../../../src/daemon/admit.ts';
import { SuperPeersError } from '../../../src/daemon/ask-super-peers.ts';
import { type Log, SuperPeer, type SuperPeerAddress } from '../../../src/index.ts';
import { createHost } from '../../../src/overlay/host.ts';
import { freePort } from '../overlay/free-port.ts';
import { identity } from '../overlay/harness.ts';
import { until } from './until.ts';
import { type Arranged, arrange, publish, servingLog } from './world.ts';

describe('admission at several super-peers', () => {
  const owned = new AsyncDisposableStack();
  let arranged: Arranged;
  let served: SuperPeerAddress;
  let unserved: SuperPeerAddress;
  let silent: SuperPeerAddress;
  let away: SuperPeerAddress;
  let wish: AdmissionWish;
  let logged: string[];

  before(async function () {
    this.timeout(60_000);
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-ask-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const signal = AbortSignal.timeout(50_000);
    arranged = await arrange(dir, 2, signal);
    const { serviceId } = arranged.service.bootstrap;
    const serves = Promise.withResolvers<void>();
    for (const [i, { stateDir, listen }] of arranged.places.entries()) {
      const log = i === 0 ? servingLog(serviceId, serves.resolve) : (): void => {};
      const node = await SuperPeer.start({
        ...{ stateDir, listen: [listen], announce: [], overlay: arranged.overlay, log, signal },
        allowedServices: i === 0 ? [serviceId] : [],
      });
      owned.use(node);
    }
    const [first, second] = arranged.service.bootstrap.superPeers;
    assert.ok(first && second);
    [served, unserved] = [first, second];
    await publish(arranged, signal).catch(() => undefined); // the second does not take it
    await serves.promise;
    silent = await address(await mute());
    away = await address(await freePort());
  });
  after(() => owned.disposeAsync());

  beforeEach(async () => {
    logged = [];
    const key = await generateKeyPair('Ed25519');
    const host = await createHost({ key, listen: [], announce: [] });
    owned.defer(() => host.close());
    const { serviceId, secret } = arranged.service.bootstrap;
    const log: Log = (event, fields) => void logged.push(`${event} ${JSON.stringify(fields)}`);
    wish = {
      ...{ host, key, serviceId, secret, log, superPeers: [], vmid: 'vm', roles: [] },
      ...{ multiaddrs: [], patience: 1, signal: new AbortController().signal },
    };
  });

  /** @returns the port of a server that takes connections and says nothing */
  async function mute(): Promise<number> {
    const sockets = new Set<Socket>();
    const server: Server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    owned.defer(() => {
      for (const each of sockets) each.destroy();
      server.close();
    });
    const at = server.address();
    assert.ok(typeof at === 'object' && at !== null);
    return at.port;
  }

  async function address(port: number): Promise<SuperPeerAddress> {
    const { id } = await identity();
    return { peerId: id, multiaddr: multiaddr(`/ip4/127.0.0.1/tcp/${port}/p2p/${id}`) };
  }

  const failed = async (change: Partial<AdmissionWish>): Promise<SuperPeersError> => {
    const error = await admitAtAny({ ...wish, ...change }).then(
      () => assert.fail('admitted'),
      (reason: unknown) => reason,
    );
    assert.ok(error instanceof SuperPeersError, String(error));
    return error;
  };

  it('P34 one that refuses does not keep the VM from another that admits', async () => {
    // The order is drawn anew each time: both come first at times.
    for (let i = 0; i < 4; i++) {
      const { at } = await admitAtAny({ ...wish, superPeers: [unserved, served] });
      assert.ok(at.peerId.equals(served.peerId));
    }
  });

  it('P34 says of each super-peer why not, at once when all refuse', async () => {
    const superPeers = [served, unserved];
    const error = await failed({ superPeers, secret: 'not the secret', patience: 60_000 });
    assert.equal(error.code, 'ERR_ADMISSION_REFUSED');
    for (const { peerId } of superPeers) {
      assert.match(error.message, new RegExp(`${peerId}: [^;]*secret`));
    }
    assert.match(error.remedy, /secret/);
  });

  it('P34 does not blame the secret where a super-peer could not be asked', async () => {
    const error = await failed({ superPeers: [unserved, away] });
    assert.match(error.message, new RegExp(`${away.peerId}: could not be reached: .*ECONNREFUSED`));
    assert.match(error.message, new RegExp(`${unserved.peerId}: .*does not serve`));
    const none = await failed({ superPeers: [away] });
    assert.equal(none.code, 'ERR_SUPER_PEERS_UNREACHABLE');
  });

  it('P34 a request that cannot be sent is named as the cause', async () => {
    const multiaddrs = Array.from({ length: 9 }, () => parseTcpMultiaddr('/ip4/192.0.2.1/tcp/1'));
    const long = await failed({ superPeers: [served], multiaddrs, patience: 60_000 });
    assert.match(long.message, /multiaddrs/);
    const empty = await failed({ superPeers: [served], vmid: '', patience: 60_000 });
    assert.match(empty.message, /vmid/);
  });

  it('P34 a clock that is wrong is named, with how far it is off', async () => {
    const { now } = Date;
    try {
      for (const [seconds, how] of [
        [86_400, 'ahead of'],
        [-86_400, 'behind'],
      ] as const) {
        Date.now = () => now() + seconds * 1000;
        const error = await failed({ superPeers: [served] });
        assert.equal(error.code, 'ERR_CLOCK');
        assert.match(error.message, new RegExp(`864\\d\\d s ${how}|863\\d\\d s ${how}`));
      }
    } finally {
      Date.now = now;
    }
  });

  it('P34 waits for one that is not there yet, and says so every few seconds', async function () {
    this.timeout(60_000);
    const port = await freePort();
    const relay = createServer((socket) => {
      const [, host = '', to = ''] =
        /ip4\/([^/]+)\/tcp\/(\d+)/.exec(String(served.multiaddr)) ?? [];
      const way = socket.pipe(connect(Number(to), host));
      way.pipe(socket);
      way.on('error', () => socket.destroy());
      socket.on('error', () => way.destroy());
    });
    owned.defer(() => void relay.close());
    const late = {
      peerId: served.peerId,
      multiaddr: multiaddr(`/ip4/127.0.0.1/tcp/${port}/p2p/${served.peerId}`),
    };
    const admitting = admitAtAny({ ...wish, superPeers: [late], patience: 50_000 });
    await until('it says that it waits', () => logged.some((line) => line.startsWith('waiting ')));
    const line = logged.find((each) => each.startsWith('waiting '));
    assert.match(line ?? '', /could not be reached/);
    relay.listen(port, '127.0.0.1');
    assert.ok((await admitting).at.peerId.equals(served.peerId));
  });

  it('P34 ends at once when it is told to, also towards one that says nothing', async () => {
    const stop = new AbortController();
    const reason = new Error('enough');
    const admitting = admitAtAny({ ...wish, superPeers: [silent], signal: stop.signal });
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(reason);
    await assert.rejects(admitting, (error) => error === reason);
    await wish.host.close();
    assert.deepEqual(wish.host.libp2p.getConnections(), []);
  });

  it('P22 a ticket for a super-peer that the data does not name is refused before anything is sent', async () => {
    const ownerKey = await generateKeyPair('Ed25519');
    const notAfter = Math.floor(Date.now() / 1000) + 60;
    const secret = await makeTicket({ ownerKey, superPeer: away.peerId, notAfter });
    const admitting = admitAtAny({ ...wish, superPeers: [served], secret });
    await assert.rejects(admitting, { code: 'ERR_TICKET' });
    assert.deepEqual(logged, []);
  });
});

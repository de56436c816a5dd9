import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lpStream } from '@libp2p/utils';
import { multiaddr } from '@multiformats/multiaddr';
import { requestRenewal } from '../../../src/admission/client.ts';
import { AdmissionRefusedError } from '../../../src/admission/errors.ts';
import { Opening, Reply } from '../../../src/admission/messages.ts';
import { makeServiceSecret } from '../../../src/admission/secret.ts';
import type { AdmissionLimits } from '../../../src/admission/server.ts';
import { admitAtAny } from '../../../src/daemon/admit.ts';
import {
  type Bootstrap,
  publishAtAll,
  SuperPeer,
  type SuperPeerAddress,
} from '../../../src/index.ts';
import type { ArrivalLimits } from '../../../src/overlay/arrivals.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import {
  admissionStream,
  admit,
  arrange,
  hostFrom,
  loopbackAddress,
  publish,
  servingLog,
  type Vm,
} from './world.ts';

const FLOODER = '127.255.9.9';
const NAT = '127.255.7.7';

describe('a super-peer in a flood from one host', () => {
  let owned: AsyncDisposableStack;
  let service: Bootstrap;
  let at: SuperPeerAddress;
  let port: number;
  let publishAgain: () => ReturnType<typeof publishAtAll>;

  async function start(
    limits: Partial<AdmissionLimits> = {},
    arrivals: Partial<ArrivalLimits> = {},
  ): Promise<void> {
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-flood-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const signal = AbortSignal.timeout(30_000);
    const arranged = await arrange(dir, 1, signal);
    service = arranged.service.bootstrap;
    const served = Promise.withResolvers<void>();
    for (const { stateDir, listen } of arranged.places) {
      const log = servingLog(service.serviceId, served.resolve);
      const common = { stateDir, listen: [listen], announce: [], log, signal, limits, arrivals };
      const { overlay } = arranged;
      const allowedServices = [service.serviceId];
      owned.use(await SuperPeer.start({ ...common, overlay, allowedServices }));
      port = Number(multiaddr(listen).getComponents()[1]?.value);
    }
    await publish(arranged, signal);
    publishAgain = () => {
      const { descriptor } = arranged.service;
      const again = AbortSignal.timeout(50_000);
      return publishAtAll(descriptor.value, DESCRIPTOR_RECORD, descriptor.bytes, { signal: again });
    };
    await served.promise;
    const [first] = service.superPeers;
    assert.ok(first);
    at = first;
  }

  beforeEach(() => {
    owned = new AsyncDisposableStack();
  });
  afterEach(() => owned.disposeAsync());

  async function vmAt(address: string): Promise<Vm> {
    const vm = await hostFrom(address);
    owned.defer(() => vm.close());
    return vm;
  }

  /** Begins an admission and says nothing more. */
  async function begin(vm: Vm) {
    const stream = await admissionStream(vm, at);
    const link = lpStream(stream);
    const { serviceId } = service;
    const A = randomBytes(256).fill(1, 0, 1);
    const login = { identity: 'member', nonce: randomBytes(32), A, ticket: undefined };
    const hello = { version: 1, suite: 1, serviceId, ...login };
    await link.write(Opening.encode({ admit: hello, renew: undefined }));
    const reply = Reply.decode((await link.read()).subarray());
    const gone = new Promise((resolve) => stream.addEventListener('close', resolve));
    return { reply, gone, leave: () => stream.abort(new Error('gone')) };
  }

  /** As `icvpn up`: asks again where it must. */
  async function admitPatiently(
    vm: Vm,
    superPeer: SuperPeerAddress,
    onFailure = (_: string) => {},
  ) {
    const { answer: admission } = await admitAtAny({
      ...{ ...service, superPeers: [superPeer], host: vm, key: vm.key },
      ...{ vmid: `i-${vm.peerId}`, roles: [], multiaddrs: [] },
      log: (event, { why } = {}) => {
        if (event !== 'waiting') onFailure(String(why));
      },
      signal: AbortSignal.timeout(50_000),
    });
    return admission;
  }

  /** Half-open admissions of `count` nodes, two of each, at the flooder's address. */
  async function flood(count: number) {
    const vms = await Promise.all(Array.from({ length: count }, () => vmAt(FLOODER)));
    return Promise.all(vms.flatMap((vm) => [begin(vm), begin(vm)]));
  }

  it('P5 holds no more half-open admissions of it than its share, and serves everybody else', async () => {
    await start({ halfOpenPerHost: 20, halfOpen: 40, srp: 40 });
    const member = await vmAt(loopbackAddress(1));
    const last = await admit(member, at, service);
    const replies = (await flood(20)).map(({ reply }) => reply);
    assert.equal(replies.filter(({ challenge }) => challenge !== undefined).length, 20);
    assert.equal(replies.filter(({ busy }) => busy !== undefined).length, 20);
    for (let n = 2; n < 6; n++) await admit(await vmAt(loopbackAddress(n)), at, service);
    const renewed = await requestRenewal(await admissionStream(member, at), {
      ...{ key: member.key, superPeer: at.peerId, serviceId: service.serviceId },
      ...{ credential: last.credential, renewalKey: last.renewalKey, multiaddrs: [] },
    });
    assert.notDeepEqual(renewed.credential.value.serial, last.credential.value.serial);
  });

  it('P5 ends half-open admissions after their time, and the places are free again', async () => {
    await start({ halfOpenPerHost: 4, unproven: 3_000 });
    const first = await flood(2);
    assert.equal(first.filter(({ reply }) => reply.challenge !== undefined).length, 4);
    await Promise.all(first.map(({ gone }) => gone));
    const second = await flood(2);
    assert.equal(second.filter(({ reply }) => reply.challenge !== undefined).length, 4);
  });

  it('P5 takes nobody else for the guesser when somebody guesses', async () => {
    await start();
    const guesser = await vmAt(FLOODER);
    const wrong = { ...service, secret: makeServiceSecret() };
    for (let n = 0; n < 6; n++) {
      await assert.rejects(admit(guesser, at, wrong), AdmissionRefusedError);
    }
    const { reply } = await begin(await vmAt(loopbackAddress(1)));
    assert.ok(reply.challenge, 'at once, and without a puzzle');
    await admit(await vmAt(loopbackAddress(2)), at, service);
  });

  /** Opens a connection that says nothing; when it is ended, another one, `again` and again. */
  function silent(from: string, onEnd: () => void, again = true): void {
    const socket = connect({ port, host: '127.0.0.1', localAddress: from });
    owned.defer(() => void socket.destroy());
    socket.on('error', () => {});
    socket.once('close', () => {
      if (owned.disposed) return;
      onEnd();
      if (again) silent(from, onEnd);
    });
  }

  it('P28 admits, renews and hears the owner while hosts in 64 sites open silent connections', async () => {
    await start({}, { strangers: 256, reserved: 64 });
    const member = await vmAt(loopbackAddress(1));
    const last = await admit(member, at, service);
    const { promise: full, resolve } = Promise.withResolvers<void>();
    for (let n = 0; n < 64; n++) {
      // Of each site, some hosts; in all half as many again as there are places.
      for (let host = 1; host <= 6; host++) silent(`127.${128 + n}.${n}.${host}`, resolve);
    }
    await full;
    for (let n = 0; n < 8; n++) await admit(await vmAt(`127.250.${n}.7`), at, service);
    const renewed = await requestRenewal(await admissionStream(member, at), {
      ...{ key: member.key, superPeer: at.peerId, serviceId: service.serviceId },
      ...{ credential: last.credential, renewalKey: last.renewalKey, multiaddrs: [] },
    });
    assert.notDeepEqual(renewed.credential.value.serial, last.credential.value.serial);
    const [published] = await publishAgain();
    assert.equal(published?.failure, null);
  });

  it('P28 lets others of a host in beside its silent connections', async () => {
    await start({}, { strangers: 64, reserved: 0 });
    const { promise: full, resolve } = Promise.withResolvers<void>();
    for (let n = 0; n < 65; n++) silent(FLOODER, resolve, false);
    await full;
    await admit(await vmAt(loopbackAddress(1)), at, service);
    await admitPatiently(await vmAt(FLOODER), at);
  });

  it('a VM that finds it busy asks again until there is room', async () => {
    await start({ halfOpen: 1 });
    const stranger = await begin(await vmAt(FLOODER));
    assert.ok(stranger.reply.challenge);
    const vm = await vmAt(loopbackAddress(1));
    const admission = await admitPatiently(vm, at, (why) => {
      assert.match(why, /too many admissions/);
      stranger.leave();
    });
    assert.ok(admission.credential.value.peerId.equals(vm.peerId));
  });

  it('a VM that is hung up on in the handshake asks again', async () => {
    await start();
    let connections = 0;
    const inBetween = createServer((socket) => {
      if (connections++ === 0) socket.destroy();
      else socket.pipe(connect(port, '127.0.0.1')).pipe(socket);
    }).listen(0, '127.0.0.1');
    owned.defer(() => void inBetween.close());
    await once(inBetween, 'listening');
    const address = inBetween.address();
    assert.ok(typeof address === 'object' && address);
    const detour = multiaddr(`/ip4/127.0.0.1/tcp/${address.port}/p2p/${at.peerId}`);
    const vm = await vmAt(loopbackAddress(1));
    const failures: string[] = [];
    await admitPatiently(vm, { ...at, multiaddr: detour }, (why) => void failures.push(why));
    // On a busy machine a later one may fail as well, of a time limit.
    assert.ok(failures.length >= 1);
    assert.equal(connections, failures.length + 1);
  });

  it('P5 admits 50 VMs behind one NAT that start at the same moment, none refused, beside a flood', async () => {
    await start({ halfOpenPerHost: 64, halfOpen: 128, srp: 128 });
    const replies = (await flood(40)).map(({ reply }) => reply);
    assert.equal(replies.filter(({ challenge }) => challenge !== undefined).length, 64);
    const vms = await Promise.all(Array.from({ length: 50 }, () => vmAt(NAT)));
    const all = await Promise.all(vms.map((vm) => admitPatiently(vm, at)));
    assert.equal(new Set(all.map(({ credential }) => credential.value.ipv4)).size, 50);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { lpStream } from '@libp2p/utils';
import { Gate, GateError, type GateOptions, type Trust } from '../../../src/overlay/gate.ts';
import { HELLO } from '../../../src/overlay/hello.ts';
import type { Host } from '../../../src/overlay/host.ts';
import type { Credential } from '../../../src/records/credential.ts';
import type { Opened } from '../../../src/records/envelope.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  type Identity,
  identity,
  listen,
  trustIn,
  until,
} from './harness.ts';

const service = await identity();
const admitter = await identity();
const elsewhere = await identity();
/** A super-peer that was struck off. */
const former = await identity();
/** What the gates tell for the newest descriptor. */
const NEWEST = Buffer.from('the newest descriptor');

const SILENCE = {
  ...{ credential: undefined, refused: undefined, epoch: undefined, descriptor: undefined },
};

/** A host with a gate of `service`, whose clock, trust and credential the test may change. */
interface Node extends Identity {
  host: Host;
  gate: Gate;
  credential: Opened<Credential> | undefined;
  epoch: number;
  revoked: Set<string>;
  /** Milliseconds that its clock is ahead. */
  ahead: number;
}

describe('the gate', () => {
  const cleanup = new Cleanup();
  afterEach(() => cleanup.run());

  async function node(
    who: Identity | undefined,
    own?: Partial<Credential>,
    limits: Pick<GateOptions, 'streams' | 'bytes'> = {},
  ): Promise<Node> {
    const { key, id } = who ?? (await identity());
    const host = cleanup.add(await listen(key));
    const signer = own?.admittedBy?.equals(former.id) ? former : admitter;
    const credential = own && (await credentialFor(service.id, signer.key, id, own));
    const epoch = 1;
    const ahead = 0;
    const trust = (): Trust => ({
      ...trustIn([admitter.id]),
      epoch: self.epoch,
      // Its addresses stay what they were.
      addresses: trustIn([admitter.id, former.id]).addresses,
      formerAdmitters: [former.id],
      revoked: ({ value }) => self.revoked.has(value.peerId.toString()),
    });
    const gate = cleanup.add(
      new Gate(host, {
        overlayId: service.id,
        credential: () => self.credential?.bytes,
        trust,
        clock: () => Date.now() + self.ahead,
        descriptor: () => NEWEST,
        ...limits,
      }),
    );
    const self: Node = { key, id, host, gate, credential, epoch, ahead, revoked: new Set() };
    await gate.start();
    return self;
  }

  /** Serves `echo/1.0.0`: one message back as it came. */
  async function serveEcho(gate: Gate): Promise<void> {
    await gate.handle('echo/1.0.0', async (stream) => {
      const frames = lpStream(stream);
      await frames.write(await frames.read());
      await stream.close();
    });
  }

  async function echo(from: Node, to: Node): Promise<string> {
    const stream = await from.gate.open(addresses(to.host), 'echo/1.0.0');
    const frames = lpStream(stream);
    await frames.write(Buffer.from('hello'));
    const answer = await frames.read({ signal: AbortSignal.timeout(30_000) });
    await stream.close();
    return Buffer.from(answer.subarray()).toString();
  }

  const refusedAs = (code: string) => (error: unknown) =>
    error instanceof GateError && error.code === code;

  it('lets two members pass each other, in both directions', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    await Promise.all([a, b].map(({ gate }) => serveEcho(gate)));
    assert.equal(await echo(a, b), 'hello');
    assert.equal(await echo(b, a), 'hello');
    assert.deepEqual(a.gate.credentialOf(b.id)?.value, b.credential?.value);
  });

  it('lets a super-peer that the descriptor names pass without a credential', async () => {
    const [superPeer, member] = await Promise.all([node(admitter), node(undefined, {})]);
    assert.equal(await member.gate.admit(addresses(superPeer.host)), 'admitter');
    assert.ok(superPeer.gate.isAdmitted(member.id));
  });

  it('P10 refuses a node without a credential, and tells it why', async () => {
    const [stranger, member] = await Promise.all([node(undefined), node(undefined, {})]);
    await assert.rejects(stranger.gate.admit(addresses(member.host)), refusedAs('ERR_REFUSED'));
    await assert.rejects(
      member.gate.admit(addresses(stranger.host)),
      refusedAs('ERR_NOT_ADMITTED'),
    );
    assert.ok(!member.gate.isAdmitted(stranger.id));
  });

  describe('tells the newest descriptor with its refusal', () => {
    const HOUR = 3600;
    const now = Math.floor(Date.now() / 1000);
    const seen: Uint8Array[] = [];

    /** @returns what a node that shows a credential is told by one that is in epoch 4 */
    async function told(own: Partial<Credential> | undefined, who?: Identity): Promise<string[]> {
      seen.length = 0;
      const [member, server] = await Promise.all([node(who, own), node(undefined, {})]);
      server.epoch = 4;
      member.gate.on('descriptor', (bytes) => seen.push(bytes));
      if (own?.vmid === 'revoked') server.revoked.add(member.id.toString());
      for (let i = 0; i < 2; i++) {
        await assert.rejects(
          member.gate.admit(addresses(server.host)),
          (error) => error instanceof GateError && error.code === 'ERR_REFUSED',
        );
      }
      assert.ok(!server.gate.isAdmitted(member.id));
      return seen.map((each) => Buffer.from(each).toString());
    }

    it('P36 to whoever shows a credential that once held, once a connection', async () => {
      const ended = { epoch: 4, notBefore: now - 2 * HOUR, notAfter: now - HOUR };
      const struckOff = { epoch: 4, admittedBy: former.id };
      for (const own of [{ epoch: 1 }, { epoch: 3 }, ended, struckOff]) {
        assert.deepEqual(await told(own), [NEWEST.toString()], JSON.stringify(own));
      }
      assert.deepEqual(await told(undefined, former), [NEWEST.toString()]);
    });

    it('P10 P33 to nobody else: strangers, the revoked, credentials of others or yet to come', async () => {
      const early = { epoch: 4, notBefore: now + HOUR, notAfter: now + 2 * HOUR };
      for (const own of [
        undefined,
        { epoch: 1, vmid: 'revoked' },
        { epoch: 1, peerId: elsewhere.id },
        { epoch: 1, serviceId: elsewhere.id },
        early,
      ]) {
        assert.deepEqual(await told(own), [], JSON.stringify(own));
      }
    });

    it('P36 to a member that is cut off and whose connection stays, at its next stream but one', async () => {
      const [member, server] = await Promise.all([node(undefined, {}), node(undefined, {})]);
      await serveEcho(server.gate);
      assert.equal(await echo(member, server), 'hello');
      server.epoch = 4;
      server.gate.recheck();
      const news = once(member.gate, 'descriptor');
      await assert.rejects(echo(member, server));
      await assert.rejects(echo(member, server), refusedAs('ERR_REFUSED'));
      assert.deepEqual(Buffer.from((await news)[0]), NEWEST);
      assert.equal(member.host.libp2p.getConnections(server.id).length, 1);
    });

    it('P3 and no epoch to a stranger', async () => {
      const [stranger, server] = await Promise.all([node(undefined), node(undefined, {})]);
      const connection = await stranger.host.libp2p.dial(addresses(server.host));
      const stream = await connection.newStream(server.gate.protocol('hello/1.0.0'));
      const frames = lpStream(stream);
      await frames.write(HELLO.encode({ ...SILENCE }));
      const answer = HELLO.decode(Uint8Array.from((await frames.read()).subarray()));
      assert.ok(answer.refused);
      assert.deepEqual({ ...answer, refused: undefined }, SILENCE);
    });

    it('P36 and its epoch, so that a node which is ahead knows that the other is behind', async () => {
      const [member, server] = await Promise.all([node(undefined, { epoch: 3 }), node(admitter)]);
      member.epoch = 3;
      const behind = once(member.gate, 'behind');
      await assert.rejects(member.gate.admit(addresses(server.host)), refusedAs('ERR_REFUSED'));
      assert.ok(server.id.equals((await behind)[0]));
    });
  });

  it('P10 resets streams of a node that skips the hello', async () => {
    const [stranger, member] = await Promise.all([node(undefined), node(undefined, {})]);
    await serveEcho(member.gate);
    const protocol = member.gate.protocol('echo/1.0.0');
    const stream = await stranger.host.libp2p.dialProtocol(addresses(member.host), protocol);
    const frames = lpStream(stream);
    await assert.rejects(async () => {
      await frames.write(Buffer.from('hello'));
      await frames.read({ signal: AbortSignal.timeout(30_000) });
    }, /reset|closed|EOF/i);
  });

  it('P7 refuses a member’s credential in the hands of another node', async () => {
    const [thief, member, victim] = await Promise.all([
      node(undefined),
      node(undefined, {}),
      node(undefined, {}),
    ]);
    thief.credential = victim.credential;
    await assert.rejects(thief.gate.admit(addresses(member.host)), refusedAs('ERR_REFUSED'));
    assert.ok(!member.gate.isAdmitted(thief.id) && !member.gate.isAdmitted(victim.id));
    // The other way about: the thief answers a member's hello.
    await assert.rejects(member.gate.admit(addresses(thief.host)), GateError);
  });

  for (const [what, wrong] of [
    ['of another service', { serviceId: elsewhere.id }],
    ['of another epoch', { epoch: 2 }],
    ['that has expired', { notAfter: 1_000_000 }],
    ['not valid yet', { notBefore: 4_000_000_000, notAfter: 4_000_003_600 }],
  ] as const) {
    it(`P10 refuses a credential ${what}`, async () => {
      const [other, member] = await Promise.all([node(undefined, wrong), node(undefined, {})]);
      await assert.rejects(other.gate.admit(addresses(member.host)), refusedAs('ERR_REFUSED'));
      await assert.rejects(member.gate.admit(addresses(other.host)), GateError);
      assert.ok(!member.gate.isAdmitted(other.id));
    });
  }

  for (const [what, wrong] of [
    ['the IPv6 address of another member', { ipv6: ipv6Address(service.id, elsewhere.id) }],
    ['an IPv4 address of somebody else on the Internet', { ipv4: '8.8.8.8' }],
    ['an IPv4 address beside the prefix', { ipv4: '100.65.0.1' }],
    ['the network address of the prefix', { ipv4: '100.64.0.0' }],
    ['the broadcast address of the prefix', { ipv4: '100.64.255.255' }],
    ['an address that an unnamed super-peer would have given', { admittedBy: elsewhere.id }],
  ] as const) {
    it(`P26 refuses a credential with ${what}, though a named super-peer signed it`, async () => {
      const [other, member] = await Promise.all([node(undefined, wrong), node(undefined, {})]);
      await assert.rejects(other.gate.admit(addresses(member.host)), refusedAs('ERR_REFUSED'));
      await assert.rejects(member.gate.admit(addresses(other.host)), GateError);
      assert.ok(!member.gate.isAdmitted(other.id));
    });
  }

  it('refuses a credential that no named super-peer signed', async () => {
    const member = await node(undefined, {});
    const forger = await node(undefined);
    forger.credential = await credentialFor(service.id, forger.key, forger.id);
    await assert.rejects(forger.gate.admit(addresses(member.host)), refusedAs('ERR_REFUSED'));
  });

  for (const [what, change] of [
    ['its credential expires', { ahead: 4_000_000 }],
    ['the epoch moves on', { epoch: 2 }],
  ] as const) {
    it(`P11 cuts a connected member off when ${what}`, async () => {
      const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
      await b.gate.handle('silent/1.0.0', () => undefined);
      const stream = await a.gate.open(addresses(b.host), 'silent/1.0.0');
      const closed = new Promise((resolve) => stream.addEventListener('close', resolve));
      Object.assign(b, change);
      b.gate.recheck();
      await closed;
      assert.ok(!b.gate.isAdmitted(a.id));
    });
  }

  it('P11 cuts a connected member off by itself when its credential is revoked', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    await b.gate.handle('silent/1.0.0', () => undefined);
    const stream = await a.gate.open(addresses(b.host), 'silent/1.0.0');
    const closed = new Promise((resolve) => stream.addEventListener('close', resolve));
    b.revoked.add(a.id.toString());
    await closed;
    await assert.rejects(echo(a, b), GateError);
  });

  it('takes a renewed credential on a connection that is open', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    await serveEcho(b.gate);
    assert.equal(await echo(a, b), 'hello');
    for (const each of [a, b]) {
      each.epoch = 2;
      each.credential = await credentialFor(service.id, admitter.key, each.id, { epoch: 2 });
    }
    assert.equal(await echo(a, b), 'hello');
    assert.equal(b.gate.credentialOf(a.id)?.value.epoch, 2);
    assert.equal(a.host.libp2p.getConnections(b.id).length, 1);
  });

  it('tells when a peer comes and when it is gone', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    const seen: string[] = [];
    b.gate.on('admitted', (id) => seen.push(`+${id}`));
    b.gate.on('left', (id) => seen.push(`-${id}`));
    await a.gate.admit(addresses(b.host));
    await a.host.close();
    await until(b.gate, 'left', () => seen.length === 2);
    assert.deepEqual(seen, [`+${a.id}`, `-${a.id}`]);
  });

  it('P5 cuts off who opens too many streams or sends too much, and serves the others', async () => {
    const [greedy, modest] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    const limits = { perSecond: 0, burst: 4 };
    for (const [kind, allowed] of [
      [{ streams: limits }, 4],
      [{ bytes: { perSecond: 0, burst: 40 } }, 6],
    ] as const) {
      const served = await node(undefined, {}, kind);
      await serveEcho(served.gate);
      const results: string[] = [];
      for (let i = 0; i < 10; i++) results.push(await echo(greedy, served).catch(() => 'cut'));
      // An echo takes 6 bytes: its length, then the text.
      const expected = Array.from({ length: 10 }, (_, i) => (i < allowed ? 'hello' : 'cut'));
      assert.deepEqual(results, expected);
      assert.equal(await echo(modest, served), 'hello');
    }
  });

  it('P5 closes a connection on which hello after hello is refused', async () => {
    const [stranger, member] = await Promise.all([node(undefined), node(undefined, {})]);
    const closed = new Promise((resolve) => {
      stranger.host.libp2p.addEventListener('peer:disconnect', resolve, { once: true });
    });
    for (let i = 0; i < 3; i++) {
      await assert.rejects(stranger.gate.admit(addresses(member.host)), GateError);
    }
    await closed;
  });

  it('P24 resets a hello that is too long or no message', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    for (const bytes of [Buffer.alloc(10_000), Buffer.from('ffff', 'hex'), Buffer.alloc(0)]) {
      const protocol = b.gate.protocol('hello/1.0.0');
      const stream = await a.host.libp2p.dialProtocol(addresses(b.host), protocol);
      const frames = lpStream(stream);
      await frames.write(bytes);
      const answer = await frames
        .read({ signal: AbortSignal.timeout(30_000) })
        .catch(() => 'reset');
      if (answer !== 'reset') assert.ok(bytes.length === 0, 'only an empty hello is a message');
      assert.ok(!b.gate.isAdmitted(a.id));
    }
  });

  it('names the protocol, with its version, that a node of another version lacks', async () => {
    const a = await node(undefined, {});
    const later = cleanup.add(await listen((await identity()).key));
    const protocol = `/icvpn/${service.id}/hello`;
    await later.libp2p.handle(`${protocol}/2.0.0`, () => {});
    await assert.rejects(a.gate.admit(addresses(later)), (error) => {
      assert.ok(error instanceof GateError && error.code === 'ERR_UNREACHABLE');
      assert.ok(error.message.includes(`does not serve ${protocol}/1.0.0`), error.message);
      return true;
    });
  });

  it('gives typed errors for a node that is not there, and the caller’s own reason on abort', async () => {
    const [a, b] = await Promise.all([node(undefined, {}), node(undefined, {})]);
    const where = addresses(b.host);
    const reason = new Error('no longer wanted');
    await assert.rejects(a.gate.admit(where, { signal: AbortSignal.abort(reason) }), reason);
    await b.host.close();
    await assert.rejects(a.gate.admit(where), refusedAs('ERR_UNREACHABLE'));
    await a.gate.close();
    await assert.rejects(a.gate.admit(where), refusedAs('ERR_GATE_CLOSED'));
  });
});

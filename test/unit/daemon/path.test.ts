import assert from 'node:assert/strict';
import { PeerPath } from '../../../src/daemon/pair/path.ts';
import { checkPath, type PathProbe } from '../../../src/daemon/pair/path-check.ts';
import type { Path } from '../../../src/keymgmt/exchange/path.ts';

const DIRECT: Path = { why: 'direct', localNatted: false, peerNatted: false, udp: undefined };
const PORTS = { localPort: 4500, peerPort: 4501 };
const INSIDE: Path = { why: 'nat', localNatted: true, peerNatted: false, udp: PORTS };
const OUTSIDE: Path = { why: 'nat', localNatted: false, peerNatted: true, udp: PORTS };

const agreed = (path: Path): PeerPath => {
  const peer = new PeerPath();
  peer.agree(path);
  return peer;
};

describe('path to a peer', () => {
  it('follows the port of a peer behind a NAT, also with the keys that come next', () => {
    const path = agreed(OUTSIDE);
    assert.deepEqual(path.ports(OUTSIDE), { localPort: 4500, remotePort: 4501 });
    assert.ok(path.mapped(20_000));
    assert.ok(!path.mapped(20_000), 'nothing new');
    path.agree(OUTSIDE);
    assert.deepEqual(path.ports(OUTSIDE), { localPort: 4500, remotePort: 20_000 });
    assert.equal(path.view?.remotePort, 20_000);
    path.moved();
    assert.equal(path.ports(OUTSIDE)?.remotePort, 4501);
  });

  it('follows nobody from behind a NAT itself, and nothing where ESP goes as it is', () => {
    assert.ok(!agreed(INSIDE).mapped(20_000));
    assert.ok(!agreed(DIRECT).mapped(20_000));
    assert.ok(!new PeerPath().mapped(20_000));
    assert.ok(agreed({ ...INSIDE, peerNatted: true }).mapped(20_000), 'where both are');
  });

  it('waits for the port of a peer behind a NAT, and not for long', async () => {
    const path = agreed(OUTSIDE);
    let known = false;
    const waiting = path.portKnown(OUTSIDE, new AbortController().signal).then(() => {
      known = true;
    });
    await new Promise(setImmediate);
    assert.ok(!known);
    path.mapped(20_000);
    await waiting;
    await path.portKnown(OUTSIDE, new AbortController().signal); // known already
    await agreed(INSIDE).portKnown(INSIDE, new AbortController().signal);
    await agreed(OUTSIDE).portKnown(OUTSIDE, AbortSignal.timeout(5));
  });

  it('tells a NAT before this end that its mapping is in use, when nothing was sent for a while', () => {
    const path = agreed(INSIDE);
    assert.equal(path.keepalive(1n, 0), undefined);
    assert.equal(path.keepalive(1n, 17_999), undefined);
    assert.equal(path.keepalive(1n, 18_000), 4501);
    assert.equal(path.keepalive(1n, 20_000), undefined, 'just told');
    assert.equal(path.keepalive(2n, 35_000), undefined, 'a packet has told');
    assert.equal(path.keepalive(2n, 53_000), 4501);
    const outside = agreed(OUTSIDE);
    outside.keepalive(1n, 0);
    assert.equal(outside.keepalive(1n, 60_000), undefined, 'no NAT before this end');
  });

  it('gives ESP as it is up once where it does not pass, and has no other way than that', () => {
    const path = agreed(DIRECT);
    assert.ok(!path.blocked);
    assert.ok(path.found(false));
    assert.ok(path.blocked);
    assert.equal(path.view?.passes, false);
    assert.ok(!path.found(false), 'told once');
    path.moved();
    assert.ok(!path.blocked, 'elsewhere it may pass');
    for (const why of ['policy', 'no-udp', 'nat', 'blocked'] as const) {
      assert.ok(!agreed({ ...DIRECT, why }).found(false), why);
    }
    assert.ok(!agreed(DIRECT).found(true));
  });
});

describe('check whether packets arrive', () => {
  const check = (probe: PathProbe, before: number | undefined) =>
    checkPath(probe, before, new AbortController().signal, [2, 2, 2, 2]);
  /** A network that brings the nth packet, and one that sends none at all. */
  function network(brings: (n: number) => boolean, sends = true) {
    const seen = { touched: 0, received: 0, asked: 0 };
    const probe: PathProbe = {
      touch() {
        seen.touched++;
        if (brings(seen.touched)) seen.received++;
      },
      async received() {
        seen.asked++;
        return seen.received;
      },
      sent: async () => (sends ? BigInt(seen.touched) : 0n),
    };
    return { seen, probe };
  }

  it('is done with the first packet that arrived', async () => {
    const { seen, probe } = network(() => true);
    assert.equal(await check(probe, 0), 'passes');
    assert.deepEqual(seen, { touched: 1, received: 1, asked: 1 });
  });

  it('needs no packet of its own where others arrived', async () => {
    const { probe } = network(() => false);
    assert.equal(await check({ ...probe, received: async () => 7 }, 0), 'passes');
  });

  it('is not misled by what had arrived before, nor by one lost packet', async () => {
    const { seen, probe } = network((n) => n === 2);
    seen.received = 7;
    assert.equal(await check(probe, undefined), 'passes');
    assert.equal(seen.touched, 2);
  });

  it('says blocked where several packets left and none arrived', async () => {
    const { seen, probe } = network(() => false);
    assert.equal(await check(probe, 0), 'blocked');
    assert.equal(seen.touched, 5);
  });

  it('says nothing where none left, or where the peer has no such SA', async () => {
    const { probe } = network(() => false, false);
    assert.equal(await check(probe, 0), undefined);
    const gone = { ...probe, received: async () => undefined };
    assert.equal(await check(gone, undefined), undefined);
    assert.equal(await check(gone, 0), undefined);
  });

  it('waits for a peer that is about to have the SA', async () => {
    const { seen, probe } = network(() => true);
    const received = async () => (seen.asked++ === 0 ? undefined : seen.received);
    assert.equal(await check({ ...probe, received }, 0), 'passes');
  });

  it('ends with the signal', async () => {
    const { probe } = network(() => false);
    await assert.rejects(checkPath(probe, 0, AbortSignal.timeout(20)));
  });
});

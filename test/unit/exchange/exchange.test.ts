import assert from 'node:assert/strict';
import { wipeKeys } from '../../../src/keymgmt/exchange/context.ts';
import { CookieJar } from '../../../src/keymgmt/exchange/cookie.ts';
import { ExchangeError, type ExchangeFault } from '../../../src/keymgmt/exchange/errors.ts';
import { startExchange } from '../../../src/keymgmt/exchange/initiator.ts';
import { encodeFrame } from '../../../src/keymgmt/exchange/messages.ts';
import { readM1, respond } from '../../../src/keymgmt/exchange/responder.ts';
import type { Suite } from '../../../src/keymgmt/exchange/suite.ts';
import { contextOf, exchange, idOf, issue, newKey, newPair, SPI_A, SPI_B } from './fixture.ts';

const { a, b, service } = await newPair();

const fault = (expected: ExchangeFault) => (error: unknown) =>
  error instanceof ExchangeError && error.code === 'ERR_EXCHANGE' && error.fault === expected;

describe('exchange', () => {
  for (const suite of ['x25519', 'x25519-mlkem768'] satisfies Suite[]) {
    it(`gives both ends the same keys, crosswise (${suite})`, async () => {
      const run = await exchange({ ...a, suites: [suite] }, b);
      const { initiator, responder } = run;
      assert.equal(initiator.suite, suite);
      assert.equal(responder.suite, suite);
      assert.deepEqual(initiator.inbound, responder.outbound);
      assert.deepEqual(initiator.outbound, responder.inbound);
      assert.equal(initiator.inbound.spi, SPI_A);
      assert.equal(responder.inbound.spi, SPI_B);
      assert.deepEqual(initiator.transcriptHash, responder.transcriptHash);
      assert.ok(initiator.peerCredential.value.peerId.equals(a.peer));
      assert.ok(responder.peerCredential.value.peerId.equals(b.peer));
      assert.equal(initiator.inbound.key.length, 32);
      assert.equal(initiator.inbound.salt.length, 4);
      wipeKeys(initiator);
      assert.deepEqual(initiator.outbound.key, new Uint8Array(32));
      assert.notDeepEqual(responder.inbound.key, new Uint8Array(32));
    });
  }

  it('P16 never gives two directions or two runs the same key', async () => {
    const keys = new Set<string>();
    for (let n = 0; n < 10; n++) {
      const { initiator } = await exchange(a, b);
      for (const { key } of [initiator.inbound, initiator.outbound]) {
        keys.add(Buffer.from(key).toString('hex'));
      }
    }
    assert.equal(keys.size, 20);
  });

  it("takes the first of the responder's suites that is offered", async () => {
    const both: readonly Suite[] = ['x25519', 'x25519-mlkem768'];
    assert.equal((await exchange(a, { ...b, suites: both })).initiator.suite, 'x25519');
    assert.equal((await exchange({ ...a, suites: both }, b)).initiator.suite, 'x25519-mlkem768');
    await assert.rejects(
      exchange({ ...a, suites: ['x25519'] }, { ...b, suites: ['x25519-mlkem768'] }),
      fault('suite'),
    );
  });

  it('takes of each lifetime the lower', async () => {
    const run = await exchange(
      { ...a, lifetimes: { seconds: 60, bytes: 5000, packets: 10 } },
      { ...b, lifetimes: { seconds: 90, bytes: 4000, packets: 10 } },
    );
    assert.deepEqual(run.initiator.lifetimes, { seconds: 60, bytes: 4000, packets: 10 });
    assert.deepEqual(run.responder.lifetimes, run.initiator.lifetimes);
  });

  it('is refused before any cryptography for another service or epoch', async () => {
    const { m1 } = startExchange({ ...a, epoch: 4 }, { inboundSpi: SPI_A });
    assert.throws(() => readM1(b, m1), fault('epoch'));
    const other = startExchange({ ...a, serviceId: a.peer }, { inboundSpi: SPI_A });
    assert.throws(() => readM1(b, other.m1), fault('service'));
  });

  it('fails with another PSK at M2, and the responder learns nothing', async () => {
    await assert.rejects(exchange({ ...a, psk: new Uint8Array(32) }, b), fault('seal'));
  });

  it('refuses contexts that make no sense', () => {
    for (const change of [
      { psk: new Uint8Array(31) },
      { suites: [] },
      { lifetimes: { seconds: 0, bytes: 1, packets: 1 } },
      { peer: b.peer },
    ]) {
      assert.throws(() => startExchange({ ...a, ...change }, { inboundSpi: SPI_A }), RangeError);
    }
    for (const inboundSpi of [0, 255, 2 ** 32, 256.5]) {
      assert.throws(() => startExchange(a, { inboundSpi }), RangeError);
    }
  });

  it('each step can be taken once', async () => {
    const start = startExchange(a, { inboundSpi: SPI_A });
    const answer = respond(b, readM1(b, start.m1), { inboundSpi: SPI_B });
    const step = await start.next.onM2(answer.m2);
    assert.ok(step.kind === 'm3');
    await assert.rejects(start.next.onM2(answer.m2), fault('message'));
    await answer.next.onM3(step.m3);
    await assert.rejects(answer.next.onM3(step.m3), fault('message'));
  });

  it('tells the initiator why it was refused', async () => {
    const start = startExchange(a, { inboundSpi: SPI_A });
    await assert.rejects(
      start.next.onM2(encodeFrame({ refusal: 'collision' })),
      (error) =>
        fault('collision')(error) &&
        error instanceof ExchangeError &&
        error.refusal === 'collision',
    );
  });

  it('refuses a credential that does not hold, at either end', async () => {
    const key = a.identity.key;
    for (const change of [
      { epoch: 2 },
      { notBefore: 0, notAfter: 1 },
      { serviceId: a.peer },
      { peerId: a.peer },
    ]) {
      const credential = await issue(service, key, change);
      const bad = contextOf(service, { key, credential }, a.peer);
      await assert.rejects(exchange(bad, b), fault('credential'));
      await assert.rejects(exchange(b, bad), fault('credential'));
    }
    const stranger = { ...service, superPeer: await newKey() };
    const forged = contextOf(service, { key, credential: await issue(stranger, key) }, a.peer);
    await assert.rejects(exchange(forged, b), fault('credential'));
  });

  it("refuses a credential of another member even when the caller's check does not", async () => {
    const lenient = { ...b, verify: a.verify };
    const foreign = { ...a, identity: { ...a.identity, credential: b.identity.credential } };
    await assert.rejects(exchange(foreign, lenient), fault('credential'));
  });

  describe('cookies', () => {
    it('make the initiator repeat M1 and then go on', async () => {
      const jar = new CookieJar();
      const start = startExchange(a, { inboundSpi: SPI_A });
      const first = readM1(b, start.m1);
      assert.equal(jar.holds(b.peer, first.m1), false);
      const retry = await start.next.onM2(jar.challenge(b.peer, first.m1));
      assert.ok(retry.kind === 'cookie');
      const second = readM1(b, retry.m1);
      assert.equal(jar.holds(b.peer, second.m1), true);
      const answer = respond(b, second, { inboundSpi: SPI_B });
      const step = await start.next.onM2(answer.m2);
      assert.ok(step.kind === 'm3');
      const end = await answer.next.onM3(step.m3);
      step.confirm(end.m4);
      assert.deepEqual(end.keys.inbound, step.keys.outbound);
    });

    it('hold for one peer, one M1 and at most a minute', async () => {
      let now = 1000;
      const jar = new CookieJar({ now: () => now });
      const challenged = async (m1: Uint8Array, next: ReturnType<typeof startExchange>['next']) => {
        const step = await next.onM2(jar.challenge(b.peer, readM1(b, m1).m1));
        assert.ok(step.kind === 'cookie');
        return readM1(b, step.m1).m1;
      };
      const [one, two] = [0, 1].map(() => startExchange(a, { inboundSpi: SPI_A }));
      assert.ok(one && two);
      const m1 = await challenged(one.m1, one.next);
      const other = await challenged(two.m1, two.next);
      assert.equal(jar.holds(b.peer, m1), true);
      assert.equal(jar.holds(idOf(service.owner), m1), false);
      assert.equal(jar.holds(b.peer, { ...m1, cookie: other.cookie }), false);
      assert.equal(new CookieJar({ now: () => now }).holds(b.peer, m1), false);
      now += 30;
      assert.equal(jar.holds(b.peer, m1), true);
      now += 30;
      assert.equal(jar.holds(b.peer, m1), false);
    });

    it('are asked for once only', async () => {
      const jar = new CookieJar();
      const start = startExchange(a, { inboundSpi: SPI_A });
      const challenge = jar.challenge(b.peer, readM1(b, start.m1).m1);
      await start.next.onM2(challenge);
      await assert.rejects(start.next.onM2(challenge), fault('cookie'));
    });
  });
});

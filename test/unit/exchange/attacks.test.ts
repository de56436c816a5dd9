/** P13: what somebody on the path, a stranger or another member can try, at every message. */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import type { PrivateKey } from '@libp2p/interface';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { ExchangeContext } from '../../../src/keymgmt/exchange/context.ts';
import { CookieJar } from '../../../src/keymgmt/exchange/cookie.ts';
import { ExchangeError, type ExchangeFault } from '../../../src/keymgmt/exchange/errors.ts';
import { startExchange } from '../../../src/keymgmt/exchange/initiator.ts';
import { decodeFrame, encodeFrame, type M1 } from '../../../src/keymgmt/exchange/messages.ts';
import { systemRandomness } from '../../../src/keymgmt/exchange/primitives.ts';
import { readM1, respond } from '../../../src/keymgmt/exchange/responder.ts';
import {
  contextOf,
  exchange,
  idOf,
  issue,
  type MessageName,
  NOW,
  newKey,
  newPair,
  SPI_A,
  SPI_B,
  type Tamper,
} from './fixture.ts';
import { forgeM2, type Lies } from './forge.ts';

const { a, b, service } = await newPair();
const classical: ExchangeContext = { ...a, suites: ['x25519'] };
const NAMES: readonly MessageName[] = ['m1', 'm2', 'm3', 'm4'];

const fault =
  (...expected: ExchangeFault[]) =>
  (error: unknown): true => {
    assert.ok(error instanceof ExchangeError, String(error));
    assert.ok(expected.length === 0 || expected.includes(error.fault), error.stack);
    return true;
  };
const anyFault = fault();

const only =
  (name: MessageName, change: (bytes: Uint8Array) => Uint8Array): Tamper =>
  (at, bytes) =>
    at === name ? change(bytes) : bytes;

const flipped = (bytes: Uint8Array, at: number, bit: number): Uint8Array => {
  const copy = bytes.slice();
  copy[at] = (copy[at] ?? 0) ^ (1 << bit);
  return copy;
};

const altered = (change: (m1: M1) => Partial<M1>): Tamper =>
  only('m1', (raw) => {
    const { m1 } = decodeFrame(raw, ['m1']);
    assert.ok(m1);
    return encodeFrame({ m1: { ...m1, ...change(m1) } });
  });

/** Another member of the service, who knows the PSK. */
const mallory = await newKey();
const malloryIdentity = { key: mallory, credential: await issue(service, mallory) };

describe('P13 the exchange resists', () => {
  const whole = exchange(classical, b);

  for (const [suite, initiator] of [
    ['x25519', classical],
    ['x25519-mlkem768', a],
  ] as const) {
    const untouched = exchange(initiator, b);

    for (const name of NAMES) {
      it(`a flipped bit in any byte of ${name}: ${suite}`, async () => {
        const { length } = (await untouched).messages[name];
        for (let at = 0; at < length; at++) {
          const bit = at % 8;
          const tamper = only(name, (bytes) => flipped(bytes, at, bit));
          await assert.rejects(exchange(initiator, b, tamper), anyFault, `byte ${at}, bit ${bit}`);
        }
      });

      it(`${name} cut after any byte, or longer: ${suite}`, async () => {
        const { length } = (await untouched).messages[name];
        for (let end = 0; end < length; end++) {
          const tamper = only(name, (bytes) => bytes.subarray(0, end));
          await assert.rejects(exchange(initiator, b, tamper), fault('message'), `cut at ${end}`);
        }
        const longer = only(name, (bytes) => Uint8Array.from([...bytes, 0]));
        await assert.rejects(exchange(initiator, b, longer), fault('message'));
      });
    }
  }

  describe('a man in the middle', () => {
    it('with shares of his own', async () => {
      const share = systemRandomness.x25519().share;
      await assert.rejects(
        exchange(
          a,
          b,
          altered(() => ({ x25519: share })),
        ),
        fault('seal'),
      );
    });

    it('who ends both legs himself, as a member, with the PSK and the credential of the other', async () => {
      const { m1 } = startExchange(classical, { inboundSpi: SPI_A });
      const asB = contextOf(service, malloryIdentity, idOf(a.identity.key));
      for (const credential of [malloryIdentity.credential, b.identity.credential]) {
        const start = startExchange(classical, { inboundSpi: SPI_A });
        const posing = impersonating(b, mallory, {
          ...asB,
          identity: { key: mallory, credential },
        });
        await assert.rejects(start.next.onM2(forgeM2(posing, start.m1, {})), fault('signature'));
      }
      // Without posing: his own name is not the one that Noise proved.
      const honest = respond(asB, readM1(asB, m1), { inboundSpi: SPI_B });
      const start = startExchange(classical, { inboundSpi: SPI_A });
      await assert.rejects(start.next.onM2(honest.m2), fault('seal'));
    });

    it('who poses as the initiator', async () => {
      const posing = impersonating(a, mallory, { ...classical });
      await assert.rejects(exchange(posing, b), fault('signature'));
    });
  });

  describe('identity misbinding', () => {
    it('by passing the messages on over a connection of his own', async () => {
      // B believes to talk with Mallory, A with B: each message is passed on as it is.
      const toMallory = contextOf(service, b.identity, idOf(mallory));
      await assert.rejects(exchange(classical, toMallory), fault('seal'));
      const fromMallory = contextOf(service, a.identity, idOf(mallory));
      await assert.rejects(exchange(fromMallory, b), fault('seal'));
    });

    it('by a proof about another run, of another role, or under another key', async () => {
      const lies: [Lies, ExchangeFault][] = [
        [{ role: 'initiator' }, 'mac'],
        [{ transcript: new Uint8Array(32) }, 'mac'],
        [{ mac: (mac) => flipped(mac, 0, 0) }, 'mac'],
        [{ signature: (signature) => flipped(signature, 0, 0) }, 'signature'],
        [{ signature: () => new Uint8Array(64) }, 'signature'],
        [{ spi: 0 }, 'spi'],
        [{ spi: 255 }, 'spi'],
        [{ plain: (plain) => plain.subarray(1) }, 'message'],
        [{ plain: (plain) => Uint8Array.from([...plain, 0]) }, 'message'],
        [{ plain: () => new Uint8Array() }, 'message'],
      ];
      for (const [lie, expected] of lies) {
        const start = startExchange(classical, { inboundSpi: SPI_A });
        await assert.rejects(start.next.onM2(forgeM2(b, start.m1, lie)), fault(expected));
      }
      // The forger is no fool: without lies it is believed.
      const start = startExchange(classical, { inboundSpi: SPI_A });
      assert.equal((await start.next.onM2(forgeM2(b, start.m1, {}))).kind, 'm3');
    });
  });

  describe('reflection', () => {
    it('of a message to its sender', async () => {
      const start = startExchange(classical, { inboundSpi: SPI_A });
      await assert.rejects(start.next.onM2(start.m1), fault('message'));
      const { messages } = await whole;
      const answer = respond(b, readM1(b, messages.m1), { inboundSpi: SPI_B });
      await assert.rejects(answer.next.onM3(answer.m2), fault('message'));
    });

    it('of M3 as M4', async () => {
      const start = startExchange(classical, { inboundSpi: SPI_A });
      const answer = respond(b, readM1(b, start.m1), { inboundSpi: SPI_B });
      const step = await start.next.onM2(answer.m2);
      assert.ok(step.kind === 'm3');
      assert.throws(() => step.confirm(step.m3), fault('message'));
    });

    it('of M1 to a second run of its sender, whose M2 comes back', async () => {
      // A answers to "B"; the attacker hands A's own M1 to it.
      const start = startExchange(classical, { inboundSpi: SPI_A });
      const mirror = respond(classical, readM1(classical, start.m1), { inboundSpi: SPI_A + 1 });
      await assert.rejects(start.next.onM2(mirror.m2), fault('seal'));
    });

    it("of one end's sealed proof as the other's", async () => {
      const { messages } = await whole;
      const { m2 } = decodeFrame(messages.m2, ['m2']);
      assert.ok(m2);
      const start = startExchange(classical, { inboundSpi: SPI_A });
      const answer = respond(b, readM1(b, start.m1), { inboundSpi: SPI_B });
      const back = decodeFrame(answer.m2, ['m2']).m2;
      assert.ok(back);
      const asM3 = encodeFrame({ m3: { sealed: back.sealed } });
      await assert.rejects(answer.next.onM3(asM3), fault('seal'));
    });
  });

  describe('replay', () => {
    for (const name of ['m2', 'm3', 'm4'] as const) {
      it(`of ${name} of an earlier run`, async () => {
        const old = (await whole).messages[name];
        await assert.rejects(
          exchange(
            classical,
            b,
            only(name, () => old),
          ),
          fault(name === 'm4' ? 'finished' : 'seal'),
        );
      });
    }

    it('of M1: other keys, and no use without its ephemeral key', async () => {
      const { messages } = await whole;
      const [one, two] = [0, 1].map(() =>
        respond(b, readM1(b, messages.m1), { inboundSpi: SPI_B }),
      );
      assert.notDeepEqual(one?.m2, two?.m2);
      await assert.rejects(one?.next.onM3(messages.m3) ?? Promise.resolve(), fault('seal'));
    });

    it('of messages of a run that goes on at the same time', async () => {
      const [one, two] = [0, 1].map(() => startExchange(classical, { inboundSpi: SPI_A }));
      assert.ok(one && two);
      const answerOne = respond(b, readM1(b, one.m1), { inboundSpi: SPI_B });
      const answerTwo = respond(b, readM1(b, two.m1), { inboundSpi: SPI_B });
      const step = await one.next.onM2(answerOne.m2);
      assert.ok(step.kind === 'm3');
      await assert.rejects(answerTwo.next.onM3(step.m3), fault('seal'));
      await assert.rejects(two.next.onM2(answerOne.m2), fault('seal'));
    });
  });

  describe('shares that force a known secret', () => {
    // The points of small order, canonical and not (RFC 7748, section 6.1).
    const P = 2n ** 255n - 19n;
    const points = [
      0n,
      1n,
      P - 1n,
      P,
      P + 1n,
      325606250916557431795983626356110631294008115727848805560023387167927233504n,
      39382357235489614581723060781553021112529911719440698176882885853963445705823n,
    ].map((u) => Uint8Array.from({ length: 32 }, (_, n) => Number((u >> BigInt(8 * n)) & 255n)));

    for (const [n, point] of points.entries()) {
      it(`X25519 point ${n} of low order, in M1 and in M2, also with the top bit set`, async () => {
        for (const share of [point, flipped(point, 31, 7)]) {
          await assert.rejects(
            exchange(
              a,
              b,
              altered(() => ({ x25519: share })),
            ),
            fault('share'),
          );
          const start = startExchange(classical, { inboundSpi: SPI_A });
          const m2 = forgeM2(b, start.m1, { hello: { x25519: share } });
          await assert.rejects(start.next.onM2(m2), fault('share'));
        }
      });
    }

    it('ML-KEM keys with coefficients above the modulus', async () => {
      const { publicKey } = ml_kem768.keygen();
      for (const at of [0, 3, 600, 1149]) {
        const bad = publicKey.slice();
        bad.fill(0xff, at, at + 3);
        await assert.rejects(
          exchange(
            a,
            b,
            altered(() => ({ mlkem768: bad })),
          ),
          fault('share'),
        );
      }
    });

    it('ML-KEM ciphertexts that are altered: another secret, which nothing opens', async () => {
      const tamper = only('m2', (raw) => {
        const { m2 } = decodeFrame(raw, ['m2']);
        assert.ok(m2?.hello.mlkem768);
        const mlkem768 = flipped(m2.hello.mlkem768, 500, 3);
        return encodeFrame({ m2: { ...m2, hello: { ...m2.hello, mlkem768 } } });
      });
      await assert.rejects(exchange(a, b, tamper), fault('seal'));
    });
  });

  it('who has stolen the key of one end and poses as the other to it', async () => {
    // Key compromise impersonation: Mallory has B's key, credential and the PSK, not A's key.
    const posing = impersonating(a, b.identity.key, { ...classical });
    await assert.rejects(exchange(posing, b), fault('signature'));
    // The other way: she has A's key and answers A as B.
    const asB = impersonating(b, a.identity.key, { ...b });
    const start = startExchange(classical, { inboundSpi: SPI_A });
    await assert.rejects(start.next.onM2(forgeM2(asB, start.m1, {})), fault('signature'));
  });

  describe('who is no member', () => {
    it('without the PSK, whichever end', async () => {
      const wrong = { psk: new Uint8Array(32).fill(1) };
      await assert.rejects(exchange({ ...a, ...wrong }, b), fault('seal'));
      await assert.rejects(exchange(a, { ...b, ...wrong }), fault('seal'));
    });

    it('in another epoch', async () => {
      await assert.rejects(exchange({ ...a, epoch: 4 }, b), fault('epoch'));
      await assert.rejects(exchange(a, { ...b, epoch: 4 }), fault('epoch'));
    });

    for (const [what, change] of [
      ['expired', { notBefore: NOW - 9000, notAfter: NOW - 5000 }],
      ['not yet valid', { notBefore: NOW + 5000, notAfter: NOW + 9000 }],
      ['for another service', { serviceId: a.peer }],
      ['of the epoch before', { epoch: service.epoch - 1 }],
      ['for a foreign IPv4 address (P26)', { ipv4: '8.8.8.8' }],
      ['for a foreign IPv6 address (P26)', { ipv6: 'fd00::1' }],
    ] as const) {
      it(`with a credential that is ${what}, whichever end`, async () => {
        const { key } = b.identity;
        const bad = { ...b, identity: { key, credential: await issue(service, key, change) } };
        await assert.rejects(exchange(bad, a), fault('credential'));
        await assert.rejects(exchange(a, bad), fault('credential'));
      });
    }

    it('with a credential of somebody else, or signed by nobody who may', async () => {
      const { key } = b.identity;
      const forger = { ...service, superPeer: await newKey() };
      for (const credential of [a.identity.credential, await issue(forger, key)]) {
        const bad = { ...b, identity: { key, credential } };
        await assert.rejects(exchange(bad, a), fault('credential'));
        await assert.rejects(exchange(a, bad), fault('credential'));
      }
    });
  });

  describe('downgrade', () => {
    it('by striking the better suite from M1', async () => {
      const strike = altered(() => ({ suites: [1], mlkem768: undefined }));
      await assert.rejects(exchange(a, b, strike), fault('seal'));
      const reorder = altered((m1) => ({ suites: m1.suites.toReversed() }));
      await assert.rejects(exchange(a, b, reorder), fault('seal'));
    });

    it('by answering with a suite that was not offered', async () => {
      const start = startExchange(classical, { inboundSpi: SPI_A });
      for (const suite of [0, 2, 3]) {
        const m2 = forgeM2(b, start.m1, { hello: { suite } });
        const fresh = startExchange(classical, { inboundSpi: SPI_A });
        await assert.rejects(fresh.next.onM2(m2), fault('suite'));
      }
      const hybrid = startExchange(a, { inboundSpi: SPI_A });
      const m2 = forgeM2(b, hybrid.m1, { hello: { suite: 2 } });
      await assert.rejects(hybrid.next.onM2(m2), fault('message'));
    });

    it('of the lifetimes, up or down, in M1 or M2', async () => {
      for (const change of [{ seconds: 1 }, { bytes: 1 }, { packets: 2 ** 50 }]) {
        const inM1 = altered((m1) => ({ lifetimes: { ...m1.lifetimes, ...change } }));
        await assert.rejects(exchange(a, b, inM1), fault('seal'));
        const inM2 = only('m2', (raw) => {
          const { m2 } = decodeFrame(raw, ['m2']);
          assert.ok(m2);
          const lifetimes = { ...m2.hello.lifetimes, ...change };
          return encodeFrame({ m2: { ...m2, hello: { ...m2.hello, lifetimes } } });
        });
        await assert.rejects(exchange(a, b, inM2), fault('seal', 'lifetimes'));
      }
      // A responder that is believed in all else cannot lengthen them either.
      for (const change of [{ seconds: 1e9 }, { bytes: 0 }]) {
        const start = startExchange(classical, { inboundSpi: SPI_A });
        const lifetimes = { ...b.lifetimes, ...change };
        const m2 = forgeM2(b, start.m1, { hello: { lifetimes } });
        await assert.rejects(start.next.onM2(m2), fault('lifetimes'));
      }
    });

    it('of ESP, as it is or in UDP, in M1 or M2', async () => {
      const port = { udpPort: 4501 };
      for (const change of [{ policy: 'esp' }, { policy: 'udp' }, { blocked: 1 }, port] as const) {
        const inM1 = altered((m1) => ({ path: { ...m1.path, ...change } }));
        await assert.rejects(exchange(a, b, inM1), fault('seal'));
      }
      for (const change of [{ why: 'nat' }, { natted: 1 }, { udpPort: 4500 }] as const) {
        const inM2 = only('m2', (raw) => {
          const { m2 } = decodeFrame(raw, ['m2']);
          assert.ok(m2);
          const path = { ...m2.hello.path, ...change };
          return encodeFrame({ m2: { ...m2, hello: { ...m2.hello, path } } });
        });
        await assert.rejects(exchange(a, b, inM2), fault('seal'));
      }
      // A responder that is believed in all else chooses only what was offered.
      for (const [policy, udpPort] of [
        ['esp', 4500],
        ['udp', undefined],
      ] as const) {
        const own = { ...classical, path: { ...classical.path, policy } };
        const start = startExchange(own, { inboundSpi: SPI_A });
        const path = { why: 'policy', natted: 0, udpPort } as const;
        const m2 = forgeM2(b, start.m1, { hello: { path } });
        await assert.rejects(start.next.onM2(m2), fault('path'));
      }
    });

    it('to another version', async () => {
      const older = altered(() => ({ version: 0 }));
      await assert.rejects(exchange(a, b, older), fault('version'));
    });

    it('by offers whose shares do not fit', async () => {
      for (const change of [{ suites: [1] }, { mlkem768: undefined }, { suites: [] }]) {
        await assert.rejects(
          exchange(
            a,
            b,
            altered(() => change),
          ),
          fault('message', 'suite'),
        );
      }
    });
  });

  it('P23 its own errors: they hold no secret', async () => {
    const secrets = [service.psk, a.identity.key.raw, b.identity.key.raw];
    const errors: unknown[] = [];
    const note = (error: unknown): void => {
      errors.push(error);
    };
    for (const name of NAMES) {
      for (const at of [2, 60, 100]) {
        const tamper = only(name, (bytes) => flipped(bytes, at % bytes.length, 1));
        await exchange(classical, b, tamper).catch(note);
      }
    }
    await exchange({ ...a, psk: service.psk.subarray(1) }, b).catch(note);
    assert.equal(errors.length, 13);
    for (const error of errors) {
      const shown = inspect(error, { depth: null, showHidden: true, maxArrayLength: null });
      for (const secret of secrets) {
        const raw = Buffer.from(secret.subarray(0, 8));
        for (const form of [
          raw.toString('hex'),
          raw.toString('base64').slice(0, 10),
          [...raw].join(', '),
        ]) {
          assert.equal(shown.includes(form), false, shown);
        }
        assert.equal(/Uint8Array|Buffer/.test(shown), false, shown);
      }
    }
  });

  describe('what comes in clear in the place of M2', () => {
    const jar = new CookieJar();
    /** Whether M1 brings a good cookie after a challenge that somebody has changed. */
    const cookieHolds = async (change: (frame: Uint8Array) => Uint8Array): Promise<boolean> => {
      const start = startExchange(classical, { inboundSpi: SPI_A });
      const { m1 } = readM1(b, start.m1);
      const step = await start.next.onM2(change(jar.challenge(b.peer, m1)));
      assert.ok(step.kind === 'cookie');
      return jar.holds(b.peer, readM1(b, step.m1).m1);
    };

    it('a cookie with a flipped bit in any byte, or cut after any: no cookie', async () => {
      assert.equal(await cookieHolds((frame) => frame), true);
      const { length } = jar.challenge(b.peer, readM1(b, (await whole).messages.m1).m1);
      for (let at = 0; at < length; at++) {
        const held = cookieHolds((frame) => flipped(frame, at, at % 8));
        assert.ok(!(await held.catch((error) => !anyFault(error))), `byte ${at}`);
        await assert.rejects(
          cookieHolds((frame) => frame.subarray(0, at)),
          fault('message'),
        );
      }
    });

    it('a cookie of another run: worth nothing', async () => {
      const other = startExchange(classical, { inboundSpi: SPI_A });
      const old = jar.challenge(b.peer, readM1(b, other.m1).m1);
      assert.equal(await cookieHolds(() => old), false);
    });

    it('a refusal, whole or damaged: the run ends, and nothing else', async () => {
      const refusal = encodeFrame({ refusal: 'overload' });
      for (let at = 0; at < 8 * refusal.length; at++) {
        const bytes = flipped(refusal, at >> 3, at & 7);
        await assert.rejects(
          cookieHolds(() => bytes),
          anyFault,
        );
      }
      const { messages } = await whole;
      const start = startExchange(classical, { inboundSpi: SPI_A });
      await assert.rejects(start.next.onM2(refusal), fault('overload'));
      await assert.rejects(start.next.onM2(messages.m2), fault('message'));
    });
  });

  it('a cookie that somebody puts in or takes out', async () => {
    const cookie = new Uint8Array(36);
    await assert.rejects(
      exchange(
        a,
        b,
        altered(() => ({ cookie })),
      ),
      fault('seal'),
    );
  });
});

/** `context` under the name of `victim`, signing with a key that is not the victim's. */
function impersonating(
  victim: ExchangeContext,
  thief: PrivateKey,
  context: ExchangeContext,
): ExchangeContext {
  const { publicKey } = victim.identity.key;
  const key: PrivateKey = Object.create(thief, { publicKey: { value: publicKey } });
  return { ...context, identity: { ...context.identity, key } };
}

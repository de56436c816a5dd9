import assert from 'node:assert/strict';
import { ExchangeError } from '../../../src/keymgmt/exchange/errors.ts';
import {
  acceptable,
  choosePath,
  type PathOffer,
  pathChoiceCodec,
  pathOf,
  pathOfferCodec,
} from '../../../src/keymgmt/exchange/path.ts';
import { exchange, newPair, PATH_A, PATH_B } from './fixture.ts';

/** As B sees A when A is behind a NAT, and the other way round. */
const SEES_NAT_A: PathOffer = { ...PATH_B, seen: '198.51.100.1' };
const SEES_NAT_B: PathOffer = { ...PATH_A, seen: '203.0.113.1' };

describe('path of ESP', () => {
  it('is ESP as it is where both ends are seen at addresses that they have', () => {
    const choice = { why: 'direct', natted: 0, udpPort: undefined };
    assert.deepEqual(choosePath(PATH_A, PATH_B), choice);
    const several = { ...PATH_A, addresses: ['10.0.0.1', '192.0.2.1', '2001:db8::1'] };
    assert.deepEqual(choosePath(several, PATH_B), choice);
    assert.deepEqual(choosePath({ ...PATH_A, seen: undefined }, PATH_B), choice);
  });

  it('is ESP in UDP where an end is behind a NAT, and says which', () => {
    assert.deepEqual(choosePath(PATH_A, SEES_NAT_A), { why: 'nat', natted: 1, udpPort: 4500 });
    assert.deepEqual(choosePath(SEES_NAT_B, PATH_B), { why: 'nat', natted: 2, udpPort: 4500 });
    assert.deepEqual(choosePath(SEES_NAT_B, SEES_NAT_A), { why: 'nat', natted: 3, udpPort: 4500 });
  });

  it('is ESP in UDP where either end found that ESP does not pass', () => {
    const choice = { why: 'blocked', natted: 0, udpPort: 4500 };
    assert.deepEqual(choosePath({ ...PATH_A, blocked: 1 }, PATH_B), choice);
    assert.deepEqual(choosePath(PATH_A, { ...PATH_B, blocked: 1 }), choice);
  });

  it('follows the policy of either end, and none where they contradict each other', () => {
    for (const [one, other] of [
      [PATH_A, PATH_B],
      [PATH_B, PATH_A],
    ] as const) {
      const [esp, udp] = [
        { ...one, policy: 'esp' },
        { ...one, policy: 'udp' },
      ] as const;
      const asItIs = { why: 'policy', natted: 0, udpPort: undefined };
      assert.deepEqual(choosePath(esp, { ...other, blocked: 1 }), asItIs);
      assert.deepEqual(choosePath({ ...other, blocked: 1 }, esp), asItIs);
      assert.deepEqual(choosePath(udp, other), { why: 'policy', natted: 0, udpPort: 4500 });
      assert.equal(choosePath(udp, { ...other, policy: 'esp' }), undefined);
    }
  });

  it('is no ESP in UDP where an end has no port for it', () => {
    const without = { ...PATH_A, udpPort: undefined };
    const choice = { why: 'no-udp', natted: 1, udpPort: undefined };
    assert.deepEqual(choosePath(without, SEES_NAT_A), choice);
    assert.equal(choosePath(without, { ...PATH_B, policy: 'udp' }), undefined);
  });

  it('is taken by the initiator only where it was offered', () => {
    const inUdp = { why: 'nat', natted: 1, udpPort: 4500 } as const;
    const asItIs = { ...inUdp, udpPort: undefined };
    assert.ok(acceptable(inUdp, PATH_A) && acceptable(asItIs, PATH_A));
    assert.ok(!acceptable(inUdp, { ...PATH_A, policy: 'esp' }));
    assert.ok(!acceptable(inUdp, { ...PATH_A, udpPort: undefined }));
    assert.ok(!acceptable(asItIs, { ...PATH_A, policy: 'udp' }));
  });

  it('is the same at both ends of an exchange, each as it sees it', async () => {
    const { a, b } = await newPair();
    const path = { ...SEES_NAT_A, udpPort: 4600 };
    const { initiator, responder } = await exchange(a, { ...b, path });
    const common = { why: 'nat' } as const;
    assert.deepEqual(initiator.path, {
      ...{ ...common, localNatted: true, peerNatted: false },
      udp: { localPort: 4500, peerPort: 4600 },
    });
    assert.deepEqual(responder.path, {
      ...{ ...common, localNatted: false, peerNatted: true },
      udp: { localPort: 4600, peerPort: 4500 },
    });
    const direct = pathOf({ why: 'direct', natted: 0, udpPort: undefined }, 'initiator', PATH_A, 1);
    assert.equal(direct.udp, undefined);
  });

  it('ends the exchange where the two ends do not agree', async () => {
    const { a, b } = await newPair();
    const [esp, udp] = [
      { ...a, path: { ...PATH_A, policy: 'esp' as const } },
      { ...b, path: { ...PATH_B, policy: 'udp' as const } },
    ];
    await assert.rejects(
      exchange(esp, udp),
      (error) => error instanceof ExchangeError && error.fault === 'path',
    );
  });

  it('P24 is read within its bounds', () => {
    const bad = [
      { ...PATH_A, addresses: Array(17).fill('192.0.2.1') },
      { ...PATH_A, udpPort: 0x1_0000 },
      { ...PATH_A, blocked: 2 },
    ];
    for (const offer of bad) assert.throws(() => pathOfferCodec.encode(offer), RangeError);
    const good = pathOfferCodec.encode(PATH_A);
    assert.deepEqual(pathOfferCodec.decode(good), PATH_A);
    // Its first field is the policy: 0 and 4 are none.
    for (const policy of [0, 4]) {
      assert.throws(() => pathOfferCodec.decode(good.with(1, policy)), { code: 'ERR_DECODE' });
    }
    const choice = { why: 'nat', natted: 3, udpPort: 1 } as const;
    const encoded = pathChoiceCodec.encode(choice);
    assert.throws(() => pathChoiceCodec.decode(encoded.with(3, 4)), { code: 'ERR_DECODE' });
    assert.throws(() => pathChoiceCodec.decode(encoded.with(5, 0)), { code: 'ERR_DECODE' });
  });
});

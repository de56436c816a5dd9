import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import fc from 'fast-check';
import { BootstrapError, formatBootstrap, parseBootstrap } from '../../../src/records/bootstrap.ts';

const id = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
const json = {
  icvpn: 1,
  serviceId: id.toString(),
  name: 'shop',
  superPeers: [`/ip4/192.0.2.1/tcp/4242/p2p/${id}`],
  secret: 'icvpn1-abc',
};

describe('bootstrap data', () => {
  it('reads what it wrote', () => {
    for (const extra of [{}, { descriptor: 'AAEC' }, { ipv4: '198.18.0.0/16' }]) {
      const text = JSON.stringify({ ...json, ...extra });
      const parsed = parseBootstrap(text);
      assert.ok(parsed.superPeers[0]?.peerId.equals(id));
      assert.deepEqual(JSON.parse(formatBootstrap(parsed)), JSON.parse(text));
    }
  });

  for (const [what, change, names] of [
    ['an unknown field', { secrt: 'x' }, /"secrt"/],
    ['another version', { icvpn: 2 }, /"icvpn"/],
    ['no super-peer', { superPeers: [] }, /"superPeers"/],
    ['a super-peer without PeerID', { superPeers: ['/ip4/192.0.2.1/tcp/1'] }, /\/p2p\//],
    ['a super-peer that is no multiaddr', { superPeers: ['192.0.2.1'] }, /"superPeers"/],
    ['a bad ServiceID', { serviceId: 'shop' }, /"serviceId"/],
    ['an empty secret', { secret: '' }, /"secret"/],
    ['a bad descriptor', { descriptor: '!' }, /"descriptor"/],
    ['a bad prefix', { ipv4: '198.18.0.1/16' }, /"ipv4"/],
    ['a prefix that is too small', { ipv4: '198.18.0.0/28' }, /"ipv4"/],
  ] as const) {
    it(`P22 with ${what} is refused by name`, () => {
      assert.throws(
        () => parseBootstrap(JSON.stringify({ ...json, ...change })),
        (error) => error instanceof BootstrapError && names.test(error.message),
      );
    });
  }

  it('P23 that is not JSON is refused without quoting it', () => {
    assert.throws(
      () => parseBootstrap(JSON.stringify(json).slice(0, -1)),
      (error) => error instanceof BootstrapError && !error.message.includes('icvpn1-abc'),
    );
  });

  it('P24 of any shape gives a BootstrapError or parses', () => {
    const changed = fc
      .dictionary(fc.constantFrom(...Object.keys(json), 'other'), fc.jsonValue())
      .map((change) => JSON.stringify({ ...json, ...change }));
    const value = fc.oneof(changed, fc.json(), fc.string());
    fc.assert(
      fc.property(value, (text) => {
        try {
          parseBootstrap(text);
        } catch (error) {
          assert.ok(error instanceof BootstrapError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

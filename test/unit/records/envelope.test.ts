import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { RecordEnvelope } from '@libp2p/peer-record';
import fc from 'fast-check';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { ENDPOINT, type Endpoint } from '../../../src/records/endpoint.ts';
import { EnvelopeError, open, openWithin, seal } from '../../../src/records/envelope.ts';
import { openCard, SUPER_PEER_CARD } from '../../../src/records/super-peer-card.ts';

const key = await generateKeyPair('Ed25519');
const id = peerIdFromPrivateKey(key);
const endpoint: Endpoint = {
  serviceId: id,
  peerId: id,
  sequence: 7,
  notAfter: 1_800_000_000,
  multiaddrs: [parseTcpMultiaddr('/ip4/10.0.0.1/tcp/4001')],
  underlay: ['10.0.0.1', 'fd00::1'],
};

const text = new TextEncoder();
/** The same document, sealed by libp2p. */
async function libraryEnvelope(by: PrivateKey): Promise<Uint8Array> {
  const record = {
    domain: 'icvpn endpoint 1',
    codec: text.encode('/icvpn/endpoint/1'),
    marshal: () => ENDPOINT.codec.encode(endpoint),
    equals: () => false,
  };
  return (await RecordEnvelope.seal(record, by)).marshal();
}

describe('signed envelopes', () => {
  it('open to what was sealed, and say who signed', async () => {
    const opened = await open(ENDPOINT, await seal(ENDPOINT, endpoint, key));
    assert.ok(opened.signer.equals(id));
    assert.deepEqual(opened.value.underlay, endpoint.underlay);
    assert.equal(opened.value.sequence, 7);
  });

  it('are the libp2p envelopes that the library itself makes and certifies', async () => {
    const sealed = await seal(ENDPOINT, endpoint, key);
    assert.deepEqual(sealed, await libraryEnvelope(key));
    const envelope = await RecordEnvelope.openAndCertify(sealed, 'icvpn endpoint 1');
    assert.ok(envelope.publicKey.equals(key.publicKey));
  });

  it('within a document of the same signer open without their signature; of another they do not', async () => {
    const sealed = await seal(ENDPOINT, endpoint, key);
    const unsigned = sealed.map((byte, i) => (i === sealed.length - 1 ? byte ^ 1 : byte));
    const other = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
    assert.deepEqual(
      openWithin(ENDPOINT, unsigned, id)?.value,
      (await open(ENDPOINT, sealed)).value,
    );
    assert.equal(openWithin(ENDPOINT, sealed, other), undefined);
    assert.throws(() => openWithin(SUPER_PEER_CARD, sealed, id), EnvelopeError);
    assert.throws(() => openWithin(ENDPOINT, sealed.subarray(1), id), EnvelopeError);
  });

  it('P24 with any byte changed, cut or added do not open', async () => {
    const sealed = await seal(ENDPOINT, endpoint, key);
    const change = fc.oneof(
      fc
        .record({ at: fc.nat(sealed.length - 1), xor: fc.integer({ min: 1, max: 255 }) })
        .map(({ at, xor }) => sealed.map((byte, i) => (i === at ? byte ^ xor : byte))),
      fc.nat(sealed.length - 1).map((length) => sealed.slice(0, length)),
      fc
        .uint8Array({ minLength: 1, maxLength: 9 })
        .map((tail) => Uint8Array.of(...sealed, ...tail)),
    );
    await fc.assert(
      fc.asyncProperty(change, (bytes) => assert.rejects(open(ENDPOINT, bytes), EnvelopeError)),
      { numRuns: 500 },
    );
  });

  it('of one kind do not open as another', async () => {
    const sealed = await seal(ENDPOINT, endpoint, key);
    await assert.rejects(open(SUPER_PEER_CARD, sealed), EnvelopeError);
  });

  it('signed by another kind of key do not open', async () => {
    for (const kind of ['secp256k1', 'ECDSA'] as const) {
      const other = await generateKeyPair(kind);
      await assert.rejects(open(ENDPOINT, await libraryEnvelope(other)), /not Ed25519/);
      await assert.rejects(seal(ENDPOINT, endpoint, other), TypeError);
    }
  });

  it('over the size limit are neither made nor taken', async () => {
    const small = { ...ENDPOINT, maxLength: 100 };
    await assert.rejects(seal(small, endpoint, key), RangeError);
    await assert.rejects(open(small, await seal(ENDPOINT, endpoint, key)), EnvelopeError);
  });

  it('P7 a card names its own signer or is refused', async () => {
    const card = { peerId: id, sealingKey: new Uint8Array(32), multiaddrs: [] };
    const other = await generateKeyPair('Ed25519');
    assert.ok((await openCard(await seal(SUPER_PEER_CARD, card, key))).signer.equals(id));
    await assert.rejects(seal(SUPER_PEER_CARD, card, other).then(openCard), EnvelopeError);
  });
});

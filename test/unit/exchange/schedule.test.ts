import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { finalKeys, handshakeSecret } from '../../../src/keymgmt/exchange/schedule.ts';

const zeros = new Uint8Array(32);

describe('key schedule', () => {
  it('P23 overwrites the shared secrets that it was given, and leaves the PSK', () => {
    const [psk, ...secrets] = [randomBytes(32), randomBytes(32), randomBytes(32)];
    const before = Buffer.from(psk);
    const handshake = handshakeSecret(psk, secrets);
    for (const secret of secrets) assert.deepEqual(Uint8Array.from(secret), zeros);
    assert.deepEqual(psk, before);
    assert.notDeepEqual(Uint8Array.from(handshake), zeros);
  });

  it('P23 overwrites the handshake secret when the keys are made', async () => {
    const [initiator, responder] = await Promise.all(
      ['a', 'b'].map(async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519'))),
    );
    assert.ok(initiator && responder);
    const handshake = Uint8Array.from(randomBytes(32));
    const keys = finalKeys(handshake, { initiator, responder }, randomBytes(32));
    assert.deepEqual(handshake, zeros);
    assert.notDeepEqual(Uint8Array.from(keys.initiatorToResponder.key), zeros);
  });
});

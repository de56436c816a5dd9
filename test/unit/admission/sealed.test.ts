import assert from 'node:assert/strict';
import { SealedSecretsError } from '../../../src/admission/errors.ts';
import {
  type AdmissionSecrets,
  generateSealingKey,
  makeAdmissionSecrets,
  openSealedSecrets,
  sealSecrets,
} from '../../../src/admission/sealed.ts';
import { makeServiceSecret } from '../../../src/admission/secret.ts';
import { type Identity, makeIdentity } from './world.ts';

describe('sealed admission secrets', () => {
  const key = generateSealingKey();
  const secret = makeServiceSecret();
  let service: Identity;
  let superPeer: Identity;
  let other: Identity;
  let secrets: AdmissionSecrets;
  let sealed: Uint8Array;

  before(async () => {
    [service, superPeer, other] = [
      await makeIdentity(),
      await makeIdentity(),
      await makeIdentity(),
    ];
    secrets = await makeAdmissionSecrets({ serviceId: service.id, secret });
    const to = { serviceId: service.id, superPeer: superPeer.id, sealingKey: key.publicKey };
    sealed = await sealSecrets(secrets, to);
  });

  const openWith = (change: Partial<Parameters<typeof openSealedSecrets>[1]>, raw = sealed) =>
    openSealedSecrets(raw, {
      ...{ serviceId: service.id, superPeer: superPeer.id, sealingPrivateKey: key.privateKey },
      ...change,
    });

  it('are opened by the super-peer that they were sealed to', async () => {
    assert.equal(key.publicKey.length, 32);
    assert.equal(key.privateKey.length, 32);
    const opened = await openWith({});
    for (const name of ['salt', 'verifier', 'epochPsk', 'renewalSecret'] as const) {
      assert.deepEqual(Buffer.from(opened[name]), Buffer.from(secrets[name]), name);
    }
    assert.ok(sealed.length <= 4096);
  });

  it('are opened by nobody else, for no other service, and not when altered', async () => {
    const refused = (error: unknown) =>
      error instanceof SealedSecretsError && error.code === 'ERR_SEALED_SECRETS';
    await assert.rejects(openWith({ sealingPrivateKey: generateSealingKey().privateKey }), refused);
    await assert.rejects(openWith({ superPeer: other.id }), refused);
    await assert.rejects(openWith({ serviceId: other.id }), refused);
    for (const at of [0, 31, 32, sealed.length - 1]) {
      const bent = Uint8Array.from(sealed);
      bent[at] = (bent[at] ?? 0) ^ 1;
      await assert.rejects(openWith({}, bent), refused);
    }
    for (const length of [0, 31, 32, 40]) {
      await assert.rejects(openWith({}, sealed.subarray(0, length)), refused);
    }
  });

  it('hold the verifier and never the secret', async () => {
    const plain = Buffer.concat(Object.values(secrets).filter((v) => v instanceof Uint8Array));
    assert.ok(!plain.includes(secret));
    assert.ok(!plain.includes(secret.slice(13)));
  });

  it('have a new salt and PSK each time, and keep the renewal secret when asked to', async () => {
    const options = { serviceId: service.id, secret, previous: secrets };
    const next = await makeAdmissionSecrets(options);
    assert.notDeepEqual(next.salt, secrets.salt);
    assert.notDeepEqual(next.epochPsk, secrets.epochPsk);
    assert.deepEqual(Buffer.from(next.renewalSecret), Buffer.from(secrets.renewalSecret));
    const fresh = await makeAdmissionSecrets({ serviceId: service.id, secret });
    assert.notDeepEqual(fresh.renewalSecret, secrets.renewalSecret);
  });
});

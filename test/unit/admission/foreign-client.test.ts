/**
 * A VM whose program shares nothing with this project but the message formats: SRP by the npm
 * package secure-remote-password, the rest by node:crypto as docs/admission.md tells.
 */
import assert from 'node:assert/strict';
import { createDecipheriv, createHash, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import type { Ed25519PeerId, Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import * as srp from 'secure-remote-password/client.js';
import { sealOnce } from '../../../src/admission/keys.ts';
import {
  Challenge,
  Hello,
  Opening,
  Proof,
  Provision,
  Reply,
  Request,
} from '../../../src/admission/messages.ts';
import { message, required } from '../../../src/codec/protobuf.ts';
import { CREDENTIAL } from '../../../src/records/credential.ts';
import { open } from '../../../src/records/envelope.ts';
import { peerId } from '../../../src/records/peer-id.ts';
import { dial, makeIdentity, makeService, serve, World } from './world.ts';

const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'hex'));
const toHex = (raw: Uint8Array): string => Buffer.from(raw).toString('hex');

const Transcript = message({
  vm: required(1, peerId()),
  superPeer: required(2, peerId()),
  hello: required(3, Hello),
  challenge: required(4, Challenge),
});

interface ForeignRun {
  readonly vm: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  readonly secret: string;
}

async function foreignAdmission(stream: Stream, run: ForeignRun) {
  const link = lpStream(stream);
  const identity = 'member';
  const ephemeral = srp.generateEphemeral();
  const hello: Hello = {
    version: 1,
    suite: 1,
    serviceId: run.serviceId,
    identity,
    nonce: randomBytes(32),
    A: hex(ephemeral.public),
    ticket: undefined,
  };
  await link.write(Opening.encode({ admit: hello, renew: undefined }));
  const { challenge } = Reply.decode((await link.read()).subarray());
  assert.ok(challenge);
  const salt = toHex(challenge.salt);
  const x = srp.derivePrivateKey(salt, identity, run.secret);
  const session = srp.deriveSession(ephemeral.secret, toHex(challenge.B), salt, identity, x);
  const transcript = createHash('sha256')
    .update('icvpn admission 1')
    .update(Transcript.encode({ vm: run.vm, superPeer: run.superPeer, hello, challenge }))
    .digest();
  const key = (label: string) =>
    new Uint8Array(hkdfSync('sha256', hex(session.key), transcript, label, 32));
  const confirm = (end: string) =>
    createHmac('sha256', key(`confirm ${end}`))
      .update(transcript)
      .digest();
  const request = Request.encode({ vmid: 'foreign', roles: [], multiaddrs: [], subnets: [] });
  await link.write(
    Proof.encode({
      M1: hex(session.proof),
      confirmation: confirm('vm'),
      request: sealOnce(key('seal vm'), request),
    }),
  );
  const { grant, refusal } = Reply.decode((await link.read()).subarray());
  if (grant === undefined) return { refusal };
  srp.verifySession(ephemeral.public, session, toHex(grant.M2));
  assert.deepEqual(Buffer.from(grant.confirmation), confirm('super-peer'));
  const decipher = createDecipheriv('aes-256-gcm', key('seal super-peer'), new Uint8Array(12));
  decipher.setAuthTag(grant.provision.subarray(-16));
  const plain = [decipher.update(grant.provision.subarray(0, -16)), decipher.final()];
  return { provision: Provision.decode(Uint8Array.from(Buffer.concat(plain))) };
}

describe('a client built on secure-remote-password', () => {
  const world = new World();
  after(() => world.stop());

  async function arrange() {
    const superPeer = await world.superPeer(await makeIdentity());
    const shop = await makeService([superPeer.id]);
    serve(superPeer, shop);
    const vm = await makeIdentity();
    const stream = await dial(await world.node(vm.key), superPeer.node);
    const ids = { vm: vm.id, superPeer: superPeer.id, serviceId: shop.owner.id };
    return { superPeer, shop, stream, ids };
  }

  it('is admitted', async () => {
    const { superPeer, shop, stream, ids } = await arrange();
    const { provision } = await foreignAdmission(stream, { ...ids, secret: shop.secret });
    assert.ok(provision);
    const credential = await open(CREDENTIAL, provision.credential);
    assert.ok(credential.value.peerId.equals(ids.vm));
    assert.ok(credential.signer.equals(superPeer.id));
    assert.equal(superPeer.admitted.length, 1);
  });

  it('is refused with a wrong secret, and is told nothing more', async () => {
    const { superPeer, stream, ids } = await arrange();
    const { refusal } = await foreignAdmission(stream, { ...ids, secret: 'wrong' });
    assert.deepEqual(refusal, { reason: 1, text: '' });
    assert.equal(superPeer.admitted.length, 0);
  });
});

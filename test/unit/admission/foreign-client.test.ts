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
  UNAVAILABLE,
} from '../../../src/admission/messages.ts';
import { message, repeated, required, string } from '../../../src/codec/protobuf.ts';
import { isPlain } from '../../../src/codec/text.ts';
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

/** The request's fields as any text. */
const AnyRequest = message({
  vmid: required(1, string({ max: 1000 })),
  roles: repeated(2, string({ max: 1000 }), { max: 100 }),
  multiaddrs: repeated(3, string({ max: 1000 }), { max: 100 }),
  subnets: repeated(4, string({ max: 1000 }), { max: 100 }),
});

const BAD_REQUESTS = {
  'a bad address': { multiaddrs: ['/ip4/192.0.2.1/tcp/4242', 'garbage'] },
  'too many addresses': { multiaddrs: Array(9).fill('/ip4/192.0.2.1/tcp/4242') },
  'an address of another transport': { multiaddrs: ['/ip4/192.0.2.1/udp/4242/quic-v1'] },
  'an empty VMID': { vmid: '' },
  'a long VMID': { vmid: 'a'.repeat(255) },
  'escapes for a terminal in its VMID': { vmid: 'x\u001b[2J\u001b[31mROOT' },
  'a line break in its VMID': { vmid: 'ok\n12D3KooWfake admitted' },
  'a change of direction in its VMID': { vmid: 'web\u202egnp.exe' },
  'an invisible character in a role': { roles: ['web', 'd\u200bb'] },
  'too many subnets': { subnets: Array(17).fill('10.0.0.0/8') },
};

interface ForeignRun {
  readonly vm: Ed25519PeerId;
  readonly superPeer: Ed25519PeerId;
  readonly serviceId: Ed25519PeerId;
  readonly secret: string;
  /** The message to be sealed; a usual one if left out. */
  readonly request?: Uint8Array;
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
  const usual = { vmid: 'foreign', roles: [], multiaddrs: [], subnets: [] };
  const request = run.request ?? Request.encode(usual);
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

  for (const [what, change] of Object.entries(BAD_REQUESTS)) {
    it(`P27 P34 is told that its request has ${what}, and is no member`, async () => {
      const { superPeer, shop, stream, ids } = await arrange();
      const usual = { vmid: 'foreign', roles: [], multiaddrs: [], subnets: [] };
      const request = AnyRequest.encode({ ...usual, ...change });
      const told = await foreignAdmission(stream, { ...ids, secret: shop.secret, request });
      assert.equal(told.refusal?.reason, UNAVAILABLE);
      assert.match(told.refusal.text, new RegExp(`^${Object.keys(change)[0]}: `));
      assert.ok(isPlain(told.refusal.text), JSON.stringify(told.refusal.text));
      assert.equal(superPeer.admitted.length, 0);
    });
  }

  it('is refused with a wrong secret, and is told nothing more', async () => {
    const { superPeer, stream, ids } = await arrange();
    const { refusal } = await foreignAdmission(stream, { ...ids, secret: 'wrong' });
    assert.deepEqual(refusal, { reason: 1, text: '' });
    assert.equal(superPeer.admitted.length, 0);
  });
});

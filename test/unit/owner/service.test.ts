import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { generateSealingKey, openSealedSecrets } from '../../../src/admission/sealed.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { readDescriptor, readOwner } from '../../../src/owner/directory.ts';
import { OwnerError } from '../../../src/owner/errors.ts';
import { revokeMember } from '../../../src/owner/revocation.ts';
import { createService, updateService } from '../../../src/owner/service.ts';
import { overlapping } from '../../../src/records/address-range.ts';
import { admitterOf } from '../../../src/records/descriptor.ts';
import { seal } from '../../../src/records/envelope.ts';
import { openCard, SUPER_PEER_CARD } from '../../../src/records/super-peer-card.ts';

const signal = new AbortController().signal;
const code = (expected: string) => (error: unknown) =>
  error instanceof OwnerError && error.code === expected;

async function superPeer() {
  const key = await generateKeyPair('Ed25519');
  const { publicKey: sealingKey, privateKey: sealingPrivateKey } = generateSealingKey();
  const peerId = peerIdFromPrivateKey(key);
  const multiaddrs = [parseTcpMultiaddr('/ip4/127.0.0.1/tcp/4242')];
  const card = await openCard(await seal(SUPER_PEER_CARD, { peerId, sealingKey, multiaddrs }, key));
  return { peerId, card, sealingPrivateKey };
}

const [first, second, third] = [await superPeer(), await superPeer(), await superPeer()];

describe("owner's service", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-owner-'));
    await createService({
      dir,
      name: 'shop',
      superPeers: [first.card, second.card],
      ipv4Prefix: { network: '100.64.0.0', length: 16 },
      credentialLifetime: 3600,
      signal,
    });
  });
  afterEach(() => rm(dir, { recursive: true }));

  const secretsFor = async (who: typeof first) => {
    const { value } = await readDescriptor(dir);
    const { sealedSecrets } = admitterOf(value, who.peerId) ?? { sealedSecrets: new Uint8Array() };
    const { peerId, sealingPrivateKey } = who;
    const { serviceId } = value;
    return openSealedSecrets(sealedSecrets, { serviceId, superPeer: peerId, sealingPrivateKey });
  };
  const update = (change: Partial<Parameters<typeof updateService>[0]>) =>
    updateService({
      ...{
        dir,
        add: [],
        remove: [],
        newEpoch: false,
        newSecret: false,
        signal,
      },
      ...change,
    });

  it('names another super-peer, which gets the same secrets and a range of its own', async () => {
    const before = await secretsFor(first);
    const { sequence } = (await readDescriptor(dir)).value;
    const { descriptor, bootstrap } = await update({ add: [third.card] });
    assert.ok(descriptor.value.sequence > sequence);
    assert.deepEqual(
      descriptor.value.admitters.map(({ range }) => range),
      [
        { first: 0, count: 240 },
        { first: 240, count: 180 },
        { first: 420, count: 135 },
      ],
    );
    assert.equal(bootstrap.superPeers.length, 3);
    assert.deepEqual(await secretsFor(third), before);
    assert.deepEqual(await secretsFor(first), before);
  });

  it('P26 strikes a super-peer off, and gives its range to nobody while its members may have addresses', async () => {
    const { descriptor: struck } = await update({ remove: [second.peerId] });
    const gone = struck.value.retired[0];
    assert.ok(gone);
    assert.ok(gone.peerId.equals(second.peerId));
    assert.deepEqual(gone.range, { first: 240, count: 180 });
    // Longer than any credential that has an address of it.
    assert.ok(gone.until > Date.now() / 1000 + 3600);
    const { descriptor } = await update({ add: [third.card] });
    const ranges = descriptor.value.admitters.map(({ range }) => range);
    assert.deepEqual(ranges[0], { first: 0, count: 240 });
    assert.ok(ranges[1] && !overlapping(ranges[1], gone.range));
    await assert.rejects(secretsFor(second));
    await assert.rejects(update({ remove: [second.peerId] }), code('ERR_NOT_ADMITTER'));
  });

  it('P26 gives a super-peer that is named again the range that it had', async () => {
    await update({ remove: [second.peerId] });
    await update({ add: [third.card] });
    const { descriptor } = await update({ add: [second.card] });
    const again = admitterOf(descriptor.value, second.peerId);
    assert.deepEqual(again?.range, { first: 240, count: 180 });
    assert.deepEqual(descriptor.value.retired, []);
  });

  it('P26 gives a range on when it has been retired for long enough', async () => {
    const { descriptor } = await update({ remove: [second.peerId] });
    const [{ until } = { until: 0 }] = descriptor.value.retired;
    const { now } = Date;
    Date.now = () => (until + 1) * 1000;
    try {
      const { descriptor: later } = await update({ add: [third.card] });
      assert.deepEqual(later.value.retired, []);
      assert.deepEqual(admitterOf(later.value, third.peerId)?.range, { first: 240, count: 180 });
    } finally {
      Date.now = now;
    }
  });

  it('never signs a descriptor that names nobody, and then loses nothing', async () => {
    const { sequence } = (await readDescriptor(dir)).value;
    const remove = [first.peerId, second.peerId];
    await assert.rejects(update({ remove }), code('ERR_NO_SUPER_PEER'));
    assert.equal((await readDescriptor(dir)).value.sequence, sequence);
    await secretsFor(first);
  });

  it('begins an epoch with new keys for the members, who renew into it', async () => {
    const before = await secretsFor(first);
    const { descriptor } = await update({ newEpoch: true });
    const after = await secretsFor(first);
    assert.equal(descriptor.value.epoch, 2);
    assert.notDeepEqual(after.epochPsk, before.epochPsk);
    assert.deepEqual(after.renewalSecret, before.renewalSecret);
  });

  it('replaces a secret that somebody knows, without asking members for the new one', async () => {
    const before = await secretsFor(first);
    const old = (await update({})).bootstrap.secret;
    const { bootstrap, descriptor } = await update({ newSecret: true });
    const after = await secretsFor(first);
    assert.notEqual(bootstrap.secret, old);
    assert.notDeepEqual(after.verifier, before.verifier);
    assert.deepEqual(after.renewalSecret, before.renewalSecret);
    assert.equal(descriptor.value.epoch, 2);
    assert.equal((await update({})).bootstrap.secret, bootstrap.secret);
  });

  it('P33 after a super-peer was compromised, replaces what it knew: nobody renews with it', async () => {
    const before = await secretsFor(first);
    const { bootstrap } = await update({});
    const changed = await update({ admitAnew: true });
    const after = await secretsFor(first);
    assert.notDeepEqual(after.renewalSecret, before.renewalSecret);
    assert.notDeepEqual(after.verifier, before.verifier);
    assert.notDeepEqual(after.epochPsk, before.epochPsk);
    assert.notEqual(changed.bootstrap.secret, bootstrap.secret);
    assert.equal(changed.descriptor.value.epoch, 2);
    assert.equal((await readOwner(dir)).admittedAnew?.epoch, 2);
  });

  it('revokes members one after the other, in lists that only grow', async () => {
    const revoke = async (member: typeof first.peerId) =>
      (await revokeMember({ dir, member, newEpoch: false })).revocations;
    const one = await revoke(second.peerId);
    const { value, signer } = await revoke(third.peerId);
    assert.ok(signer.equals(value.serviceId));
    assert.ok(value.sequence > one.value.sequence);
    assert.deepEqual(
      value.revocations.map(({ peerId }) => peerId.toString()),
      [second, third].map(({ peerId }) => peerId.toString()),
    );
    assert.equal((await revoke(third.peerId)).value.revocations.length, 2);
  });

  it('says so where there is no service', async () => {
    const empty = join(dir, 'none');
    await assert.rejects(update({ dir: empty }), code('ERR_NO_SERVICE'));
  });
});

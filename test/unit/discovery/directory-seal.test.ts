import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import {
  AbeUnsatisfiedError,
  decrypt,
  encrypt,
  generateKey,
  initAbe,
  type MasterKey,
  type PublicKey,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import { memberAttributes } from '../../../src/keymgmt/discovery/attributes.ts';
import { DataKeyReader, DataKeys } from '../../../src/keymgmt/discovery/data-key.ts';
import {
  type UpdateOpener,
  updateOpener,
  updateSealer,
} from '../../../src/keymgmt/discovery/directory-seal.ts';
import { type ListFault, MemberListError } from '../../../src/keymgmt/discovery/errors.ts';
import type { DirectorySeal } from '../../../src/overlay/directory.ts';
import type { Credential } from '../../../src/records/credential.ts';

const text = new TextEncoder();
const NOW = 1_800_000_000_000;
const nonce = new Uint8Array(32).fill(5);

describe('directory updates as sealed lists', () => {
  let publicKey: PublicKey;
  let masterKey: MasterKey;
  let superPeerKey: Ed25519PrivateKey;
  let superPeer: Ed25519PeerId;
  let serviceId: Ed25519PeerId;
  let alice: Ed25519PeerId;
  let bob: Ed25519PeerId;
  let wraps: number;
  let dataKeys: DataKeys;

  before(async () => {
    await initAbe();
    ({ publicKey, masterKey } = setup());
    superPeerKey = await generateKeyPair('Ed25519');
    superPeer = peerIdFromPrivateKey(superPeerKey);
    const fresh = async () => peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
    [serviceId, alice, bob] = await Promise.all([fresh(), fresh(), fresh()]);
  });
  beforeEach(() => {
    wraps = 0;
    dataKeys = new DataKeys((policy, key) => {
      wraps += 1;
      return encrypt(publicKey, policy, key);
    });
  });

  const credential = (peerId: Ed25519PeerId, epoch = 7): Credential => ({
    serviceId,
    peerId,
    vmid: 'vm',
    roles: [],
    ipv6: 'fd00::1',
    lease: undefined,
    vouched: undefined,
    ipv4: '10.0.0.1',
    epoch,
    notBefore: 0,
    notAfter: 0,
    serial: new Uint8Array(16),
    admittedBy: superPeer,
    subnets: [],
  });
  const opener = (peerId: Ed25519PeerId, epoch = 7, clock = () => NOW): UpdateOpener => {
    const key = generateKey(masterKey, memberAttributes({ serviceId, peerId, vmid: 'vm', epoch }));
    const trust = () => ({ serviceId, epoch, admitters: [superPeer] });
    return updateOpener(
      new DataKeyReader((wrapped) => decrypt(key, wrapped)),
      peerId,
      trust,
      clock,
    );
  };
  const fault = (wanted: ListFault) => (error: unknown) =>
    error instanceof MemberListError && error.fault === wanted;

  it('is what the directory asks for', async () => {
    const both: DirectorySeal = {
      ...updateSealer(dataKeys, superPeerKey, () => NOW),
      ...opener(alice),
    };
    for (const update of ['the whole list', 'one joined', 'one left']) {
      const sealed = await both.seal(text.encode(update), credential(alice), nonce);
      assert.equal(Buffer.from(await both.open(sealed, nonce)).toString(), update);
    }
    assert.equal(wraps, 1, 'one data key for all updates to a member');
  });

  it('an update is for its recipient alone, in its time and epoch, once', async () => {
    const sealer = updateSealer(dataKeys, superPeerKey, () => NOW);
    const first = await sealer.seal(text.encode('first'), credential(alice), nonce);
    const second = await sealer.seal(text.encode('second'), credential(alice), nonce);
    await assert.rejects(opener(bob).open(first, nonce), fault('requester'));
    await assert.rejects(opener(alice, 8).open(first, nonce), fault('epoch'));
    await assert.rejects(
      opener(alice, 7, () => NOW + 421_000).open(first, nonce),
      fault('expired'),
    );
    const reader = opener(alice);
    await reader.open(second, nonce);
    await assert.rejects(reader.open(first, nonce), fault('old'));
  });

  it('news is sealed once for all members of the epoch, and for nobody else', async () => {
    const sealer = updateSealer(dataKeys, superPeerKey, () => NOW);
    const of = { serviceId, epoch: 7 };
    const older = await sealer.sealForAll(text.encode('older'), of);
    const sealed = await sealer.sealForAll(text.encode('news'), of);
    for (const who of [alice, bob]) {
      const reader = opener(who);
      assert.equal(Buffer.from(await reader.open(sealed, undefined)).toString(), 'news');
      await assert.rejects(reader.open(older, undefined), fault('old'));
    }
    await assert.rejects(opener(alice, 8).open(sealed, undefined), fault('epoch'));
    await assert.rejects(opener(alice).open(sealed, nonce), fault('requester'));
    const own = await sealer.seal(text.encode('own'), credential(alice), nonce);
    await assert.rejects(opener(alice).open(own, undefined), fault('requester'));
    assert.equal(wraps, 2, 'one data key for all, one for alice');
  });

  it('a key for another member does not open an update that claims to be for it', async () => {
    // As a super-peer would send it that wraps a data key for the wrong member.
    const wrong = new DataKeys((_, key) =>
      encrypt(publicKey, `PeerID: ${bob} and ServiceID: ${serviceId}`, key),
    );
    const sealer = updateSealer(wrong, superPeerKey, () => NOW);
    const sealed = await sealer.seal(text.encode('x'), credential(alice), nonce);
    await assert.rejects(opener(alice).open(sealed, nonce), AbeUnsatisfiedError);
  });
});

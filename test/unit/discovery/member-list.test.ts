import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import fc from 'fast-check';
import { IcvpnError } from '../../../src/errors.ts';
import {
  AbeUnsatisfiedError,
  type AttributeKey,
  decrypt,
  encrypt,
  formatPolicy,
  generateKey,
  initAbe,
  type MasterKey,
  type PublicKey,
  parsePolicy,
  policyOf,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import {
  epochPolicy,
  memberAttributes,
  requesterPolicy,
} from '../../../src/keymgmt/discovery/attributes.ts';
import type { DataKey } from '../../../src/keymgmt/discovery/data-key.ts';
import { type ListFault, MemberListError } from '../../../src/keymgmt/discovery/errors.ts';
import {
  type ListContext,
  type MemberList,
  openMemberList,
  sealMemberList,
} from '../../../src/keymgmt/discovery/member-list.ts';
import { header, LIST_STATEMENT, sealedList } from '../../../src/keymgmt/discovery/messages.ts';
import { seal } from '../../../src/records/envelope.ts';

interface Node {
  readonly key: Ed25519PrivateKey;
  readonly id: Ed25519PeerId;
}

async function node(): Promise<Node> {
  const key = await generateKeyPair('Ed25519');
  return { key, id: peerIdFromPrivateKey(key) };
}

const NOW = 1_800_000_000;
const content = new TextEncoder().encode('i-0a at /ip4/192.0.2.1/tcp/4001');

describe('sealed member lists', () => {
  let publicKey: PublicKey;
  let masterKey: MasterKey;
  let superPeer: Node;
  let stranger: Node;
  let alice: Node;
  let bob: Node;
  let service: Node;
  let otherService: Node;

  before(async () => {
    await initAbe();
    ({ publicKey, masterKey } = setup());
    const nodes = await Promise.all([node(), node(), node(), node(), node(), node()]);
    [superPeer, stranger, alice, bob, service, otherService] = nodes;
  });

  const dataKey = (policy: string): DataKey => {
    const key = Uint8Array.from(randomBytes(32));
    return { key, wrapped: encrypt(publicKey, policy, key) };
  };
  const keyOf = (who: Node, epoch = 7, of = service): AttributeKey =>
    generateKey(
      masterKey,
      memberAttributes({ serviceId: of.id, peerId: who.id, vmid: 'i-0a/1:b', epoch }),
    );
  const nonce = new Uint8Array(16).fill(9);
  const list = (more: Partial<MemberList> = {}): MemberList => ({
    serviceId: service.id,
    epoch: 7,
    sequence: 3,
    notAfter: NOW + 600,
    requester: { peerId: alice.id, nonce },
    content,
    ...more,
  });
  const context = (more: Partial<ListContext> = {}): ListContext => ({
    serviceId: service.id,
    epoch: 7,
    admitters: [superPeer.id],
    now: NOW,
    requester: { peerId: alice.id, nonce },
    ...more,
  });
  const sealed = async (more?: Partial<MemberList>, by = superPeer): Promise<Uint8Array> => {
    const made = list(more);
    const { peerId } = made.requester ?? { peerId: alice.id };
    const policy = requesterPolicy(peerId, made.serviceId);
    return sealMemberList(made, dataKey(policy), by.key);
  };
  const openWith = async (bytes: Uint8Array, key: AttributeKey, ctx = context()) =>
    openMemberList(bytes, (wrapped) => decrypt(key, wrapped), ctx);

  const untouchable = (): never => {
    throw new Error('decrypted before it was checked');
  };
  async function refused(bytes: Uint8Array, fault: ListFault, ctx = context()): Promise<void> {
    await assert.rejects(
      openMemberList(bytes, untouchable, ctx),
      (error) => error instanceof MemberListError && error.fault === fault,
    );
  }

  it('the list for a requester is for that one', async () => {
    const bytes = await sealed();
    const opened = await openWith(bytes, keyOf(alice));
    assert.deepEqual(opened.content, content);
    assert.equal(opened.sequence, 3);
    assert.ok(opened.superPeer.equals(superPeer.id));
    await assert.rejects(openWith(bytes, keyOf(bob)), AbeUnsatisfiedError);
    const elsewhere = keyOf(alice, 7, otherService);
    await assert.rejects(openWith(bytes, elsewhere), AbeUnsatisfiedError);
    assert.equal(Buffer.from(sealedList.decode(bytes).body).indexOf('/ip4/192.0.2.1'), -1);
    const { wrappedKey } = header.decode(sealedList.decode(bytes).header);
    assert.equal(
      formatPolicy(policyOf(wrappedKey)),
      formatPolicy(parsePolicy(requesterPolicy(alice.id, service.id))),
    );
  });

  it('every claim is checked before anything is decrypted', async () => {
    const bytes = await sealed();
    await refused(await sealed({}, stranger), 'signer');
    await refused(bytes, 'signer', context({ admitters: [] }));
    await refused(await sealed({ serviceId: otherService.id }), 'service');
    await refused(bytes, 'epoch', context({ epoch: 8 }));
    await refused(bytes, 'epoch', context({ epoch: 6 }));
    const other = { peerId: bob.id, nonce };
    await refused(bytes, 'requester', context({ requester: other }));
    const replayed = { peerId: alice.id, nonce: new Uint8Array(16).fill(8) };
    await refused(bytes, 'requester', context({ requester: replayed }));
    await refused(bytes, 'expired', context({ now: NOW + 600 + 120 }));
    await refused(bytes, 'old', context({ lastSequence: () => 4 }));
    await openWith(bytes, keyOf(alice), context({ lastSequence: () => 3 }));
  });

  it('parts of different lists do not mix', async () => {
    const [a, b] = await Promise.all([sealed(), sealed({ content: new Uint8Array(0) })]);
    const [one, two] = [sealedList.decode(a), sealedList.decode(b)];
    await refused(sealedList.encode({ ...one, statement: two.statement }), 'hash');
    await refused(sealedList.encode({ ...one, header: two.header }), 'hash');
    await refused(sealedList.encode({ ...one, body: two.body }), 'hash');
  });

  it('a super-peer cannot join a header to a body that is not its own', async () => {
    // Signed as it should be, but the associated data do not fit.
    const bytes = sealedList.decode(await sealed());
    const { wrappedKey, iv } = header.decode(bytes.header);
    const swapped = { wrappedKey, iv: iv.map((byte) => byte ^ 1) };
    const forged = await resign(sealedList.encode({ ...bytes, header: header.encode(swapped) }));
    await assert.rejects(
      openWith(forged, keyOf(alice), context()),
      (error) => error instanceof MemberListError && error.fault === 'content',
    );
  });

  it('P24 every changed byte and every cut is refused, and generated inputs give typed errors', async () => {
    const bytes = await sealed();
    const attempt = async (input: Uint8Array): Promise<void> => {
      await assert.rejects(openMemberList(input, untouchable, context()), MemberListError);
    };
    for (let i = 0; i < bytes.length; i += i < 400 ? 3 : 61) {
      const changed = Uint8Array.from(bytes);
      changed[i] = (changed[i] ?? 0) ^ (1 << (i % 8));
      await attempt(changed);
      await attempt(bytes.subarray(0, i));
    }
    await attempt(Uint8Array.of(...bytes, 0));
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), attempt), {
      numRuns: 2000,
    });
  });

  it('limits', async () => {
    for (const length of [15, 33]) {
      const requester = { peerId: alice.id, nonce: new Uint8Array(length) };
      await assert.rejects(sealed({ requester }), RangeError);
    }
    await assert.rejects(sealed({ content: new Uint8Array(4 * 1024 * 1024 + 1) }), RangeError);
    await assert.rejects(sealed({ epoch: -1 }), RangeError);
  });

  it('an aborted signal stops it', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    const key = dataKey(requesterPolicy(alice.id, service.id));
    await assert.rejects(sealMemberList(list(), key, superPeer.key, { signal }), /enough/);
    await assert.rejects(
      openMemberList(await sealed(), untouchable, context(), { signal }),
      /enough/,
    );
  });

  it('lists of every size', async () => {
    for (const length of [0, 1, 16, 4 * 1024 * 1024]) {
      const long = Uint8Array.from(randomBytes(length));
      const opened = await openWith(await sealed({ content: long }), keyOf(alice));
      assert.ok(Buffer.from(opened.content).equals(long));
    }
  });

  /** The same list with a statement that fits it again. */
  async function resign(bytes: Uint8Array): Promise<Uint8Array> {
    const parts = sealedList.decode(bytes);
    const inner = createHash('sha256').update(parts.header).digest();
    const ciphertextHash = createHash('sha256').update(inner).update(parts.body).digest();
    const { serviceId, epoch, sequence, notAfter, requester } = list();
    const facts = { serviceId, epoch, sequence, notAfter, ciphertextHash, requester };
    const statement = await seal(LIST_STATEMENT, facts, superPeer.key);
    return sealedList.encode({ ...parts, statement });
  }
});

describe('attributes of members', () => {
  let id: Ed25519PeerId;
  before(async () => {
    id = (await node()).id;
  });

  it('every VMID becomes a value that a policy can name, and different ones stay different', () => {
    const value = (vmid: string): string =>
      memberAttributes({ serviceId: id, peerId: id, vmid, epoch: 0 }).VMID;
    const vmid = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(vmid, vmid, (a, b) => {
        parsePolicy(`VMID: ${value(a)}`);
        assert.equal(value(a) === value(b), a === b);
      }),
    );
    parsePolicy(`VMID: ${value('x'.repeat(128))}`);
    assert.throws(() => value(''), RangeError);
    assert.throws(() => value('x'.repeat(129)), RangeError);
    assert.throws(() => value('\ud800'), RangeError);
  });

  it('policies parse, and epochs are whole numbers', () => {
    parsePolicy(epochPolicy(id, 4_294_967_295));
    parsePolicy(requesterPolicy(id, id));
    for (const epoch of [-1, 0.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => epochPolicy(id, epoch), RangeError);
    }
  });

  it('errors carry a code and a remedy', () => {
    const error = new MemberListError('old', 'a message');
    assert.ok(error instanceof IcvpnError);
    assert.equal(error.code, 'ERR_MEMBER_LIST');
    assert.ok(error.remedy.length > 0);
  });
});

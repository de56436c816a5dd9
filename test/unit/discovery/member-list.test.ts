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
import { type ListFault, MemberListError } from '../../../src/keymgmt/discovery/errors.ts';
import {
  checkMemberList,
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
const members = [1, 2].map((n) => ({
  credential: new Uint8Array(200).fill(n),
  multiaddrs: [`/ip4/192.0.2.${n}/tcp/4001`],
}));

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

  const wrap = (policy: string, key: Uint8Array): Uint8Array => encrypt(publicKey, policy, key);
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
    members,
    ...more,
  });
  const context = (more: Partial<ListContext> = {}): ListContext => ({
    serviceId: service.id,
    epoch: 7,
    admitters: [superPeer.id],
    now: NOW,
    ...more,
  });
  const sealed = (more?: Partial<MemberList>, by = superPeer): Promise<Uint8Array> =>
    sealMemberList(list(more), wrap, by.key);

  /** A key that must not be touched: it fails the test as soon as decryption looks at it. */
  const untouchable: AttributeKey = {
    get parts(): never {
      throw new Error('decrypted before it was checked');
    },
    get k1(): never {
      throw new Error('decrypted before it was checked');
    },
    get k2(): never {
      throw new Error('decrypted before it was checked');
    },
  };
  async function refused(bytes: Uint8Array, fault: ListFault, ctx = context()): Promise<void> {
    await assert.rejects(
      openMemberList(bytes, untouchable, ctx),
      (error) => error instanceof MemberListError && error.fault === fault,
    );
  }

  it('the list of an epoch is for every member of the service, and for nobody else', async () => {
    const bytes = await sealed();
    for (const reader of [alice, bob]) {
      const opened = await openMemberList(bytes, keyOf(reader), context());
      assert.deepEqual(opened.members, members);
      assert.equal(opened.sequence, 3);
      assert.ok(opened.superPeer.equals(superPeer.id));
    }
    const outsider = keyOf(bob, 7, otherService);
    await assert.rejects(openMemberList(bytes, outsider, context()), AbeUnsatisfiedError);
    const { wrappedKey } = header.decode(sealedList.decode(bytes).header);
    assert.equal(
      formatPolicy(policyOf(wrappedKey)),
      formatPolicy(parsePolicy(epochPolicy(service.id, 7))),
    );
  });

  it('the list for a requester is for that one', async () => {
    const requester = { peerId: alice.id, nonce };
    const bytes = await sealed({ requester });
    const opened = await openMemberList(bytes, keyOf(alice), context({ requester }));
    assert.deepEqual(opened.members, members);
    await assert.rejects(
      openMemberList(bytes, keyOf(bob), context({ requester })),
      AbeUnsatisfiedError,
    );
    const { wrappedKey } = header.decode(sealedList.decode(bytes).header);
    assert.equal(
      formatPolicy(policyOf(wrappedKey)),
      formatPolicy(parsePolicy(requesterPolicy(alice.id, service.id))),
    );
  });

  it('a change of epoch shuts out who got no new key', async () => {
    const bytes = await sealed({ epoch: 8 });
    const revoked = keyOf(bob, 7);
    await assert.rejects(
      openMemberList(bytes, revoked, context({ epoch: 8 })),
      AbeUnsatisfiedError,
    );
    const opened = await openMemberList(bytes, keyOf(alice, 8), context({ epoch: 8 }));
    assert.deepEqual(opened.members, members);
  });

  it('a node that must not read a list checks it without a key', async () => {
    const checked = await checkMemberList(await sealed(), context());
    assert.equal(checked.notAfter, NOW + 600);
    assert.equal('members' in checked, false);
    const inClear = Buffer.from(checked.body);
    assert.equal(inClear.indexOf('/ip4/192.0.2.1'), -1);
  });

  it('every claim is checked before anything is decrypted', async () => {
    const requester = { peerId: alice.id, nonce };
    const bytes = await sealed();
    const personal = await sealed({ requester });
    await refused(await sealed({}, stranger), 'signer');
    await refused(bytes, 'signer', context({ admitters: [] }));
    await refused(await sealed({ serviceId: otherService.id }), 'service');
    await refused(bytes, 'epoch', context({ epoch: 8 }));
    await refused(bytes, 'epoch', context({ epoch: 6 }));
    await refused(bytes, 'requester', context({ requester }));
    await refused(personal, 'requester');
    const other = { peerId: bob.id, nonce };
    await refused(personal, 'requester', context({ requester: other }));
    const replayed = { peerId: alice.id, nonce: new Uint8Array(16).fill(8) };
    await refused(personal, 'requester', context({ requester: replayed }));
    await refused(bytes, 'expired', context({ now: NOW + 600 + 120 }));
    await refused(bytes, 'old', context({ lastSequence: () => 4 }));
    await openMemberList(bytes, keyOf(alice), context({ lastSequence: () => 3 }));
  });

  it('parts of different lists do not mix', async () => {
    const [a, b] = await Promise.all([sealed(), sealed({ members: [] })]);
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
      openMemberList(forged, keyOf(alice), context()),
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
    const long = { requester: { peerId: alice.id, nonce: new Uint8Array(17) } };
    await assert.rejects(sealed(long), RangeError);
    const many = Array.from({ length: 4097 }, () => members[0] ?? assert.fail());
    await assert.rejects(sealed({ members: many }), RangeError);
    await assert.rejects(sealed({ epoch: -1 }), RangeError);
  });

  it('an aborted signal stops it', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(sealMemberList(list(), wrap, superPeer.key, { signal }), /enough/);
    await assert.rejects(checkMemberList(await sealed(), context(), { signal }), /enough/);
  });

  it('a list of 250 members', async () => {
    const many = Array.from({ length: 250 }, () => ({
      credential: Uint8Array.from(randomBytes(330)),
      multiaddrs: ['/ip4/198.51.100.7/tcp/4001', '/ip6/2001:db8::7/tcp/4001'],
    }));
    const opened = await openMemberList(await sealed({ members: many }), keyOf(bob), context());
    assert.equal(opened.members.length, 250);
    opened.members.forEach(({ credential, multiaddrs }, i) => {
      assert.deepEqual(multiaddrs, many[i]?.multiaddrs);
      assert.deepEqual(credential, many[i]?.credential);
    });
  });

  /** The same list with a statement that fits it again. */
  async function resign(bytes: Uint8Array): Promise<Uint8Array> {
    const parts = sealedList.decode(bytes);
    const inner = createHash('sha256').update(parts.header).digest();
    const ciphertextHash = createHash('sha256').update(inner).update(parts.body).digest();
    const { serviceId, epoch, sequence, notAfter } = list();
    const facts = { serviceId, epoch, sequence, notAfter, ciphertextHash, requester: undefined };
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

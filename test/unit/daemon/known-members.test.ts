import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { KnownMembers, type OwnersWord } from '../../../src/daemon/member/known-members.ts';
import { SecureCache } from '../../../src/keymgmt/cache/secure-cache.ts';
import type { Trust } from '../../../src/overlay/gate.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import { credentialFor, identity, trustIn } from '../overlay/harness.ts';

const [service, superPeer, self, ...others] = await Promise.all(
  Array.from({ length: 6 }, () => identity()),
);
assert.ok(service && superPeer && self);

async function member(of: { id: Member['peerId'] }, signer = superPeer): Promise<Member> {
  assert.ok(service && signer);
  const credential = await credentialFor(service.id, signer.key, of.id);
  const { vmid, roles, ipv4, ipv6, subnets, notAfter } = credential.value;
  const attributes = { peerId: of.id, vmid, roles, ipv4, ipv6, subnets, notAfter };
  return { ...attributes, multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.1/tcp/4242')], credential };
}

describe('members from before a restart', () => {
  let dir: string;
  let cache: SecureCache;
  let trust: Trust;
  let logged: string[];
  let now: number;
  let word: OwnersWord;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-known-'));
    cache = await SecureCache.open(join(dir, 'cache'));
    trust = trustIn([superPeer.id]);
    logged = [];
    now = Date.now();
    word = { policy: 7, revocations: undefined };
  });
  afterEach(async () => {
    await cache.close();
    await rm(dir, { recursive: true });
  });

  const open = (): Promise<KnownMembers> =>
    KnownMembers.open({
      cache,
      context: {
        ...{ self: self.id, serviceId: service.id },
        ...{ trust: () => trust, clock: () => now },
      },
      ownersWord: () => word,
      log: (event) => void logged.push(event),
    });
  const names = (known: KnownMembers): string[] => known.all().map(({ peerId }) => String(peerId));

  it('P30 are there again, those that left while their credentials hold as well', async () => {
    const all = await Promise.all(others.map((each) => member(each)));
    {
      await using known = await open();
      assert.equal(known.fromBefore, false);
      known.follow(all);
      known.follow(all.slice(1));
      known.confirm();
    }
    const again = await open();
    assert.equal(again.fromBefore, true);
    assert.deepEqual(names(again).sort(), all.map(({ peerId }) => String(peerId)).sort());
    now += 10 * 365 * 24 * 3600_000;
    assert.deepEqual(names(await open()), [], 'no credential holds for ever');
  });

  it('P17 are not written before the policy is known', async () => {
    {
      await using known = await open();
      known.follow(await Promise.all(others.map((each) => member(each))));
    }
    assert.deepEqual(await cache.names(), []);
    assert.equal((await open()).fromBefore, false);
  });

  it('P30 are held against what is known now: signer, epoch, revocation', async () => {
    const [first, second, third] = others;
    assert.ok(first && second && third);
    {
      await using known = await open();
      // Not even a list of this node's own making counts.
      known.follow([await member(first), await member(second), await member(third, self)]);
      known.confirm();
    }
    const id = second.id.toString();
    trust = { ...trust, revoked: ({ value }) => value.peerId.toString() === id };
    assert.deepEqual(names(await open()), [first.id.toString()]);
    trust = { ...trust, admitters: [] };
    assert.deepEqual(names(await open()), []);
  });

  it('P17 do not count where less of the owner’s word is known than before, or for another service', async () => {
    const [first] = others;
    assert.ok(first);
    {
      await using known = await open();
      known.follow([await member(first)]);
      known.confirm();
      word = { policy: 8, revocations: 3 };
      known.note();
    }
    for (const less of [
      { policy: undefined, revocations: 3 },
      { policy: 7, revocations: 3 },
      { policy: 8, revocations: 2 },
    ]) {
      word = less;
      const lost = await open();
      assert.equal(lost.fromBefore, false);
      assert.deepEqual(names(lost), []);
    }
    assert.ok(logged.every((event) => event === 'owners-word-lost'));
    word = { policy: 9, revocations: 3 };
    assert.equal((await open()).fromBefore, true);
    const elsewhere = { self: self.id, serviceId: superPeer.id, trust: () => trust };
    const context = { ...elsewhere, clock: () => now };
    const other = await KnownMembers.open({
      cache,
      context,
      ownersWord: () => word,
      log: () => {},
    });
    assert.equal(other.fromBefore, false);
  });

  it('P27 a damaged entry costs that entry, and no start', async () => {
    const [first] = others;
    assert.ok(first);
    {
      await using known = await open();
      known.follow([await member(first)]);
      known.confirm();
    }
    const [entry = ''] = (await readdir(join(dir, 'cache'))).filter((each) =>
      /^members-/.test(each),
    );
    await writeFile(join(dir, 'cache', entry), 'damaged', { mode: 0o600 });
    const again = await open();
    assert.deepEqual(names(again), []);
    assert.deepEqual(logged, ['known-members-damaged']);
  });
});

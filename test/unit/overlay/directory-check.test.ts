import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { PLAIN } from '../../../src/overlay/directory.ts';
import { type Expected, openListed, openUpdate } from '../../../src/overlay/directory-check.ts';
import { DIRECTORY, type DirectoryUpdate } from '../../../src/records/directory.ts';
import { seal } from '../../../src/records/envelope.ts';
import { signLease } from '../../../src/records/lease.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import { credentialFor, identities, identity, nth, trustIn } from './harness.ts';

const [service, alice, bob] = await identities(3);
const supers = await identities(2);
const stranger = await identity();
assert.ok(service && alice && bob);

describe('what a member believes of directory updates', () => {
  const nonce = Uint8Array.from(randomBytes(32));
  const feed = Uint8Array.from(randomBytes(16));
  const context = {
    ...{ serviceId: service.id, self: alice.id, seal: PLAIN, clock: Date.now },
    trust: () => trustIn(supers.map(({ id }) => id)),
  };
  const first: DirectoryUpdate = {
    ...{ serviceId: service.id, recipient: { peerId: alice.id, nonce }, feed, epoch: 1 },
    ...{ sequence: 7, base: undefined, joined: [], left: [], kept: undefined },
    ...{ part: 0, last: 1 },
  };
  const next: DirectoryUpdate = { ...first, recipient: undefined, base: 7, sequence: 9 };
  const attached: Expected = {
    ...{ nonce, unfinished: undefined },
    position: { feed, sequence: 7 },
  };
  const fresh: Expected = { nonce, position: undefined, unfinished: undefined };

  async function take(
    form: 'update' | 'news',
    update: DirectoryUpdate,
    expected: Expected,
    signer = nth(supers, 0),
  ): Promise<unknown> {
    const none = { duplicate: undefined, attach: undefined, beat: undefined, goodbye: undefined };
    const bytes = { update: undefined, news: undefined, ...none };
    const envelope = await seal(DIRECTORY, update, signer.key);
    return (await openUpdate({ ...bytes, [form]: envelope }, expected, context))?.value;
  }

  it('takes the first for it alone, then what goes on from there', async () => {
    assert.deepEqual(await take('update', first, fresh), first);
    assert.deepEqual(await take('news', next, attached), next);
    const own = { ...next, recipient: first.recipient };
    assert.deepEqual(await take('update', own, attached), own);
    const whole = { ...first, sequence: 20 };
    assert.deepEqual(await take('update', whole, attached), whole);
  });

  it('P27 takes the parts of a long list in their order, each once', async () => {
    const parts = [0, 1, 2].map((part) => ({ ...first, part, last: part === 2 ? 1 : 0 }));
    const [one, two, three] = parts;
    assert.ok(one && two && three);
    const following = (unfinished: DirectoryUpdate): Expected => ({ ...fresh, unfinished });
    assert.deepEqual(await take('update', one, fresh), one);
    assert.deepEqual(await take('update', two, following(one)), two);
    assert.deepEqual(await take('update', three, following(two)), three);
    const wrong: [DirectoryUpdate, Expected][] = [
      [two, fresh],
      [three, following(one)],
      [one, following(one)],
      [two, following(two)],
      [{ ...two, sequence: 8 }, following(one)],
      [{ ...two, feed: Uint8Array.from(randomBytes(16)) }, following(one)],
      [{ ...two, base: 6 }, following(one)],
      [first, following(one)],
    ];
    for (const [update, expected] of wrong) {
      await assert.rejects(take('update', update, expected), { code: 'ERR_DIRECTORY_UPDATE' });
    }
    const news = parts
      .slice(0, 2)
      .map((each) => ({ ...each, recipient: undefined, base: 7, sequence: 9 }));
    await take('news', nth(news, 0), attached);
    await take('news', nth(news, 1), { ...attached, unfinished: nth(news, 0) });
    await assert.rejects(take('news', nth(news, 1), attached), { code: 'ERR_DIRECTORY_UPDATE' });
  });

  it('refuses what is replayed, left out, for others, from another feed or signer', async () => {
    const { recipient } = first;
    const other = Uint8Array.from(randomBytes(32));
    const cases: [string, 'update' | 'news', DirectoryUpdate, Expected][] = [
      ['news first', 'news', next, fresh],
      ['changes first', 'update', { ...next, recipient }, fresh],
      ['a whole list that is for nobody', 'news', { ...first, recipient: undefined }, fresh],
      ['the same later', 'news', { ...first, recipient: undefined, sequence: 20 }, attached],
      [
        'another nonce',
        'update',
        { ...first, recipient: { peerId: alice.id, nonce: other } },
        fresh,
      ],
      ['another member', 'update', { ...first, recipient: { peerId: bob.id, nonce } }, fresh],
      ['a gap', 'news', { ...next, base: 8 }, attached],
      ['again', 'news', { ...next, base: 5, sequence: 7 }, attached],
      ['back', 'update', { ...first, sequence: 6 }, attached],
      ['another feed', 'news', { ...next, feed: other.slice(0, 16) }, attached],
      ['another service', 'news', { ...next, serviceId: bob.id }, attached],
      ['own as news', 'news', { ...next, recipient }, attached],
      ['news as own', 'update', next, attached],
    ];
    for (const [what, form, update, expected] of cases) {
      await assert.rejects(take(form, update, expected), { code: 'ERR_DIRECTORY_UPDATE' }, what);
    }
    await assert.rejects(take('update', first, fresh, stranger), { code: 'ERR_DIRECTORY_UPDATE' });
  });

  it('P26 takes the credentials that the list’s own signer signed; those of others must prove it', async () => {
    const [one, two] = supers;
    assert.ok(one && two);
    const listed = async (credential: Uint8Array, superPeer = one, more = {}) =>
      openListed({ credential, multiaddrs: [] }, superPeer.id, { ...context, ...more });
    for (const signer of [one, two]) {
      const { bytes } = await credentialFor(service.id, signer.key, bob.id);
      assert.ok((await listed(bytes))?.peerId.equals(bob.id));
    }
    const { bytes: forged } = await credentialFor(service.id, two.key, bob.id);
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    assert.equal(await listed(forged), undefined);
    const times = { notBefore: 1, notAfter: 2 };
    for (const { bytes } of [
      await credentialFor(service.id, stranger.key, bob.id),
      await credentialFor(alice.id, one.key, bob.id),
      await credentialFor(service.id, one.key, bob.id, times),
      await credentialFor(service.id, one.key, bob.id, { epoch: 2 }),
    ]) {
      assert.equal(await listed(bytes), undefined);
    }
    // P26: a super-peer's own signature is no word for addresses that are not its to give.
    for (const change of [
      { ipv4: '8.8.8.8' },
      { ipv4: '100.65.0.1' },
      { ipv6: ipv6Address(service.id, alice.id) },
      { admittedBy: two.id },
    ]) {
      const misplaced = await credentialFor(service.id, one.key, bob.id, change);
      assert.equal(await listed(misplaced.bytes), undefined, JSON.stringify(change));
    }
    const ipv4 = '100.64.0.7';
    const lease = signLease({ serviceId: service.id, peerId: bob.id, ipv4, since: 1 }, two.key);
    const leased = { admittedBy: two.id, ipv4, lease };
    const renewed = await credentialFor(service.id, one.key, bob.id, leased);
    assert.equal((await listed(renewed.bytes))?.ipv4, ipv4);
    const { bytes } = await credentialFor(service.id, one.key, bob.id);
    const trust = () => ({ ...context.trust(), revoked: () => true });
    assert.equal(await listed(bytes, one, { trust }), undefined);
    assert.equal(await listed(bytes.subarray(1)), undefined);
  });
});

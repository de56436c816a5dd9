import assert from 'node:assert/strict';
import type { PlacedMember } from '../../../src/overlay/claims.ts';
import { DirectoryFeed } from '../../../src/overlay/directory-feed.ts';
import { bytesOnly, identities, identity, nth } from './harness.ts';

const superPeer = (await identity()).id;
const ids = await identities(6);

describe('feed of a directory', () => {
  const view = new Map<string, PlacedMember>();
  let feed: DirectoryFeed;
  let due: number;
  beforeEach(() => {
    view.clear();
    due = 0;
    const members = () => [...view.values()];
    const member: (id: { toString(): string }) => PlacedMember | undefined = (id) =>
      view.get(id.toString());
    feed = new DirectoryFeed({ members, member }, () => due++);
  });
  afterEach(() => feed.close());

  const none = { joined: [], renewed: [], moved: [], left: [] };
  function put(who: number, credential: number): PlacedMember {
    const member = {
      ...{
        peerId: nth(ids, who).id,
        superPeer,
        vmid: `vm${who}`,
        roles: [],
        subnets: [],
        multiaddrs: [],
      },
      ...{ ipv4: '100.64.0.1', ipv6: 'fd00::1', notAfter: 0 },
      credential: bytesOnly(nth(ids, who).id, Uint8Array.of(who, credential)),
    };
    view.set(member.peerId.toString(), member);
    return member;
  }
  const credentials = (base: number): string[] =>
    (feed.since(base)?.joined ?? []).map(({ credential }) => credential.join());

  it('has each member once, as it is now', () => {
    feed.note({ ...none, joined: [put(0, 1), put(1, 1)] });
    feed.note({ ...none, joined: [put(0, 2)] });
    const { peerId } = nth([...view.values()], 1);
    view.delete(peerId.toString());
    feed.note({ ...none, left: [peerId] });
    assert.equal(feed.sequence, 4);
    assert.deepEqual(credentials(0), ['0,2']);
    assert.deepEqual(feed.since(0)?.left.map(String), [peerId.toString()]);
    assert.deepEqual(credentials(4), []);
    assert.equal(due, 3);
  });

  it('renewals wait for the next thing that others act on, and moves are told to nobody', () => {
    feed.note({ ...none, joined: [put(0, 1), put(1, 1)] });
    const known = feed.sequence;
    feed.note({ ...none, renewed: [put(0, 2)] });
    feed.note({ ...none, moved: [put(1, 1)] });
    assert.equal(feed.sequence, known);
    assert.equal(due, 1);
    feed.note({ ...none, joined: [put(2, 1)] });
    assert.deepEqual(credentials(known).toSorted(), ['0,2', '2,1']);
    assert.equal(due, 2);
  });

  it('forgets what is long ago, with a bound', () => {
    const change = { ...none, joined: [put(0, 1)] };
    for (let i = 0; i < 8_192; i++) feed.note(change);
    assert.ok(feed.since(0));
    feed.note(change);
    assert.equal(feed.since(0), undefined);
    assert.equal(feed.sequence, 8_193);
    assert.ok(feed.since(1));
  });
});

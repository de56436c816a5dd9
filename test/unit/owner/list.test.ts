import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { readOwner } from '../../../src/owner/directory.ts';
import { signList } from '../../../src/owner/list.ts';
import { NOTHING_PUBLISHED, type Published, review } from '../../../src/owner/review.ts';
import { createService, updateService } from '../../../src/owner/service.ts';
import type { OwnerState } from '../../../src/owner/state.ts';
import { WAY_BACK_SECONDS } from '../../../src/records/credential.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import {
  MAX_REVOCATIONS,
  REVOCATION,
  type Revocation,
  type RevocationList,
} from '../../../src/records/revocation.ts';
import { type Identity, identities, nth } from '../overlay/harness.ts';
import { TestSuperPeer } from './world.ts';

const LIFETIME = 3600;
const DAY = 86_400;
const now = Math.floor(Date.now() / 1000);
const signal = new AbortController().signal;

describe("the owner's revocation list", () => {
  let dir: string;
  let state: OwnerState;
  let nodes: Identity[];

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-list-'));
    await using superPeer = await TestSuperPeer.make();
    await createService({
      ...{ dir, name: 'shop', superPeers: [await superPeer.card()], overlay: true, signal },
      ...{ ipv4Prefix: { network: '100.64.0.0', length: 16 }, credentialLifetime: LIFETIME },
    });
    state = await readOwner(dir);
    nodes = await identities(8);
  });
  after(() => rm(dir, { recursive: true }));

  const bar = (n: number, since = now): Revocation => {
    return { peerId: nth(nodes, n).id, serial: undefined, since };
  };
  const sign = async (content: Partial<RevocationList>, own = state) => {
    const { serviceId } = own.descriptor.value;
    const none = { revocations: [], tickets: [], sequence: 1 };
    return open(
      REVOCATION,
      await seal(REVOCATION, { ...none, serviceId, issuer: serviceId, ...content }, own.key),
    );
  };

  it('P29 holds all that any list holds, whatever is known where, above all their sequences', async () => {
    const part = fc.record({
      sequence: fc.nat({ max: 5 }),
      barred: fc.uniqueArray(fc.nat({ max: 7 })),
      tickets: fc.uniqueArray(fc.nat({ max: 7 })),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 4 }), fc.option(part), async (parts, own) => {
        const make = ({ sequence, barred, tickets }: (typeof parts)[number]) =>
          sign({
            sequence,
            revocations: barred.map((n) => bar(n)),
            tickets: tickets.map((n) => ({ id: new Uint8Array(16).fill(n), notAfter: now + DAY })),
          });
        const revocations = await Promise.all(parts.map(make));
        const mine = { ...state, revocations: own === null ? undefined : await make(own) };
        const view = review(mine, { ...NOTHING_PUBLISHED, revocations });
        const all = [...parts, ...(own ? [own] : [])];
        const list = view.incomplete ? await signList(view, view.revoked) : view.state.revocations;
        const barred = new Set(all.flatMap((each) => each.barred));
        const tickets = new Set(all.flatMap((each) => each.tickets));
        assert.equal(list?.value.revocations.length ?? 0, barred.size);
        assert.equal(list?.value.tickets.length ?? 0, tickets.size);
        const highest = Math.max(...all.map(({ sequence }) => sequence));
        assert.ok(all.length === 0 || (list?.value.sequence ?? 0) >= highest);
        if (view.incomplete) assert.ok((list?.value.sequence ?? 0) > highest);
      }),
      { numRuns: 200 },
    );
  });

  it('P29 is above every other one when the clock has gone back, too', async () => {
    const sequence = Date.now() + 86_400_000;
    const ahead = { ...state, revocations: await sign({ sequence, revocations: [bar(0)] }) };
    const view = review(ahead, NOTHING_PUBLISHED);
    assert.equal((await signList(view, view.revoked)).value.sequence, sequence + 1);
  });

  it('P33 forgets what has ended by itself, and never a node that is barred', async () => {
    // Credentials that have ended are renewed for a while.
    const ended = now - LIFETIME - WAY_BACK_SECONDS - DAY;
    const serial = new Uint8Array(16);
    const content = {
      revocations: [
        { ...bar(0, ended), serial },
        { ...bar(1, ended + 2 * DAY), serial },
        bar(2, ended),
      ],
      tickets: [ended, now + DAY].map((notAfter, i) => ({
        id: new Uint8Array(16).fill(i),
        notAfter,
      })),
    };
    const { value } = await signList(review(state, NOTHING_PUBLISHED), content);
    assert.deepEqual(
      value.revocations.map(({ peerId }) => peerId.toString()),
      [nth(nodes, 1).id.toString(), nth(nodes, 2).id.toString()],
    );
    assert.deepEqual(
      value.tickets.map(({ id }) => id[0]),
      [1],
    );
  });

  it('P34 says that it is full before anything else, and what makes room', async () => {
    const revocations = (await identities(MAX_REVOCATIONS + 1)).map(({ id: peerId }) => {
      return { peerId, serial: undefined, since: now - DAY };
    });
    const full = { revocations, tickets: [] };
    await assert.rejects(signList(review(state, NOTHING_PUBLISHED), full), {
      code: 'ERR_REVOCATIONS_FULL',
      remedy: /--admit-anew/,
    });
    const most = { ...full, revocations: revocations.slice(1) };
    const { value } = await signList(review(state, NOTHING_PUBLISHED), most);
    assert.equal(value.revocations.length, MAX_REVOCATIONS);
  });

  it('P33 bars end only when nothing of before admits any more, and that is published', async () => {
    await updateService({ dir, admitAnew: true, signal });
    const anew = await readOwner(dir);
    const { epoch } = anew.descriptor.value;
    const long = { since: now - LIFETIME - DAY, epoch };
    const content = { revocations: [bar(0, long.since - 1), bar(1, long.since)], tickets: [] };
    const published: Published = { ...NOTHING_PUBLISHED, descriptors: [anew.descriptor] };
    const ticket = { id: new Uint8Array(16), superPeer: nth(nodes, 7).id, vmid: undefined };
    const kept = async (own: OwnerState, known = published): Promise<number> =>
      (await signList(review(own, known), content)).value.revocations.length;
    assert.equal(await kept({ ...anew, admittedAnew: long }), 1);
    // Not published yet; credentials of before may last; a ticket of before may admit; never done at all.
    assert.equal(await kept({ ...anew, admittedAnew: long }, NOTHING_PUBLISHED), 2);
    assert.equal(await kept({ ...anew, admittedAnew: { since: now - 60, epoch } }), 2);
    const issued = { ...ticket, issued: long.since - 1, notAfter: now + DAY };
    assert.equal(await kept({ ...anew, admittedAnew: long, tickets: [issued] }), 2);
    assert.equal(await kept({ ...anew, admittedAnew: undefined }), 2);
  });
});

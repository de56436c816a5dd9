import assert from 'node:assert/strict';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Ed25519PeerId } from '@libp2p/interface';
import fc from 'fast-check';
import type { AddressClaim } from '../../../src/admission/lease-table.ts';
import { AdmissionStore } from '../../../src/admission/store.ts';
import { Ipv4PoolError } from '../../../src/records/address-range.ts';
import { ED25519_PREFIX, peerIdFromEd25519 } from '../../../src/records/peer-id.ts';
import { Ipv4Pool } from '../../../src/records/virtual-address.ts';

const HOUR = 3600;
const DAY = 24 * HOUR;
/** Two clocks that are wrong by two minutes each. */
const GRACE = 240;
const START = 1_800_000_000;

function peer(number: number): Ed25519PeerId {
  const raw = Buffer.alloc(32);
  raw.writeUInt32BE(number);
  const id = peerIdFromEd25519(Buffer.concat([ED25519_PREFIX, raw]));
  assert.ok(id);
  return id;
}

const service = peer(0xffff_ffff);
const serviceId = service.toString();
/** 60 addresses: a /20 has four in each of 1,024 units. */
const small = new Ipv4Pool({ network: '10.0.0.0', length: 20 }, { first: 1, count: 15 });

describe('P26 leases of IPv4 addresses', () => {
  let folder: string;
  let store: AdmissionStore;
  let pool: Ipv4Pool;

  beforeEach(() => {
    // In memory: the store syncs each change, and random runs make very many.
    folder = mkdtempSync(join('/dev/shm', 'icvpn-leases-'));
    store = new AdmissionStore(join(folder, 'admission.db'));
    pool = small;
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  const take = (member: Ed25519PeerId, now: number, held?: AddressClaim): AddressClaim =>
    store.leases.take({ service, peer: member, now, notAfter: now + DAY, held }, pool);
  const heard = (now: number): void => store.leases.heard(serviceId, now, DAY);
  const fill = (now: number): AddressClaim[] =>
    Array.from({ length: pool.size }, (_, i) => take(peer(i), now));

  /** Heard without a gap. */
  function pass(from: number, to: number): void {
    for (let now = from; now <= to; now += 100) heard(now);
  }

  it('stay with members that renew, while a hundred VMs come and go each day', () => {
    pool = new Ipv4Pool({ network: '10.0.0.0', length: 20 }, { first: 0, count: 38 });
    const staying = Array.from({ length: 20 }, (_, i) => peer(i));
    const own = new Map(staying.map((each) => [each.toString(), take(each, START)]));
    const inUse = new Set([...own.values()].map(({ ipv4 }) => ipv4));
    assert.equal(inUse.size, staying.length);
    // 151 addresses: without an end of leases they would be used up on the second day.
    let comer = 1000;
    let due = START + 16 * HOUR;
    for (let now = START; now < START + 5 * DAY; now += DAY / 100) {
      heard(now);
      if (now >= due) {
        due += 16 * HOUR;
        for (const each of staying) {
          const held = own.get(each.toString());
          assert.equal(take(each, now, held).ipv4, held?.ipv4);
        }
      }
      assert.ok(!inUse.has(take(peer(comer++), now).ipv4), `day ${(now - START) / DAY}`);
      pass(now + 100, now + DAY / 100 - 100);
    }
  });

  it('are not given on before the newest credential has ended, and clocks may be wrong', () => {
    fill(START);
    pass(START, START + DAY + GRACE);
    assert.throws(() => take(peer(999), START + DAY + GRACE), Ipv4PoolError);
    heard(START + DAY + GRACE + 60);
    take(peer(999), START + DAY + GRACE + 60);
  });

  it('of a full range are refused with a typed error that says what to do, and nobody loses one', () => {
    const given = fill(START);
    assert.equal(new Set(given.map(({ ipv4 }) => ipv4)).size, pool.size);
    assert.throws(
      () => take(peer(999), START + HOUR),
      (error) =>
        error instanceof Ipv4PoolError &&
        error.code === 'ERR_IPV4_POOL' &&
        /60 IPv4 addresses/.test(error.message) &&
        /service update/.test(error.remedy),
    );
    given.forEach((claim, i) => {
      assert.deepEqual(take(peer(i), START + HOUR, claim), claim);
    });
  });

  it('last as long as a credential that another super-peer has renewed', () => {
    const given = fill(START);
    heard(START);
    const [first] = given;
    assert.ok(first);
    pass(START, START + HOUR);
    store.leases.learn(
      serviceId,
      { ...first, peer: peer(0), notAfter: START + HOUR + 3 * DAY },
      START + HOUR,
    );
    pass(START + HOUR, START + 2 * DAY);
    const others = new Set(
      Array.from({ length: pool.size - 1 }, (_, i) => take(peer(500 + i), START + 2 * DAY).ipv4),
    );
    assert.ok(!others.has(first.ipv4));
    assert.throws(() => take(peer(999), START + 2 * DAY), Ipv4PoolError);
  });

  it('do not end while other super-peers are not heard, and last one lifetime more when they are again', () => {
    fill(START);
    heard(START);
    // Ten days without a word: the members may have renewed at others all the time.
    const back = START + 10 * DAY;
    assert.throws(() => take(peer(999), back), Ipv4PoolError);
    heard(back);
    pass(back, back + DAY + GRACE);
    assert.throws(() => take(peer(999), back + DAY + GRACE), Ipv4PoolError);
    heard(back + DAY + GRACE + 60);
    take(peer(999), back + DAY + GRACE + 60);
  });

  it('of members that are gone end, though this super-peer restarts each night', () => {
    fill(START);
    heard(START);
    let now = START;
    for (let night = 0; night < 4; night++) {
      pass(now, now + 20 * HOUR);
      now += 20 * HOUR + 600;
      heard(now);
    }
    take(peer(999), now);
  });

  it('of members that are seen again after each silence last on', () => {
    const given = fill(START);
    heard(START);
    const [first] = given;
    assert.ok(first);
    let now = START;
    for (let night = 0; night < 4; night++) {
      pass(now, now + 20 * HOUR);
      now += 20 * HOUR + 600;
      store.leases.learn(serviceId, { ...first, peer: peer(0), notAfter: now + HOUR }, now);
      heard(now);
    }
    for (let i = 0; i < pool.size - 1; i++)
      assert.notEqual(take(peer(500 + i), now).ipv4, first.ipv4);
  });

  it('end at once when the member is revoked', () => {
    const [first] = fill(START);
    assert.throws(() => take(peer(999), START), Ipv4PoolError);
    store.leases.release(serviceId, peer(0).toString());
    assert.deepEqual(take(peer(999), START), { ipv4: first?.ipv4, since: START });
    assert.ok(!store.leases.peers(serviceId).includes(peer(0).toString()));
  });

  it('are the same for a member that comes back while its lease lasts', () => {
    const { ipv4, since } = take(peer(1), START);
    heard(START);
    assert.deepEqual(take(peer(1), START + HOUR), { ipv4, since });
  });

  it('P26 are known again from credentials when the store was lost', () => {
    const given = fill(START);
    store.close();
    store = new AdmissionStore(join(folder, 'another.db'));
    given.forEach((claim, i) => {
      assert.ok(
        store.leases.learn(serviceId, { ...claim, peer: peer(i), notAfter: START + DAY }, START),
      );
    });
    assert.throws(() => take(peer(999), START + HOUR), Ipv4PoolError);
    given.forEach((claim, i) => {
      assert.equal(take(peer(i), START + HOUR, claim).ipv4, claim.ipv4);
    });
  });

  it('of a store from a backup have not ended by themselves', () => {
    fill(START);
    heard(START);
    store.close();
    copyFileSync(join(folder, 'admission.db'), join(folder, 'backup.db'));
    store = new AdmissionStore(join(folder, 'backup.db'));
    const now = START + 5 * DAY;
    heard(now);
    assert.throws(() => take(peer(999), now), Ipv4PoolError);
  });

  it('that two members claim stay with the older claim; the other gets another at its renewal', () => {
    const { ipv4 } = take(peer(1), START);
    const older = { ipv4, since: START - HOUR };
    const claim = { ...older, peer: peer(2), notAfter: START + DAY };
    assert.equal(store.leases.learn(serviceId, claim, START), true);
    const moved = take(peer(1), START + HOUR, { ipv4, since: START });
    assert.notEqual(moved.ipv4, ipv4);
    assert.equal(take(peer(2), START + HOUR, older).ipv4, ipv4);
    const younger = { ipv4, since: START, peer: peer(3), notAfter: START + DAY };
    assert.equal(store.leases.learn(serviceId, younger, START + HOUR), false);
    assert.equal(take(peer(2), START + HOUR, older).ipv4, ipv4);
  });

  it('outside the range, as after another range was given, are replaced', () => {
    const before = take(peer(1), START);
    pool = new Ipv4Pool({ network: '10.0.0.0', length: 20 }, { first: 100, count: 15 });
    const after = take(peer(1), START + HOUR, before);
    assert.ok(pool.has(after.ipv4) && !pool.has(before.ipv4));
  });

  it('of a store of the version before are kept', () => {
    const path = join(folder, 'old.db');
    const old = new DatabaseSync(path);
    old.exec(`
      CREATE TABLE service (id TEXT PRIMARY KEY, sequence INTEGER NOT NULL, descriptor BLOB NOT NULL) STRICT;
      CREATE TABLE ticket (
        id BLOB PRIMARY KEY, peer TEXT NOT NULL, used INTEGER NOT NULL, not_after INTEGER NOT NULL
      ) STRICT;
      CREATE TABLE lease (
        service TEXT NOT NULL, address TEXT NOT NULL, peer TEXT NOT NULL, not_after INTEGER NOT NULL,
        PRIMARY KEY (service, address), UNIQUE (service, peer)
      ) STRICT;
      PRAGMA user_version = 1;
    `);
    old
      .prepare('INSERT INTO lease VALUES (?, ?, ?, ?)')
      .run(serviceId, '10.0.0.9', peer(1).toString(), START);
    old.close();
    store.close();
    store = new AdmissionStore(path);
    assert.equal(take(peer(1), START + DAY).ipv4, '10.0.0.9');
  });

  it('are never two members’, whatever happens in whatever order', () => {
    const action = fc.oneof(
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('admit'), who: fc.nat(11) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('renew'), who: fc.nat(11) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('elsewhere'), who: fc.nat(11) }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('leave'), who: fc.nat(11) }) },
      { weight: 4, arbitrary: fc.record({ kind: fc.constant('wait'), who: fc.nat(30) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut'), who: fc.constant(0) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('join'), who: fc.constant(0) }) },
    );
    const tiny = new Ipv4Pool({ network: '10.0.0.0', length: 24 }, { first: 16, count: 20 });
    fc.assert(
      fc.property(fc.array(action, { minLength: 20, maxLength: 120 }), (actions) => {
        store.close();
        rmSync(join(folder, 'property.db'), { force: true });
        store = new AdmissionStore(join(folder, 'property.db'));
        pool = tiny;
        let now = START;
        let connected = true;
        heard(now);
        /** Credentials that hold, and whether a shard tells them: their members are attached somewhere. */
        const valid = new Map<number, AddressClaim & { notAfter: number; attached: boolean }>();
        const tell = (who: number): void => {
          const claim = valid.get(who);
          if (claim?.attached && connected) {
            store.leases.learn(serviceId, { ...claim, peer: peer(who) }, now);
          }
        };
        const issue = (who: number, claim: AddressClaim): void => {
          valid.set(who, { ...claim, notAfter: now + DAY, attached: true });
          const others = [...valid].filter(([other, each]) => {
            return other !== who && each.ipv4 === claim.ipv4 && now < each.notAfter + GRACE;
          });
          assert.deepEqual(others, [], `${claim.ipv4} is another member's`);
        };
        const attempt = (who: number, held?: AddressClaim): void => {
          try {
            issue(who, take(peer(who), now, held));
          } catch (error) {
            if (!(error instanceof Ipv4PoolError)) throw error;
          }
        };
        for (const { kind, who } of actions) {
          const holds = valid.get(who);
          const live = holds !== undefined && now < holds.notAfter;
          if (kind === 'admit') attempt(who);
          else if (kind === 'renew' && live) attempt(who, holds);
          // A node that is there only while this super-peer is cut off is the case that docs/addresses.md leaves.
          else if (kind === 'elsewhere' && live && (connected || holds.attached)) {
            issue(who, holds);
            tell(who);
          } else if (kind === 'leave' && holds) valid.set(who, { ...holds, attached: false });
          else if (kind === 'cut') connected = false;
          else if (kind === 'join' && !connected) {
            connected = true;
            for (const each of valid.keys()) tell(each);
            heard(now);
          } else if (kind === 'wait') {
            for (let left = who * HOUR; left > 0; left -= 100) {
              now += 100;
              if (connected) heard(now);
            }
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { RecordError, RecordStore } from '../../../src/overlay/record-store.ts';
import {
  DESCRIPTOR_RECORD,
  ENDPOINT_RECORD,
  MEMBERSHIP_RECORD,
  REVOCATION_RECORD,
  recordKey,
} from '../../../src/overlay/stored-kinds.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import type { Endpoint } from '../../../src/records/endpoint.ts';
import { EnvelopeError, seal } from '../../../src/records/envelope.ts';
import { SHARD_BUCKETS } from '../../../src/records/membership.ts';
import { TOMBSTONE } from '../../../src/records/tombstone.ts';
import { descriptorOf, type Identity, identities, identity, nth } from './harness.ts';

const service = await identity();
const member = await identity();
const other = await identity();
const NOW = 1_800_000_000;
const key = recordKey(ENDPOINT_RECORD, service.id, member.id);

function endpoint(sequence: number, change: Partial<Endpoint> = {}): Endpoint {
  return {
    serviceId: service.id,
    peerId: member.id,
    sequence,
    notAfter: NOW + 600,
    multiaddrs: [],
    underlay: ['10.0.0.1'],
    ...change,
  };
}

const sealed = (value: Endpoint, by: Identity = member): Promise<Uint8Array> =>
  seal(ENDPOINT_RECORD.record, value, by.key);

function store(options: Partial<ConstructorParameters<typeof RecordStore>[0]> = {}): RecordStore {
  return new RecordStore({ kinds: [ENDPOINT_RECORD], clock: () => NOW * 1000, ...options });
}

const fails = (code: string) => (error: unknown) =>
  error instanceof RecordError && error.code === code;

describe('the record store', () => {
  it('P8 keeps the newest, in whichever order versions come, the same one everywhere', async () => {
    const versions = await Promise.all(
      [1, 2, 2, 3, 3, 3].map((sequence, i) =>
        sealed(endpoint(sequence, { underlay: [`10.0.0.${i}`] })),
      ),
    );
    const order = fc.shuffledSubarray(versions, { minLength: versions.length });
    await fc.assert(
      fc.asyncProperty(order, order, async (one, two) => {
        const ends = [one, two].map(async (list) => {
          const node = store();
          let last = 0;
          for (const bytes of list) {
            await node
              .accept(key, bytes)
              .catch((error) => assert.ok(fails('ERR_RECORD_OLD')(error)));
            const floor = node.floor(key)?.sequence ?? 0;
            assert.ok(floor >= last);
            last = floor;
          }
          return node.get(key)?.opened.bytes;
        });
        const [a, b] = await Promise.all(ends);
        assert.ok(a && b);
        assert.deepEqual(a, b);
      }),
      { numRuns: 50 },
    );
  });

  it('P8 refuses a lower sequence', async () => {
    const node = store();
    await node.accept(key, await sealed(endpoint(5)));
    await assert.rejects(node.accept(key, await sealed(endpoint(4))), fails('ERR_RECORD_OLD'));
    const entry = node.get(key);
    assert.equal(entry && ENDPOINT_RECORD.sequence === entry.kind.sequence, true);
    assert.equal(node.floor(key)?.sequence, 5);
  });

  describe('descriptors', () => {
    const kinds = [DESCRIPTOR_RECORD];
    const at = recordKey(DESCRIPTOR_RECORD, service.id);
    const describe = (change: Partial<ServiceDescriptor>): Promise<Uint8Array> =>
      seal(DESCRIPTOR_RECORD.record, descriptorOf(service.id, [], change), service.key);

    it('P8 P33 one of an epoch that is over never comes back, whatever its sequence', async () => {
      const node = store({ kinds });
      const newest = await describe({ epoch: 3, sequence: 7 });
      await node.accept(at, newest);
      for (const sequence of [1, 7, 8, 1_000]) {
        const old = await describe({ epoch: 2, sequence });
        await assert.rejects(node.accept(at, old), fails('ERR_RECORD_EPOCH'));
      }
      assert.deepEqual(node.get(at)?.opened.bytes, newest);
      await node.accept(at, await describe({ epoch: 4, sequence: 2 }));
      assert.equal(node.held(at)?.epoch, 4);
    });

    it('P8 all nodes end with the same one, whichever came first', async () => {
      const versions = await Promise.all(
        [1, 2, 3].flatMap((epoch) =>
          [4, 5, 5].map((sequence, i) =>
            describe({ epoch, sequence: sequence - epoch, name: `n${i}` }),
          ),
        ),
      );
      const order = fc.shuffledSubarray(versions, { minLength: versions.length });
      await fc.assert(
        fc.asyncProperty(order, order, async (one, two) => {
          const [a, b] = [store({ kinds }), store({ kinds })];
          for (const bytes of one) await a.accept(at, bytes).catch(() => undefined);
          for (const bytes of two) await b.accept(at, bytes).catch(() => undefined);
          assert.equal(a.held(at)?.epoch, 3);
          assert.deepEqual(a.held(at)?.bytes, b.held(at)?.bytes);
        }),
        { numRuns: 50 },
      );
    });

    it('P33 of two epochs with one number and other secrets the first stays', async () => {
      const node = store({ kinds });
      const first = { epoch: 2, epochId: randomBytes(32), attributePublicKey: randomBytes(64) };
      await node.accept(at, await describe({ ...first, sequence: 2 }));
      for (const other of [
        { epochId: randomBytes(32) },
        { epochId: undefined },
        { attributePublicKey: randomBytes(64) },
      ]) {
        const second = await describe({ ...first, ...other, sequence: 9 });
        await assert.rejects(node.accept(at, second), fails('ERR_RECORD_EPOCH'));
      }
      await node.accept(at, await describe({ ...first, sequence: 3 }));
      assert.equal(node.held(at)?.sequence, 3);
    });
  });

  it('P27 refuses a record and a tombstone of a time to come, after which its signer could write no other', async () => {
    const kept = store();
    const year = 366 * 86_400_000;
    const ahead = NOW * 1000 + year + 1;
    for (const sequence of [ahead, Number.MAX_SAFE_INTEGER]) {
      await assert.rejects(
        kept.accept(key, await sealed(endpoint(sequence))),
        fails('ERR_RECORD_AHEAD'),
      );
      const end = { serviceId: service.id, key, sequence };
      const tombstone = await seal(TOMBSTONE, end, member.key);
      await assert.rejects(kept.accept(key, tombstone), fails('ERR_RECORD_AHEAD'));
    }
    assert.equal(kept.floor(key), undefined);
    await kept.accept(key, await sealed(endpoint(ahead - 1)));
    // What lies on the disk was in time once: a clock that is wrong at boot forgets nothing.
    const early = store({ clock: () => 0 });
    const envelope = await sealed(endpoint(NOW * 1000, { notAfter: 600 }));
    await early.restore(key, { epoch: 0, sequence: NOW * 1000, change: undefined }, envelope);
    assert.ok(early.get(key));
  });

  it('P8 refuses another owner and another key', async () => {
    const node = store();
    await node.accept(key, await sealed(endpoint(5)));
    const foreign = await sealed(endpoint(6), other);
    await assert.rejects(node.accept(key, foreign), fails('ERR_RECORD_SIGNER'));
    const elsewhere = await sealed(endpoint(6, { peerId: other.id }), other);
    await assert.rejects(node.accept(key, elsewhere), fails('ERR_RECORD_KEY'));
    for (const wrong of [
      '',
      '/',
      '/icvpn-endpoint',
      '/pk/x',
      `/nothing/${member.id}`,
      `${key}/x`,
    ]) {
      await assert.rejects(node.accept(wrong, await sealed(endpoint(6))), fails('ERR_RECORD_KEY'));
    }
    assert.equal(node.floor(key)?.sequence, 5);
  });

  it('P8 a record that ended does not come back in an older version', async () => {
    let now = NOW;
    const node = store({ clock: () => now * 1000 });
    const older = await sealed(endpoint(4, { notAfter: NOW + 6000 }));
    await node.accept(key, await sealed(endpoint(5)));
    now += 600;
    assert.equal(node.get(key), undefined);
    await assert.rejects(node.accept(key, await sealed(endpoint(5))), fails('ERR_RECORD_EXPIRED'));
    await assert.rejects(node.accept(key, older), fails('ERR_RECORD_OLD'));
  });

  it('P8 of two versions that arrive together the newer one stays', async () => {
    const node = store();
    const both = [await sealed(endpoint(9)), await sealed(endpoint(8))];
    await Promise.allSettled(both.map((bytes) => node.accept(key, bytes)));
    assert.equal(node.floor(key)?.sequence, 9);
    assert.deepEqual(node.get(key)?.opened.bytes, both[0]);
  });

  describe('tombstones', () => {
    const tombstone = (sequence: number, by: Identity = member): Promise<Uint8Array> =>
      seal(TOMBSTONE, { serviceId: service.id, key, sequence }, by.key);

    it('P8 a tombstone stays dead: no older or equal version comes back', async () => {
      const node = store();
      await node.accept(key, await sealed(endpoint(5)));
      await node.accept(key, await tombstone(6));
      assert.equal(node.get(key), undefined);
      for (const sequence of [5, 6]) {
        const again = await sealed(endpoint(sequence));
        await assert.rejects(node.accept(key, again), fails('ERR_RECORD_OLD'));
      }
      assert.equal(node.held(key)?.sequence, 6);
      assert.equal(node.get(key), undefined);
    });

    it('P8 the tombstone wins over a record of its sequence, whichever comes first', async () => {
      const node = store();
      await node.accept(key, await sealed(endpoint(6)));
      await node.accept(key, await tombstone(6));
      assert.equal(node.get(key), undefined);
    });

    it('P8 one key ends its own record alone, not as many as it can think of names for', async () => {
      const node = store({ kinds: [ENDPOINT_RECORD, MEMBERSHIP_RECORD] });
      const shard = recordKey(MEMBERSHIP_RECORD, service.id, member.id);
      for (const made of [
        `${key}/1`,
        `${key}/x/y`,
        `${key}/`,
        shard,
        `${shard}/${SHARD_BUCKETS}`,
        `${shard}/01`,
      ]) {
        const end = { serviceId: service.id, key: made, sequence: 9 };
        const tombstone = await seal(TOMBSTONE, end, member.key);
        await assert.rejects(node.accept(made, tombstone), fails('ERR_RECORD_KEY'), made);
      }
      const end = { serviceId: service.id, key: `${shard}/15`, sequence: 9 };
      await node.accept(end.key, await seal(TOMBSTONE, end, member.key));
      assert.equal(node.size, 1);
    });

    it('P8 nobody but the signer of the record can end it', async () => {
      const node = store();
      await node.accept(key, await sealed(endpoint(5)));
      for (const by of [other, service]) {
        const forged = await tombstone(9, by);
        await assert.rejects(node.accept(key, forged), fails('ERR_RECORD_SIGNER'));
      }
      const elsewhere = recordKey(ENDPOINT_RECORD, service.id, other.id);
      await assert.rejects(node.accept(elsewhere, await tombstone(9)), fails('ERR_RECORD_KEY'));
      assert.ok(node.get(key));
    });

    it('the signer may begin anew above it', async () => {
      const node = store();
      await node.accept(key, await tombstone(6));
      await node.accept(key, await sealed(endpoint(7)));
      assert.ok(node.get(key));
    });

    it('P8 makes room when space is short, and is still not undone', async () => {
      const node = store({ maxRecords: 1 });
      await node.accept(key, await tombstone(6));
      const second = recordKey(ENDPOINT_RECORD, service.id, other.id);
      await node.accept(second, await sealed(endpoint(1, { peerId: other.id }), other));
      assert.equal(node.held(key), undefined);
      await assert.rejects(node.accept(key, await sealed(endpoint(5))), fails('ERR_RECORD_OLD'));
    });
  });

  it('takes records of its own service only, where it has one', async () => {
    const node = store({ scope: other.id });
    await assert.rejects(node.accept(key, await sealed(endpoint(1))), fails('ERR_RECORD_KEY'));
  });

  it('takes no endpoint that is to last for longer than a day', async () => {
    const node = store();
    const late = await sealed(endpoint(1, { notAfter: NOW + 86_401 }));
    await assert.rejects(node.accept(key, late), fails('ERR_RECORD_CONTENT'));
    await node.accept(key, await sealed(endpoint(1, { notAfter: NOW + 86_400 })));
  });

  it('P8 P28 takes endpoints and tombstones of keys that were admitted only', async () => {
    const admitted = new Set([member.id.toString()]);
    const node = store({ isMember: (peer) => admitted.has(peer) });
    for (let i = 0; i < 20; i++) {
      const made = await identity();
      const at = recordKey(ENDPOINT_RECORD, service.id, made.id);
      const bytes = await sealed(endpoint(1, { peerId: made.id }), made);
      const end = await seal(TOMBSTONE, { serviceId: service.id, key: at, sequence: 2 }, made.key);
      for (const each of [bytes, end]) {
        await assert.rejects(node.accept(at, each), fails('ERR_RECORD_SIGNER'));
      }
      assert.equal(node.floor(at), undefined);
    }
    const bytes = await sealed(endpoint(1));
    await node.accept(key, bytes);
    // It stays over a restart of this node, which then knows nobody yet.
    const again = store({ isMember: () => false });
    await again.restore(key, { epoch: 0, sequence: 1 }, bytes);
    assert.ok(again.get(key));
    await assert.rejects(again.accept(key, await sealed(endpoint(2))), fails('ERR_RECORD_SIGNER'));
  });

  describe('revocation lists', () => {
    const listKey = (issuer: Identity) => recordKey(REVOCATION_RECORD, service.id, issuer.id);
    const list = (issuer: Identity, sequence = 1) =>
      seal(
        REVOCATION_RECORD.record,
        { serviceId: service.id, issuer: issuer.id, sequence, revocations: [], tickets: [] },
        issuer.key,
      );
    const kinds = [DESCRIPTOR_RECORD, REVOCATION_RECORD, ENDPOINT_RECORD];
    const naming = (sequence: number, ...named: Identity[]) => {
      const admitters = named.map(({ id: peerId }, i) => ({
        ...{
          peerId,
          range: { first: 16 * i, count: 16 },
          multiaddrs: [],
          sealedSecrets: new Uint8Array(),
        },
      }));
      const value = descriptorOf(service.id, [], { sequence, admitters });
      return seal(DESCRIPTOR_RECORD.record, value, service.key);
    };
    const at = recordKey(DESCRIPTOR_RECORD, service.id);

    it('P11 are held of those alone who may issue some, and tombstones likewise', async () => {
      const node = store({ kinds });
      await node.accept(at, await naming(1));
      await node.accept(listKey(service), await list(service));
      await assert.rejects(node.accept(listKey(other), await list(other)), fails('ERR_RECORD_KEY'));
      const end = { serviceId: service.id, key: listKey(other), sequence: 2 };
      const tombstone = await seal(TOMBSTONE, end, other.key);
      await assert.rejects(node.accept(listKey(other), tombstone), fails('ERR_RECORD_KEY'));
      assert.equal(node.size, 2);
    });

    it('P33 of a super-peer that was struck off stay as they were then', async () => {
      const node = store({ kinds });
      await node.accept(at, await naming(1, other));
      const then = await list(other, 1);
      await node.accept(listKey(other), then);
      await node.accept(at, await naming(2));
      await assert.rejects(
        node.accept(listKey(other), await list(other, 2)),
        fails('ERR_RECORD_KEY'),
      );
      assert.deepEqual(node.get(listKey(other))?.opened.bytes, then);
    });

    it('P33 that came before any descriptor go when the first one does not name their issuer', async () => {
      const node = store({ kinds });
      const forgotten: string[] = [];
      node.on('forgotten', (each) => forgotten.push(each));
      for (const issuer of [service, member, other]) {
        await node.accept(listKey(issuer), await list(issuer));
      }
      await node.accept(at, await naming(1, member));
      assert.deepEqual(forgotten, [listKey(other)]);
      assert.deepEqual(
        [service, member, other].map((each) => node.get(listKey(each)) !== undefined),
        [true, true, false],
      );
    });

    it('P11 take the place of endpoints where there is no more room, by number or by bytes', async () => {
      const [first, second] = [
        await sealed(endpoint(1)),
        await sealed(endpoint(1, { peerId: other.id }), other),
      ];
      const bytes = first.length + second.length;
      for (const limits of [{ maxRecords: 2 }, { maxBytes: bytes }]) {
        const node = store({ kinds, ...limits });
        await node.accept(key, first);
        await node.accept(recordKey(ENDPOINT_RECORD, service.id, other.id), second);
        await node.accept(listKey(service), await list(service));
        assert.ok(node.get(listKey(service)));
        // And the other way round they do not.
        await node.accept(listKey(other), await list(other));
        await assert.rejects(node.accept(key, await sealed(endpoint(2))), fails('ERR_RECORD_FULL'));
      }
    });
  });

  describe('P28 beside services that it does not serve', () => {
    const kinds = [DESCRIPTOR_RECORD, REVOCATION_RECORD];
    const serves = (id: Identity['id']): boolean => id.equals(service.id);
    const listOf = async (of: Identity['id'], issuer: Identity, sequence = 1, out = 0) => {
      const revocations = Array.from({ length: out }, () => {
        return { peerId: member.id, serial: randomBytes(16), since: 1 };
      });
      const value = { serviceId: of, issuer: issuer.id, sequence, revocations, tickets: [] };
      const bytes = await seal(REVOCATION_RECORD.record, value, issuer.key);
      return { key: recordKey(REVOCATION_RECORD, of, issuer.id), bytes };
    };
    const put = async (node: RecordStore, { key: at, bytes }: { key: string; bytes: Uint8Array }) =>
      node.accept(at, bytes).then(
        () => true,
        (error) => !fails('ERR_RECORD_FULL')(error),
      );

    it('one signer takes a 64th of the room, one service a 16th, all of them three quarters', async () => {
      const node = store({ kinds, serves, maxRecords: 128 });
      const ids = await identities(110);
      let taken = 0;
      // One that signs lists for services that it made up.
      for (const { id } of ids.slice(0, 8)) if (await put(node, await listOf(id, other))) taken++;
      assert.equal(taken, 2);
      // Many that sign lists for one service.
      for (const each of ids.slice(0, 20)) {
        if (await put(node, await listOf(nth(ids, 109).id, each))) taken++;
      }
      assert.equal(taken, 2 + 8);
      // Services of their own.
      for (const each of ids) if (await put(node, await listOf(each.id, each))) taken++;
      assert.equal(taken, 96);
      assert.equal(node.size, 96);
    });

    it('P11 what is served takes their place, and a list that grows by one entry gets in', async () => {
      const ids = await identities(16);
      const lists = await Promise.all(ids.map((each) => listOf(each.id, each, 1, 20)));
      const own = await listOf(service.id, service, 1, 40);
      const maxBytes = 16 * nth(lists, 0).bytes.length;
      const node = store({ kinds, serves, maxBytes });
      for (const each of lists) await put(node, each);
      const before = node.size;
      assert.ok(before > 8 && before < 16);
      for (let sequence = 1; sequence <= 12; sequence++) {
        const list = await listOf(service.id, service, sequence, 40 * sequence);
        assert.ok(await put(node, list));
        assert.deepEqual(node.get(own.key)?.opened.bytes, list.bytes);
      }
      assert.ok(node.size < before);
    });
  });

  it('stays within its limits and counts its bytes', async () => {
    const [a, b] = [
      await sealed(endpoint(1)),
      await sealed(endpoint(1, { peerId: other.id }), other),
    ];
    const second = recordKey(ENDPOINT_RECORD, service.id, other.id);
    for (const limits of [{ maxRecords: 1 }, { maxBytes: a.length + b.length - 1 }]) {
      const node = store(limits);
      await node.accept(key, a);
      await assert.rejects(node.accept(second, b), fails('ERR_RECORD_FULL'));
      const newer = await sealed(endpoint(2));
      await node.accept(key, newer);
      assert.deepEqual([node.size, node.byteLength], [1, newer.length]);
    }
  });

  it('P24 gives a typed error for any bytes and any alteration', async () => {
    const node = store();
    const good = await sealed(endpoint(1));
    const altered = fc
      .tuple(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }))
      .map(([at, bits]) => good.with(at, nth([...good], at) ^ bits));
    const input = fc.oneof(fc.uint8Array({ maxLength: 200 }), altered);
    await fc.assert(
      fc.asyncProperty(input, async (bytes) => {
        await assert.rejects(
          node.accept(key, bytes),
          (error) => error instanceof EnvelopeError || error instanceof RecordError,
        );
      }),
      { numRuns: 300 },
    );
    assert.equal(node.size, 0);
  });
});

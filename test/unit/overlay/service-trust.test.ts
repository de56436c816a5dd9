/**
 * What a node believes of its service, with its records on disk and no network.
 *
 * ```
 *  descriptors, lists ─▶ store ─▶ trust        restart: the same directory, read again
 *                          └────▶ files
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { RecordFiles } from '../../../src/overlay/record-files.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { Records } from '../../../src/overlay/records.ts';
import { holdDescriptor, ServiceTrust } from '../../../src/overlay/service-trust.ts';
import {
  DESCRIPTOR_RECORD,
  REVOCATION_RECORD,
  recordKey,
  SPREAD_KINDS,
} from '../../../src/overlay/stored-kinds.ts';
import { CredentialError, checkCredential } from '../../../src/records/credential.ts';
import type { ServiceDescriptor } from '../../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../../src/records/envelope.ts';
import { Cleanup, credentialFor, descriptorOf, type Identity, identity } from './harness.ts';
import { MemoryNetwork } from './memory-network.ts';

const service = await identity();
const [one, two] = [await identity(), await identity()];
const [member, other] = [await identity(), await identity()];
const descriptorKey = recordKey(DESCRIPTOR_RECORD, service.id);

async function descriptor(
  named: readonly Identity[],
  change: Partial<ServiceDescriptor>,
): Promise<Opened<ServiceDescriptor>> {
  const admitters = named.map(({ id: peerId }, i) => ({
    ...{
      peerId,
      range: { first: 16 * i, count: 16 },
      multiaddrs: [],
      sealedSecrets: new Uint8Array(),
    },
  }));
  const value = descriptorOf(service.id, [], { admitters, ...change });
  return open(DESCRIPTOR_RECORD.record, await seal(DESCRIPTOR_RECORD.record, value, service.key));
}

describe('trust in a service', () => {
  const cleanup = new Cleanup();
  let directory: string;
  /** What every start has: of the bootstrap data, or of the admission. */
  let first: Opened<ServiceDescriptor>;
  /** Seconds by which the clock has gone on. */
  let later: number;
  const realNow = Date.now;

  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), 'icvpn-trust-'));
    first = await descriptor([one, two], {});
    later = 0;
    Date.now = () => realNow() + later * 1000;
  });
  afterEach(async () => {
    await cleanup.run();
    Date.now = realNow;
    await rm(directory, { recursive: true });
  });

  async function start() {
    const store = new RecordStore({ kinds: SPREAD_KINDS });
    cleanup.add(await RecordFiles.open(directory, store));
    await holdDescriptor(store, first);
    const records = cleanup.add(new Records({ store, network: new MemoryNetwork().join(store) }));
    const trust = cleanup.add(new ServiceTrust(records, first));
    return { store, trust, stop: () => cleanup.run() };
  }

  const take = (store: RecordStore, { bytes }: Opened<ServiceDescriptor>) =>
    store.accept(descriptorKey, bytes);

  async function revoke(store: RecordStore, by: Identity, sequence: number, ...out: Identity[]) {
    const revocations = out.map(({ id: peerId }) => ({ peerId, serial: undefined, since: 1 }));
    const list = { serviceId: service.id, issuer: by.id, sequence, revocations, tickets: [] };
    const bytes = await seal(REVOCATION_RECORD.record, list, by.key);
    return store.accept(recordKey(REVOCATION_RECORD, service.id, by.id), bytes);
  }

  /** Whether a credential of an epoch holds now. */
  async function holds(trust: ServiceTrust, epoch: number): Promise<boolean> {
    const credential = await credentialFor(service.id, one.key, member.id, { epoch });
    const now = Math.floor(Date.now() / 1000);
    const context = { ...trust.trust(), serviceId: service.id, bearer: member.id, now };
    try {
      checkCredential(credential, context);
      return true;
    } catch (error) {
      assert.ok(error instanceof CredentialError);
      return false;
    }
  }

  it('P33 an epoch that is over comes back by no descriptor, nor by a restart', async () => {
    const before = await start();
    await take(before.store, await descriptor([one], { epoch: 3, sequence: 3 }));
    const restored = await descriptor([one, two], { epoch: 1, sequence: 50 });
    await assert.rejects(take(before.store, restored), { code: 'ERR_RECORD_EPOCH' });
    assert.equal(before.trust.trust().epoch, 3);
    await before.stop();

    const after = await start();
    await assert.rejects(take(after.store, restored), { code: 'ERR_RECORD_EPOCH' });
    assert.deepEqual(
      [after.trust.trust().epoch, after.trust.trust().admitters.map(String)],
      [3, [one.id.toString()]],
    );
  });

  it('P33 the grace of an epoch counts from when the next was learnt, whatever restarts', async () => {
    const before = await start();
    await take(before.store, await descriptor([one], { epoch: 2, sequence: 2 }));
    assert.deepEqual([await holds(before.trust, 1), await holds(before.trust, 2)], [true, true]);
    await before.stop();

    later = 200;
    const again = await start();
    assert.equal(await holds(again.trust, 1), true);
    // A descriptor of the same epoch begins nothing anew.
    await take(again.store, await descriptor([one, two], { epoch: 2, sequence: 3 }));
    later = 299;
    assert.equal(await holds(again.trust, 1), true);
    await again.stop();

    later = 301;
    const last = await start();
    assert.deepEqual([await holds(last.trust, 1), await holds(last.trust, 2)], [false, true]);
  });

  it('P33 a clock that was ahead makes no grace longer', async () => {
    later = 86_400;
    const before = await start();
    await take(before.store, await descriptor([one], { epoch: 2, sequence: 2 }));
    await before.stop();
    later = 0;
    const { trust } = await start();
    assert.equal(await holds(trust, 1), true);
    later = 301;
    assert.equal(await holds(trust, 1), false);
  });

  it('P36 two epochs at once leave each of those before its own grace', async () => {
    const { store, trust } = await start();
    await take(store, await descriptor([one], { epoch: 2, sequence: 2 }));
    later = 100;
    await take(store, await descriptor([one], { epoch: 3, sequence: 3 }));
    later = 250;
    assert.deepEqual([await holds(trust, 1), await holds(trust, 2)], [true, true]);
    later = 350;
    assert.deepEqual([await holds(trust, 1), await holds(trust, 2)], [false, true]);
    later = 450;
    assert.equal(await holds(trust, 2), false);
  });

  it('P33 a node that starts new grants no grace to what was before', async () => {
    first = await descriptor([one], { epoch: 5, sequence: 5 });
    const { trust } = await start();
    assert.deepEqual([await holds(trust, 4), await holds(trust, 5)], [false, true]);
  });

  it('P33 what a super-peer barred while it was named stays barred, and nothing comes after it', async () => {
    const before = await start();
    await revoke(before.store, two, 1, member);
    await take(before.store, await descriptor([one], { sequence: 2 }));
    await assert.rejects(revoke(before.store, two, 2, member, other), { code: 'ERR_RECORD_KEY' });
    const barred = ({ trust }: typeof before) => [trust.barred(member.id), trust.barred(other.id)];
    assert.deepEqual(barred(before), [true, false]);
    await before.stop();

    const after = await start();
    assert.deepEqual(barred(after), [true, false]);
    await assert.rejects(revoke(after.store, two, 3, other), { code: 'ERR_RECORD_KEY' });
    assert.deepEqual(barred(after), [true, false]);
    // Named again, it is heard again.
    await take(after.store, await descriptor([one, two], { sequence: 3 }));
    await revoke(after.store, two, 4, other);
    assert.deepEqual(barred(after), [false, true]);
  });
});

import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { AdmissionStore, StoreError } from '../../../src/admission/store.ts';
import { WAY_BACK_SECONDS } from '../../../src/records/credential.ts';
import { ED25519_PREFIX, peerIdFromEd25519 } from '../../../src/records/peer-id.ts';
import { Ipv4Pool } from '../../../src/records/virtual-address.ts';
import { makeIdentity, makeService } from './world.ts';

describe('admission store', () => {
  let folder: string;
  let path: string;
  let store: AdmissionStore;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'icvpn-store-'));
    path = join(folder, 'admission.db');
    store = new AdmissionStore(path);
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  function reopen(): void {
    store.close();
    store = new AdmissionStore(path);
  }

  it('is readable by its owner alone', () => assert.equal(statSync(path).mode & 0o777, 0o600));

  it('keeps descriptors with their secrets sealed, and the newest only', async () => {
    const owner = await makeIdentity();
    const superPeer = await makeIdentity();
    const make = async (sequence: number) =>
      (await makeService([superPeer.id], { owner, change: { sequence } })).served.descriptor;
    const [first, second] = [await make(1), await make(2)];
    assert.equal(store.putService(first), true);
    assert.equal(store.putService(second), true);
    assert.equal(store.putService(first), false);
    reopen();
    const kept = await store.services(assert.ifError);
    assert.deepEqual(
      kept.map(({ value }) => value.sequence),
      [2],
    );
    store.removeService(owner.id.toString());
    assert.deepEqual(await store.services(assert.ifError), []);
  });

  it('P33 keeps no descriptor of an epoch that is over, whatever its sequence', async () => {
    const owner = await makeIdentity();
    const superPeer = await makeIdentity();
    const make = async (epoch: number, sequence: number) =>
      (await makeService([superPeer.id], { owner, change: { epoch, sequence } })).served.descriptor;
    assert.equal(store.putService(await make(3, 3)), true);
    assert.equal(store.putService(await make(1, 50)), false);
    reopen();
    assert.equal(store.putService(await make(2, 51)), false);
    assert.equal(store.putService(await make(4, 2)), true);
    assert.deepEqual(
      (await store.services(assert.ifError)).map(({ value }) => value.epoch),
      [4],
    );
  });

  it('P36 remembers the credentials that may be renewed though their signer was struck off', async () => {
    const { id: serviceId } = await makeIdentity();
    const [serial, another] = [new Uint8Array(16).fill(1), new Uint8Array(16).fill(2)];
    for (let i = 0; i < 2; i++) store.strand([{ serviceId, serial, notAfter: 1_000 }]);
    reopen();
    const known = () => [serial, another].map((each) => store.isStranded(`${serviceId}`, each));
    assert.deepEqual(known(), [true, false]);
    store.forgetStranded(1_000 + WAY_BACK_SECONDS);
    assert.deepEqual(known(), [true, false]);
    store.forgetStranded(1_001 + WAY_BACK_SECONDS);
    assert.deepEqual(known(), [false, false]);
  });

  it('takes over a file of the version before', () => {
    store.close();
    const old = new DatabaseSync(path);
    old.exec('DROP TABLE stranded; PRAGMA user_version = 3');
    old.close();
    store = new AdmissionStore(path);
    assert.equal(store.isStranded('shop', new Uint8Array(16)), false);
  });

  it('says what is wrong with a file that is no store', () => {
    const other = join(folder, 'other.db');
    writeFileSync(other, 'this is no database, and long enough to be none'.repeat(50));
    assert.throws(() => new AdmissionStore(other), StoreError);
  });

  /** A process that uses tickets and leases addresses, numbered from `first`, and prints each that it got. */
  function spender(first: number, count: number, peer: string): ChildProcess {
    const [module, addresses, ids] = [
      'admission/store',
      'records/virtual-address',
      'records/peer-id',
    ].map((each) => new URL(`../../../src/${each}.ts`, import.meta.url).href);
    const script = `
      const { AdmissionStore } = await import(${JSON.stringify(module)});
      const { peerIdFromString } = await import('@libp2p/peer-id');
      const { Ipv4Pool } = await import(${JSON.stringify(addresses)});
      const { ED25519_PREFIX, peerIdFromEd25519 } = await import(${JSON.stringify(ids)});
      const peerIdFromRaw = (id) => peerIdFromEd25519(Buffer.concat([ED25519_PREFIX, id, id]));
      const pool = new Ipv4Pool({ network: '10.0.0.0', length: 8 }, { first: 0, count: 1024 });
      const store = new AdmissionStore(${JSON.stringify(path)});
      const peer = peerIdFromString(${JSON.stringify(peer)});
      console.log('ready');
      for (let i = ${first}; i < ${first + count}; i++) {
        const id = new Uint8Array(16);
        new DataView(id.buffer).setUint32(0, i);
        const use = store.useTicket({ id, notAfter: 5000 }, peer, 1000);
        console.log(use + ' ' + i);
        const member = peerIdFromRaw(id);
        const { ipv4 } = store.leases.take({ service: peer, peer: member, notAfter: 5000, now: 1000 }, pool);
        console.log('leased ' + i + ' ' + ipv4);
      }
    `;
    const node = [process.execPath, ['--input-type=module', '-e', script]] as const;
    return spawn(...node, { cwd: process.cwd(), stdio: ['ignore', 'pipe', 'inherit'] });
  }

  async function* linesOf(child: ChildProcess): AsyncGenerator<string> {
    assert.ok(child.stdout);
    yield* createInterface({ input: child.stdout });
  }

  const idOf = (number: number): Uint8Array => {
    const id = new Uint8Array(16);
    new DataView(id.buffer).setUint32(0, number);
    return id;
  };

  it('survives SIGKILL at any instant: what was acknowledged is there, and nothing is damaged', async () => {
    const peer = await makeIdentity();
    const other = await makeIdentity();
    for (let round = 0; round < 3; round++) {
      const child = spender(round * 10_000, 10_000, peer.id.toString());
      const acknowledged: number[] = [];
      const leased: [number, string][] = [];
      // Killed in the middle of its work, after a number of uses that differs by round.
      for await (const line of linesOf(child)) {
        const [use, number, address = ''] = line.split(' ');
        if (use === 'first') acknowledged.push(Number(number));
        if (use === 'leased') leased.push([Number(number), address]);
        if (acknowledged.length === 10 + round * 61) child.kill('SIGKILL');
      }
      reopen();
      assert.ok(acknowledged.length >= 10);
      for (const number of acknowledged) {
        const ticket = { id: idOf(number), notAfter: 5000 };
        assert.equal(store.useTicket(ticket, other.id, 1000), 'used');
      }
      const pool = new Ipv4Pool({ network: '10.0.0.0', length: 8 }, { first: 0, count: 1024 });
      for (const [number, address] of leased) {
        const raw = Buffer.concat([ED25519_PREFIX, idOf(number), idOf(number)]);
        const member = peerIdFromEd25519(raw);
        assert.ok(member);
        const wish = { service: peer.id, peer: member, notAfter: 5000, now: 1000 };
        assert.equal(store.leases.take(wish, pool).ipv4, address);
      }
    }
  });

  it('P1 gives each ticket to one of two processes that share the file', async () => {
    const peers = [await makeIdentity(), await makeIdentity()];
    const children = peers.map(({ id }) => spender(0, 60, id.toString()));
    const got = await Promise.all(
      children.map(async (child) => {
        const first: string[] = [];
        for await (const line of linesOf(child)) {
          const [use, number = ''] = line.split(' ');
          if (use === 'first') first.push(number);
        }
        if (child.exitCode === null) await once(child, 'exit');
        assert.equal(child.exitCode, 0);
        return first;
      }),
    );
    assert.equal(got.flat().length, 60);
    assert.equal(new Set(got.flat()).size, 60);
  });

  const WEEK = 7 * 86_400;

  it('forgets used tickets a week after they are worthless', async () => {
    const { id: peer } = await makeIdentity();
    const ticket = { id: idOf(1), notAfter: 2000 };
    assert.equal(store.ticketUse(ticket, peer), 'first');
    assert.equal(store.useTicket(ticket, peer, 1000), 'first');
    assert.equal(store.useTicket(ticket, peer, 1000), 'again');
    assert.equal(store.ticketUse(ticket, peer), 'again');
    assert.equal(store.forgetTickets(2000 + WEEK), 0);
    assert.equal(store.forgetTickets(2001 + WEEK), 1);
  });

  it('P33 a used ticket that a clock which was ahead has forgotten is taken from nobody', async () => {
    const [one, other] = [await makeIdentity(), await makeIdentity()];
    const used = { id: idOf(1), notAfter: 5000 };
    const later = { id: idOf(2), notAfter: 9000 };
    assert.equal(store.useTicket(used, one.id, 1000), 'first');
    assert.equal(store.useTicket(later, one.id, 1000), 'first');
    assert.equal(store.forgetTickets(6000 + WEEK), 1);
    for (const { id: peer } of [other, one]) {
      assert.equal(store.ticketUse(used, peer), 'forgotten');
      assert.equal(store.useTicket(used, peer, 1001), 'forgotten');
    }
    reopen();
    assert.equal(store.useTicket(used, other.id, 1002), 'forgotten', 'after a restart, too');
    assert.equal(store.useTicket(later, other.id, 1002), 'used', 'what is remembered stays so');
    assert.equal(store.useTicket({ id: idOf(3), notAfter: 5001 }, other.id, 1002), 'first');
  });

  it('P35 is made anew only where it may be', () => {
    const lost = { code: 'ERR_ADMISSION_STORE_LOST', remedy: /--new-admission-store/ };
    const missing = `${path}.missing`;
    assert.throws(() => new AdmissionStore(missing, { make: false }), lost);
    new AdmissionStore(missing).close();
    new AdmissionStore(missing, { make: false }).close();
    truncateSync(missing, 0);
    assert.throws(() => new AdmissionStore(missing, { make: false }), lost);
  });
});

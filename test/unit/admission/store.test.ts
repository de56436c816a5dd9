import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { AdmissionStore, StoreError } from '../../../src/admission/store.ts';
import { Ipv4Pool, Ipv4PoolError } from '../../../src/records/virtual-address.ts';
import { type Identity, makeIdentity, makeService } from './world.ts';

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

  it('says what is wrong with a file that is no store', () => {
    const other = join(folder, 'other.db');
    writeFileSync(other, 'this is no database, and long enough to be none'.repeat(50));
    assert.throws(() => new AdmissionStore(other), StoreError);
  });

  describe('leases', () => {
    const serviceId = 'shop';
    const service = () => ({ network: '10.0.0.0', length: 24 });
    let members: Identity[];
    let pool: Ipv4Pool;
    let owner: Identity;

    before(async () => {
      owner = await makeIdentity();
      members = await Promise.all(Array.from({ length: 3 }, makeIdentity));
      pool = new Ipv4Pool(service(), 1);
      assert.equal(pool.size, 2);
    });

    function lease(index: number, now: number, notAfter = now + 100): string {
      const member = members[index];
      assert.ok(member);
      return store.lease({ serviceId, peer: member.id, notAfter, now }, (taken) =>
        pool.assign(owner.id, member.id, taken),
      );
    }

    it('are kept by their member over renewals and restarts', () => {
      const address = lease(0, 1000);
      reopen();
      assert.equal(lease(0, 1050), address);
      assert.equal(lease(0, 9000), address);
    });

    it('are never given to two at once', () => {
      assert.notEqual(lease(0, 1000), lease(1, 1000));
      assert.throws(() => lease(2, 1000), Ipv4PoolError);
    });

    it('are given on when they ran out and nothing else is free, the oldest first', () => {
      const oldest = lease(0, 1000);
      lease(1, 1050);
      assert.equal(lease(2, 1120), oldest);
      // The first member comes back: its address is gone, the other's has run out by now.
      const again = lease(0, 1200);
      assert.notEqual(again, oldest);
    });

    it('end at once when released', () => {
      const [first, member] = [lease(0, 1000), members[0]];
      lease(1, 1000);
      assert.ok(member);
      store.release(serviceId, member.id);
      assert.equal(lease(2, 1000), first);
    });
  });

  /** A process that uses tickets and leases addresses, numbered from `first`, and prints each that it got. */
  function spender(first: number, count: number, peer: string): ChildProcess {
    const module = new URL('../../../src/admission/store.ts', import.meta.url).href;
    const script = `
      const { AdmissionStore } = await import(${JSON.stringify(module)});
      const { peerIdFromString } = await import('@libp2p/peer-id');
      const store = new AdmissionStore(${JSON.stringify(path)});
      const peer = peerIdFromString(${JSON.stringify(peer)});
      console.log('ready');
      for (let i = ${first}; i < ${first + count}; i++) {
        const id = new Uint8Array(16);
        new DataView(id.buffer).setUint32(0, i);
        const use = store.useTicket({ id, notAfter: 5000 }, peer, 1000);
        console.log(use + ' ' + i);
        const member = { serviceId: 'shop-' + i, peer, notAfter: 5000, now: 1000 };
        store.lease(member, (taken) => ['10.0.0.1', '10.0.0.2'].find((each) => !taken(each)));
        console.log('leased ' + i);
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
      const leased: number[] = [];
      // Killed in the middle of its work, after a number of uses that differs by round.
      for await (const line of linesOf(child)) {
        const [use, number] = line.split(' ');
        if (use === 'first') acknowledged.push(Number(number));
        if (use === 'leased') leased.push(Number(number));
        if (acknowledged.length === 10 + round * 61) child.kill('SIGKILL');
      }
      reopen();
      assert.ok(acknowledged.length >= 10);
      for (const number of acknowledged) {
        const ticket = { id: idOf(number), notAfter: 5000 };
        assert.equal(store.useTicket(ticket, other.id, 1000), 'used');
      }
      for (const number of leased) {
        const member = { serviceId: `shop-${number}`, notAfter: 5000, now: 1000 };
        const again = store.lease({ ...member, peer: peer.id }, () => '10.0.0.2');
        assert.equal(again, '10.0.0.1');
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

  it('forgets used tickets when they are worthless', async () => {
    const { id: peer } = await makeIdentity();
    const ticket = { id: idOf(1), notAfter: 2000 };
    assert.equal(store.useTicket(ticket, peer, 1000), 'first');
    assert.equal(store.useTicket(ticket, peer, 1000), 'again');
    assert.equal(store.forgetTickets(2000), 0);
    assert.equal(store.forgetTickets(2001), 1);
  });
});

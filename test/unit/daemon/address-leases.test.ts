import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ed25519PeerId } from '@libp2p/interface';
import { AdmissionStore } from '../../../src/admission/store.ts';
import { AddressLeases } from '../../../src/daemon/address-leases.ts';
import { Ipv4PoolError } from '../../../src/records/address-range.ts';
import type { Credential } from '../../../src/records/credential.ts';
import { DESCRIPTOR } from '../../../src/records/descriptor.ts';
import { type Opened, open, seal } from '../../../src/records/envelope.ts';
import { signLease } from '../../../src/records/lease.ts';
import { Ipv4Pool } from '../../../src/records/virtual-address.ts';
import { credentialFor, descriptorOf, identities, identity, nth } from '../overlay/harness.ts';

const [service, own, other] = [await identity(), await identity(), await identity()];
const members = await identities(3);
const LIFETIME = 3600;
/** One address: 100.64.0.2. */
const range = { first: 512, count: 512 };
const pool = new Ipv4Pool({ network: '100.64.0.0', length: 30 }, range);

class Members extends EventEmitter<{ credentials: [readonly Opened<Credential>[]] }> {
  told: Opened<Credential>[] = [];
  refreshed = 0;
  readonly credentials = () => this.told;
  readonly isGood = () => true;
  readonly refresh = async () => {
    this.refreshed++;
  };
}

class Trust extends EventEmitter<{ change: [] }> {
  readonly serviceId = service.id;
  readonly out = new Set<string>();
  readonly descriptor;
  readonly barred = (node: Ed25519PeerId | string) => this.out.has(node.toString());

  constructor(descriptor: Awaited<ReturnType<typeof describeService>>) {
    super();
    this.descriptor = descriptor;
  }
}

async function describeService(superPeers: readonly Ed25519PeerId[]) {
  const admitters = superPeers.map((peerId, i) => ({
    ...{ peerId, range: { first: 512 * i, count: 512 }, sealedSecrets: new Uint8Array() },
    multiaddrs: [],
  }));
  const value = descriptorOf(service.id, [], { admitters, credentialLifetime: LIFETIME });
  return open(DESCRIPTOR, await seal(DESCRIPTOR, value, service.key));
}

describe('P26 leases of a served service', () => {
  const stack: (() => Promise<void> | void)[] = [];
  let folder: string;
  let now: number;
  let membership: Members;
  let trust: Trust;
  let connected: boolean;
  let logged: string[];
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'icvpn-leases-'));
    stack.push(() => rmSync(folder, { recursive: true }));
    now = 1_800_000_000;
    membership = new Members();
    trust = new Trust(await describeService([own.id, other.id]));
    connected = true;
    logged = [];
  });
  afterEach(async () => {
    for (const end of stack.splice(0).reverse()) await end();
  });

  function start(file = 'admission.db'): AddressLeases {
    const store = new AdmissionStore(join(folder, file));
    const leases = new AddressLeases({
      ...{ superPeer: own.id, table: store.leases, membership, trust, pool: () => pool },
      gate: {
        isAdmitted: () => connected,
        admit: async () => {
          throw new Error('not there');
        },
      },
      log: (event) => void logged.push(event),
      clock: () => now * 1000,
    });
    let open = true;
    const end = async () => {
      if (!open) return;
      open = false;
      await leases[Symbol.asyncDispose]();
      store.close();
    };
    stack.push(end);
    ends.set(leases, end);
    return leases;
  }
  const ends = new Map<AddressLeases, () => Promise<void>>();

  async function credential(who: number, ipv4: string, change: Partial<Credential> = {}) {
    const { id: peerId } = nth(members, who);
    const lease = signLease({ serviceId: service.id, peerId, ipv4, since: now - 100 }, own.key);
    const admitted = { admittedBy: own.id, ipv4, lease, notAfter: now + LIFETIME };
    return credentialFor(service.id, other.key, peerId, { ...admitted, ...change });
  }
  const id = (who: number) => nth(members, who).id;
  const full = { code: 'ERR_IPV4_POOL' };

  it('the first address is given when the shards were read, and what they list is taken', async () => {
    membership.told = [await credential(0, '100.64.0.2')];
    const leases = start();
    assert.equal(pool.size, 1);
    await assert.rejects(leases.lease(id(1)), full);
    assert.ok(membership.refreshed > 0);
    assert.equal((await leases.lease(id(0))).ipv4, '100.64.0.2');
  });

  it('a lost store learns from the shards, also from those that come later', async () => {
    const first = start();
    const { ipv4 } = await first.lease(id(0));
    await ends.get(first)?.();
    const second = start('another.db');
    membership.emit('credentials', [await credential(0, ipv4)]);
    await assert.rejects(second.lease(id(1)), full);
  });

  it('a renewal at another super-peer keeps the lease, and a revocation ends it', async () => {
    const leases = start();
    const { ipv4 } = await leases.lease(id(0));
    membership.emit('credentials', [await credential(0, ipv4, { notAfter: now + 9 * LIFETIME })]);
    for (let i = 0; i < 80; i++) {
      now += 100;
      await assert.rejects(leases.lease(id(1)), Ipv4PoolError);
    }
    trust.out.add(id(0).toString());
    trust.emit('change');
    assert.equal((await leases.lease(id(1))).ipv4, ipv4);
  });

  it('none ends while another super-peer is not heard', async () => {
    const leases = start();
    await leases.lease(id(0));
    connected = false;
    for (let i = 0; i < 80; i++) {
      now += 100;
      await assert.rejects(leases.lease(id(1)), Ipv4PoolError);
    }
  });

  it('one ends with the credential while all are heard', async () => {
    const leases = start();
    const { ipv4 } = await leases.lease(id(0));
    for (let left = LIFETIME + 240; left > 0; left -= 100) {
      await assert.rejects(leases.lease(id(1)), Ipv4PoolError);
      now += 100;
    }
    assert.equal((await leases.lease(id(1))).ipv4, ipv4);
  });

  it('a conflict is told once', async () => {
    const leases = start();
    const { ipv4 } = await leases.lease(id(0));
    const second = await credential(1, ipv4);
    const { peerId } = second.value;
    const younger = { serviceId: service.id, peerId, ipv4, since: now + 1 };
    const lease = signLease(younger, own.key);
    for (let i = 0; i < 3; i++) {
      membership.emit('credentials', [await credential(1, ipv4, { lease })]);
    }
    assert.equal(logged.filter((event) => event === 'address-conflict').length, 1);
    assert.equal((await leases.lease(id(0))).ipv4, ipv4);
  });

  it('those of other super-peers’ members are no matter of this one', async () => {
    const leases = start();
    const foreign = await credential(0, '100.64.0.2', { admittedBy: other.id });
    membership.emit('credentials', [foreign]);
    assert.equal((await leases.lease(id(1))).ipv4, '100.64.0.2');
  });
});

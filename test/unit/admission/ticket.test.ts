import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Ed25519PeerId } from '@libp2p/interface';
import { ClientSession } from '../../../src/admission/client-session.ts';
import { SecretTypoError } from '../../../src/admission/errors.ts';
import { type Login, loginOf, superPeerOf } from '../../../src/admission/login.ts';
import type { ServerContext } from '../../../src/admission/server-session.ts';
import { ServerSession } from '../../../src/admission/server-session.ts';
import { AdmissionStore } from '../../../src/admission/store.ts';
import {
  makeTicket,
  openTicket,
  parseTicket,
  TICKET,
  TicketError,
  ticketIdentity,
} from '../../../src/admission/ticket.ts';
import { IcvpnError } from '../../../src/errors.ts';
import { seal } from '../../../src/records/envelope.ts';
import { Revocations } from '../../../src/records/revocation.ts';
import { admission, attemptAdmission, contextOf, renewal, why } from './runs.ts';
import { type Identity, makeIdentity, makeService, type Service } from './world.ts';

describe('tickets', () => {
  let folder: string;
  let stores: AdmissionStore[];
  let superPeers: Identity[];
  let shop: Service;
  let vm: Identity;
  const now = () => Math.floor(Date.now() / 1000);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'icvpn-ticket-'));
    stores = ['a.db', 'b.db'].map((name) => new AdmissionStore(join(folder, name)));
    superPeers = [await makeIdentity(), await makeIdentity()];
    shop = await makeService(superPeers.map(({ id }) => id));
    vm = await makeIdentity();
  });
  after(() => {
    for (const store of stores) store.close();
    rmSync(folder, { recursive: true });
  });

  const at = (index: number, clock = Date.now) => {
    const [superPeer, tickets] = [superPeers[index], stores[index]];
    assert.ok(superPeer && tickets);
    return contextOf(superPeer, [shop], { tickets, clock });
  };

  const ticket = (options: Partial<Parameters<typeof makeTicket>[0]> = {}) => {
    const superPeer = superPeers[0]?.id;
    assert.ok(superPeer);
    const notAfter = now() + 3600;
    return makeTicket({ ownerKey: shop.owner.key, superPeer, notAfter, ...options });
  };

  const use = async (
    secret: string | Login,
    more: { vm?: Identity; vmid?: string; roles?: string[]; ticketFor?: Ed25519PeerId } = {},
    context = at(0),
  ) => {
    const attempt = { vm, serviceId: shop.owner.id, secret, ...more };
    const { verdict } = await attemptAdmission(context, attempt);
    return verdict;
  };

  it('admit a VM without the service secret', async () => {
    const secret = await ticket();
    const given = await admission(at(0), { vm, serviceId: shop.owner.id, secret });
    assert.ok(given.credential.value.peerId.equals(vm.id));
    assert.ok((await superPeerOf(secret))?.equals(superPeers[0]?.id));
  });

  it('P33 vouch for what the owner wrote into them, also after renewals; the secret vouches for nothing', async () => {
    const serviceId = shop.owner.id;
    const asked: unknown[] = [];
    const allowedSubnets: ServerContext['allowedSubnets'] = (_service, { vouched }) => {
      asked.push(vouched);
      return [];
    };
    const context = { ...at(0), allowedSubnets };
    for (const [secret, vouched] of [
      [await ticket({ roles: ['gw'], vmid: 'i-1' }), 'vmid-and-roles'],
      [await ticket({ roles: ['gw'] }), 'roles'],
      [shop.secret, undefined],
    ] as const) {
      asked.length = 0;
      const given = await admission(context, { vm, serviceId, secret, roles: ['gw'] });
      assert.equal(given.credential.value.vouched, vouched);
      const once = await renewal({ ...at(1), allowedSubnets }, { vm, serviceId, last: given });
      const twice = await renewal(context, { vm, serviceId, last: once });
      assert.equal(twice.credential.value.vouched, vouched);
      assert.deepEqual(asked, [vouched, vouched, vouched], 'and count so for its subnets');
    }
  });

  it('P1 admit one node of 1,000 that try at once', async () => {
    const context = at(0);
    const secret = await loginOf(await ticket(), {
      serviceId: shop.owner.id,
      superPeer: context.self,
    });
    const others = await Promise.all(Array.from({ length: 1000 }, makeIdentity));
    const verdicts = await Promise.all(others.map((other) => use(secret, { vm: other }, context)));
    const admitted = verdicts.filter(({ outcome }) => outcome === 'admitted');
    assert.equal(admitted.length, 1);
    const causes = new Set(verdicts.map(why));
    const used = 'the ticket was used by another VM';
    assert.deepEqual(causes, new Set(['admitted', used]));
  });

  it('P35 are used up last: what fails before has used nothing', async () => {
    const secret = await ticket();
    const failing = (change: object) => ({ ...at(0), ...change });
    const fault = (): never => {
      throw new IcvpnError('ERR_IPV4_POOL', 'no address is left', 'enlarge the prefix');
    };
    assert.equal(why(await use(secret, {}, failing({ leaseIpv4: fault }))), 'no address is left');
    assert.equal(
      why(await use(secret, {}, failing({ allowedSubnets: fault }))),
      'no address is left',
    );
    const other = await makeIdentity();
    assert.equal(why(await use(secret, { vm: other })), 'admitted', 'another VM can use it');
  });

  it('P35 lease no address to who comes with a used one', async () => {
    const secret = await ticket();
    assert.equal(why(await use(secret)), 'admitted');
    let leased = 0;
    const leaseIpv4 = async () => {
      leased++;
      return { ipv4: '100.64.0.9', since: 0 };
    };
    await use(secret, { vm: await makeIdentity() }, { ...at(0), leaseIpv4 });
    assert.equal(leased, 0);
  });

  it('P35 are not used for a VM whose clock differs: it goes no further', async () => {
    const secret = await ticket();
    const ahead = at(0, () => Date.now() + 600_000);
    const { self: superPeer } = ahead;
    const serviceId = shop.owner.id;
    const client = new ClientSession({
      ...{ self: vm.id, superPeer, serviceId, vmid: 'i-1', clock: Date.now },
      ...{ random: ahead.random, login: await loginOf(secret, { serviceId, superPeer }) },
      request: { vmid: 'i-1', roles: [], multiaddrs: [], subnets: [] },
    });
    const server = new ServerSession(ahead, { peerId: vm.id, address: '192.0.2.9' });
    const answer = await server.hello(client.hello());
    assert.ok('challenge' in answer && answer.challenge);
    await assert.rejects(client.challenge(answer.challenge), { code: 'ERR_CLOCK' });
    assert.equal(why(await use(secret, { vm: await makeIdentity() })), 'admitted');
  });

  it('P35 a super-peer that cannot write says so, and gives nothing', async () => {
    const full = new IcvpnError('ERR_DISK_FULL', 'the disk is full', 'make room');
    const tickets = {
      ticketUse: () => 'first' as const,
      useTicket: (): never => {
        throw full;
      },
    };
    const verdict = await use(await ticket(), {}, { ...at(0), tickets });
    assert.ok(verdict.outcome === 'refused');
    assert.equal(verdict.fault, full);
    assert.deepEqual(verdict.reply.refusal, { reason: 5, text: 'its disk is full' });
    assert.equal(verdict.reply.grant, undefined);
  });

  it('admit the same node again, whose answer was lost', async () => {
    const secret = await ticket();
    assert.equal(why(await use(secret)), 'admitted');
    assert.equal(why(await use(secret)), 'admitted');
    assert.notEqual(why(await use(secret, { vm: await makeIdentity() })), 'admitted');
  });

  it('P1 name the one super-peer that takes them: another refuses, whether it can ask or not', async () => {
    const secret = await ticket();
    // Both see the ticket at the same time and cannot reach each other: no state is shared.
    const ticketFor = at(0).self;
    const [a, b, c] = [await makeIdentity(), await makeIdentity(), await makeIdentity()];
    const verdicts = await Promise.all([
      use(secret, { vm: a, ticketFor }, at(1)),
      use(secret, { vm: b, ticketFor }, at(0)),
      use(secret, { vm: c, ticketFor }, at(1)),
    ]);
    assert.deepEqual(verdicts.map(why), ['unknown identity', 'admitted', 'unknown identity']);
  });

  it('P11 bring nobody back who was revoked, neither with the same key nor with a new one', async () => {
    const secret = await ticket();
    assert.equal(why(await use(secret)), 'admitted');
    const revoked = {
      ...at(0),
      barred: (_: unknown, peerId: Ed25519PeerId) => peerId.equals(vm.id),
    };
    assert.equal(why(await use(secret, {}, revoked)), 'this VM was revoked');
    const fresh = await makeIdentity();
    const used = 'the ticket was used by another VM';
    assert.equal(why(await use(secret, { vm: fresh }, revoked)), used);
    // The service secret admits any key: after a revocation it is to be changed.
    assert.equal(why(await use(shop.secret, { vm: fresh }, revoked)), 'admitted');
  });

  it('P33 admit nobody when the owner took them back, also not the node that used them', async () => {
    const [used, unused] = [await ticket(), await ticket()];
    assert.equal(why(await use(used)), 'admitted');
    const { id } = (await parseTicket(used)).ticket.value;
    const list = {
      ...{ serviceId: shop.owner.id, issuer: shop.owner.id, sequence: 1, revocations: [] },
      tickets: [{ id, notAfter: now() + 100 }],
    };
    const revocations = new Revocations(shop.owner.id, [list]);
    const context = {
      ...at(0),
      ticketRevoked: (_: unknown, each: Uint8Array) => revocations.ticketRevoked(each),
    };
    assert.equal(why(await use(used, {}, context)), 'the ticket was taken back');
    assert.equal(why(await use(unused, { vm: await makeIdentity() }, context)), 'admitted');
    // Not by a list that is another's.
    const others = new Revocations(shop.owner.id, [{ ...list, issuer: at(0).self }]);
    assert.equal(others.ticketRevoked(id), false);
  });

  it('run out', async () => {
    const secret = await ticket({ notAfter: now() + 100 });
    const later = at(0, () => Date.now() + 101_000);
    assert.equal(why(await use(secret, {}, later)), 'the ticket has expired');
  });

  it('can be for one VM only', async () => {
    const secret = await ticket({ vmid: 'i-7' });
    assert.equal(why(await use(secret, { vmid: 'i-8' })), 'the ticket is for another VM');
    assert.equal(why(await use(secret, { vmid: 'i-7' })), 'admitted');
  });

  it('P33 give no role that the owner did not write into them', async () => {
    const secret = await ticket();
    assert.match(why(await use(secret, { roles: ['db'] })), /for no roles only/);
    const given = await admission(at(0), { vm, serviceId: shop.owner.id, secret });
    assert.deepEqual(given.credential.value.roles, []);
  });

  it('can be for some roles only, and give them', async () => {
    const secret = await ticket({ roles: ['db', 'cache'] });
    assert.match(why(await use(secret, { roles: ['db', 'web'] })), /roles db, cache only/);
    const given = await admission(at(0), { vm, serviceId: shop.owner.id, secret });
    assert.deepEqual(given.credential.value.roles, ['db', 'cache']);
  });

  it('are refused to who has the signed part but not the secret', async () => {
    const [secret, other] = [await ticket(), await ticket()];
    // The signed part of one with the secret of the other.
    const [mine, theirs] = [await parseTicket(secret), await parseTicket(other)];
    const context = at(0);
    const client = new ClientSession({
      ...{ self: vm.id, superPeer: context.self, serviceId: shop.owner.id, vmid: 'i-1' },
      ...{ random: context.random, clock: Date.now },
      login: {
        ...{ kind: 'machine', bytes: theirs.password, ticket: mine.ticket },
        identity: ticketIdentity(mine.ticket.value.id),
      },
      request: { vmid: 'i-1', roles: [], multiaddrs: [], subnets: [] },
    });
    const server = new ServerSession(context, { peerId: vm.id, address: '' });
    const answer = await server.hello(client.hello());
    assert.ok('challenge' in answer && answer.challenge);
    const verdict = await server.proof(await client.challenge(answer.challenge));
    assert.equal(why(verdict), 'wrong secret');
  });

  it('signed by somebody else are refused like an unknown identity', async () => {
    const stranger = await makeIdentity();
    const secret = await ticket({ ownerKey: stranger.key });
    await assert.rejects(
      use(secret),
      (error) => error instanceof TicketError && /for the service/.test(error.message),
    );
    const strange = { ...shop, owner: stranger };
    const superPeer = superPeers[0];
    assert.ok(superPeer);
    // A super-peer serves the real service; the VM believes in the stranger's.
    const attempt = { vm, serviceId: strange.owner.id, secret };
    const { verdict } = await attemptAdmission(contextOf(superPeer, [shop]), attempt);
    assert.equal(why(verdict), 'unknown service');
  });

  it('P1 of the service that somebody else signed are refused like an unknown identity', async () => {
    const superPeer = superPeers[0];
    assert.ok(superPeer);
    const stranger = await makeIdentity();
    // The stranger makes a ticket of its own and puts the service's name on it.
    const own = await parseTicket(await ticket({ ownerKey: stranger.key }));
    const claimed = { ...own.ticket.value, serviceId: shop.owner.id };
    const forged = await seal(TICKET, claimed, stranger.key);
    await assert.rejects(openTicket(forged), TicketError);
    const login: Login = {
      ...{ kind: 'machine', bytes: own.password, identity: ticketIdentity(claimed.id) },
      ticket: { ...own.ticket, value: claimed, bytes: forged },
    };
    assert.equal(why(await use(login)), 'unknown identity');
  });

  it('are told from typos before anything is sent, and from tickets for elsewhere', async () => {
    const secret = await ticket();
    for (const bad of [secret.slice(0, -1), secret.slice(0, 50), secret.replace('.', '..')]) {
      await assert.rejects(parseTicket(bad), SecretTypoError);
    }
    assert.equal((await parseTicket(` ${secret}\n`)).password.length, 40);
    const elsewhere = await ticket({ superPeer: (await makeIdentity()).id });
    await assert.rejects(
      use(elsewhere),
      (error) => error instanceof TicketError && /for the super-peer/.test(error.message),
    );
  });

  it('are not taken by a super-peer without a store', async () => {
    const [superPeer, secret] = [superPeers[0], await ticket()];
    assert.ok(superPeer);
    const verdict = await use(secret, {}, contextOf(superPeer, [shop]));
    assert.equal(why(verdict), 'this super-peer takes no tickets');
  });
});

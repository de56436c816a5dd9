import assert from 'node:assert/strict';
import type { Admission } from '../../../src/admission/accept.ts';
import { requestAdmission, requestRenewal } from '../../../src/admission/client.ts';
import { AdmissionRefusedError, ClockError } from '../../../src/admission/errors.ts';
import { renew } from '../../../src/admission/renewal-session.ts';
import { sealRenewalState } from '../../../src/admission/renewal-token.ts';
import { makeAdmissionSecrets } from '../../../src/admission/sealed.ts';
import type { ServerContext } from '../../../src/admission/server-session.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { CREDENTIAL, WAY_BACK_SECONDS } from '../../../src/records/credential.ts';
import { DESCRIPTOR, openDescriptor } from '../../../src/records/descriptor.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import { signLease } from '../../../src/records/lease.ts';
import { Revocations } from '../../../src/records/revocation.ts';
import { admission, attemptRenewal, contextOf, renewal, why } from './runs.ts';
import {
  dial,
  type Identity,
  makeIdentity,
  makeService,
  type Service,
  serve,
  World,
} from './world.ts';

describe('renewal', () => {
  let superPeers: [Identity, Identity];
  let shop: Service;
  let vm: Identity;
  let last: Admission;
  let serviceId: Identity['id'];
  const start = Date.now();
  const at = (index: 0 | 1, change: Partial<ServerContext> = {}, service = shop) =>
    contextOf(superPeers[index], [service], { clock: () => start, ...change });

  before(async () => {
    superPeers = [await makeIdentity(), await makeIdentity()];
    shop = await makeService(superPeers.map(({ id }) => id));
    serviceId = shop.owner.id;
    vm = await makeIdentity();
    last = await admission(at(0), {
      vm,
      serviceId,
      secret: shop.secret,
      vmid: 'i-9',
      roles: ['db'],
    });
  });

  const refusal = async (
    context: ServerContext,
    change: { vm?: Identity; seenAs?: Identity['id']; last?: Admission } = {},
  ) => why((await attemptRenewal(context, { vm, serviceId, last, ...change })).verdict);

  it('subnets: what the policy allows when asked, no more, and anew at each renewal', async () => {
    const asked = ['10.20.0.0/16', '10.21.0.0/16', 'fd20::/48'];
    const who: unknown[] = [];
    const allowing = (...allowed: string[]): Partial<ServerContext> => ({
      allowedSubnets: (_service, member) => {
        who.push([member.peerId, member.vmid, member.roles]);
        return allowed;
      },
    });
    const attempt = { vm, serviceId, secret: shop.secret, roles: ['gateway'], subnets: asked };
    const nothing = await admission(at(0), attempt);
    assert.deepEqual(nothing.credential.value.subnets, [], 'none without a policy');
    const some = await admission(at(0, allowing('10.20.0.0/15', 'fd20::/64')), attempt);
    assert.deepEqual(some.credential.value.subnets, ['10.20.0.0/16', '10.21.0.0/16']);
    const fewer = { vm, serviceId, last: some, subnets: asked };
    const next = await renewal(at(1, allowing('10.21.0.0/16')), fewer);
    assert.deepEqual(next.credential.value.subnets, ['10.21.0.0/16']);
    const none = await renewal(at(1, allowing('10.21.0.0/16')), { vm, serviceId, last: next });
    assert.deepEqual(none.credential.value.subnets, [], 'not asked for any more');
    for (const each of who) assert.deepEqual(each, [vm.id, 'i-1', ['gateway']]);
  });

  it('gives a new credential for the same VM, at a super-peer that never saw it', async () => {
    const later = { clock: () => start + 1800_000 };
    const next = await renewal(at(1, later), { vm, serviceId, last });
    const [old, fresh] = [last.credential.value, next.credential.value];
    assert.ok(next.credential.signer.equals(superPeers[1].id));
    assert.deepEqual(
      { vmid: fresh.vmid, roles: fresh.roles, ipv4: fresh.ipv4, ipv6: fresh.ipv6 },
      { vmid: 'i-9', roles: ['db'], ipv4: old.ipv4, ipv6: old.ipv6 },
    );
    assert.equal(fresh.notAfter, old.notAfter + 1800);
    assert.notDeepEqual(fresh.serial, old.serial);
  });

  it('goes on from one to the next, at one super-peer and the other in turn', async () => {
    let state = last;
    const keys = new Set<string>();
    for (let i = 1; i <= 10; i++) {
      const clock = { clock: () => start + i * 3000_000 };
      state = await renewal(at(i % 2 === 0 ? 0 : 1, clock), { vm, serviceId, last: state });
      keys.add(Buffer.from(state.renewalKey.subarray(0, 32)).toString('hex'));
    }
    assert.equal(keys.size, 10, 'the session key moves on each time');
    assert.equal(state.credential.value.notAfter, last.credential.value.notAfter + 30_000);
  });

  it('needs the key that came with this very credential', async () => {
    const next = await renewal(at(0), { vm, serviceId, last });
    const mixed = { ...next, renewalKey: last.renewalKey };
    assert.match(await refusal(at(0), { last: mixed }), /token is not of this credential/);
    const wrong = Uint8Array.from(last.renewalKey);
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    assert.equal(
      await refusal(at(0), { last: { ...last, renewalKey: wrong } }),
      'wrong confirmation',
    );
  });

  it('P7 needs the node key: who stole all but that is refused', async () => {
    const thief = await makeIdentity();
    assert.equal(await refusal(at(0), { seenAs: thief.id }), 'credential: peer');
    assert.equal(await refusal(at(0), { vm: thief }), 'credential: peer');
  });

  it('P26 renews no credential with an address that was not its signer’s to give', async () => {
    const [named, other] = superPeers;
    const { value } = last.credential;
    const ipv4 = '100.64.4.7';
    const ofAnother = { serviceId, peerId: named.id, ipv4, since: 1 };
    for (const change of [
      { ipv4: '8.8.8.8' },
      { ipv4: '100.64.4.7' },
      { ipv6: 'fd00::1' },
      { ipv4, admittedBy: other.id },
      { ipv4, admittedBy: other.id, lease: signLease(ofAnother, other.key) },
      { ipv4, admittedBy: other.id, lease: signLease({ ...ofAnother, peerId: vm.id }, named.key) },
    ]) {
      const bytes = await seal(CREDENTIAL, { ...value, lease: undefined, ...change }, named.key);
      const forged = { ...last, credential: await open(CREDENTIAL, bytes) };
      for (const index of [0, 1] as const) {
        assert.equal(
          await refusal(at(index), { last: forged }),
          'credential: address',
          JSON.stringify(change),
        );
      }
    }
  });

  it('P26 keeps the address at another super-peer, whose own check finds the lease of the first', async () => {
    const asked: unknown[] = [];
    const leaseIpv4: ServerContext['leaseIpv4'] = async (_service, _peer, held) => {
      asked.push(held);
      return held ?? { ipv4: '100.64.4.9', since: 1000 };
    };
    const next = await renewal(at(1, { leaseIpv4 }), { vm, serviceId, last });
    assert.deepEqual(asked, []);
    const [old, fresh] = [last.credential.value, next.credential.value];
    assert.deepEqual([fresh.ipv4, fresh.lease], [old.ipv4, old.lease]);
    assert.ok(fresh.admittedBy.equals(superPeers[0].id));
    const back = await renewal(at(0, { leaseIpv4 }), { vm, serviceId, last: next });
    assert.deepEqual(asked, [{ ipv4: old.ipv4, since: old.lease?.since }]);
    assert.equal(back.credential.value.ipv4, old.ipv4);
  });

  it('P26 gives an address of the super-peer that renews where the first one was struck off', async () => {
    const next = await renewal(at(1), { vm, serviceId, last });
    const { served } = shop;
    const { value } = served.descriptor;
    const [first, second] = value.admitters;
    assert.ok(first && second);
    const retired = [{ peerId: first.peerId, range: first.range, until: 4_000_000_000 }];
    for (const kept of [retired, []]) {
      const left = { ...value, sequence: 2, admitters: [second], retired: kept };
      const bytes = await seal(DESCRIPTOR, left, shop.owner.key);
      const later = { ...shop, served: { ...served, descriptor: await openDescriptor(bytes) } };
      const moved = await renewal(at(1, {}, later), { vm, serviceId, last: next });
      assert.equal(moved.credential.value.ipv4, '100.64.4.0');
      assert.ok(moved.credential.value.admittedBy.equals(superPeers[1].id));
    }
  });

  it('P6 cannot be relayed to another super-peer', async () => {
    // The question was made for super-peer 0, and is carried to super-peer 1.
    const { client } = await attemptRenewal(at(0), { vm, serviceId, last });
    const verdict = await renew(at(1), { peerId: vm.id, address: '' }, client.opening());
    assert.equal(why(verdict), 'wrong confirmation');
  });

  it('does not take a token that a member made', async () => {
    const { serial } = last.credential.value;
    const renewalKey = new Uint8Array(32).fill(1);
    // A member has the epoch's PSK and not the super-peers' renewal secret.
    const secret = shop.served.secrets.epochPsk;
    const token = sealRenewalState({ renewalKey, peerId: vm.id, serial }, secret, serviceId);
    const forged = { ...last, renewalKey: Buffer.concat([renewalKey, token]) };
    assert.match(await refusal(at(0), { last: forged }), /token is not/);
    for (const cut of [32, 40, 60]) {
      const short = { ...last, renewalKey: last.renewalKey.subarray(0, cut) };
      assert.match(await refusal(at(0), { last: short }), /token is not/);
    }
  });

  it('bears clocks that differ by two minutes, at both ends of its time', async () => {
    const lifetime = 3600_000;
    assert.equal(await refusal(at(1, { clock: () => start - 119_000 })), 'renewed');
    assert.equal(await refusal(at(1, { clock: () => start - 121_000 })), 'credential: early');
    assert.equal(await refusal(at(1, { clock: () => start + lifetime + 118_000 })), 'renewed');
  });

  it('P36 brings a VM back whose credential has ended, for 90 days, with an address that is free', async () => {
    const lifetime = 3600_000;
    const bound = lifetime + WAY_BACK_SECONDS * 1000;
    const asked: unknown[] = [];
    const leaseIpv4: ServerContext['leaseIpv4'] = async (_service, _peer, held) => {
      asked.push(held);
      return { ipv4: '100.64.4.9', since: 1000 };
    };
    const later = at(1, { clock: () => start + bound - 1000, leaseIpv4 });
    const next = await renewal(later, { vm, serviceId, last });
    assert.deepEqual(asked, [undefined], 'not the old address, which may be another member’s now');
    assert.equal(next.credential.value.ipv4, '100.64.4.9');
    assert.ok(next.credential.value.admittedBy.equals(superPeers[1].id));
    assert.equal(
      await refusal(at(1, { clock: () => start + bound + 1000 })),
      'credential: expired',
    );
  });

  it('P36 does not bring back whom anybody has thrown out meanwhile', async () => {
    const clock = (): number => start + 7200_000;
    const barred = (): boolean => true;
    assert.equal(await refusal(at(1, { clock, barred })), 'this VM was revoked');
    const thief = await makeIdentity();
    assert.equal(await refusal(at(1, { clock }), { seenAs: thief.id }), 'credential: peer');
    const wrong = Uint8Array.from(last.renewalKey);
    wrong[0] = (wrong[0] ?? 0) ^ 1;
    const stolen = { last: { ...last, renewalKey: wrong } };
    assert.equal(await refusal(at(1, { clock }), stolen), 'wrong confirmation');
  });

  it('tells a member whose clock is wrong', async () => {
    const slow = at(0, { clock: () => start + 130_000 });
    const { client } = await attemptRenewal(
      { ...slow, clock: () => start },
      { vm, serviceId, last },
    );
    const { reply } = await renew(slow, { peerId: vm.id, address: '' }, client.opening());
    assert.ok(reply.renewal);
    await assert.rejects(client.renewal(reply.renewal), ClockError);
  });

  it('follows the service into a new epoch, with its new key', async () => {
    const { owner, secret, served } = shop;
    const secrets = await makeAdmissionSecrets({ serviceId, secret, previous: served.secrets });
    const ids = superPeers.map(({ id }) => id);
    const change = { sequence: 2, epoch: 2 };
    const moved = await makeService(ids, { owner, secret, secrets, change });
    const next = await renewal(at(1, {}, moved), { vm, serviceId, last });
    assert.equal(next.credential.value.epoch, 2);
    assert.deepEqual(Buffer.from(next.epochPsk), Buffer.from(secrets.epochPsk));
    assert.notDeepEqual(next.epochPsk, last.epochPsk);
    // A credential of an epoch that the service is not in yet is none.
    assert.equal(await refusal(at(0), { last: next }), 'credential: epoch');
  });

  it('ends when the owner makes a new renewal secret: all are admitted anew', async () => {
    const { owner, secret } = shop;
    const ids = superPeers.map(({ id }) => id);
    const fresh = await makeService(ids, { owner, secret, change: { sequence: 3, epoch: 3 } });
    assert.match(await refusal(at(0, {}, fresh)), /token is not/);
  });

  it('is refused by a super-peer that is no longer in the descriptor, and for its credentials', async () => {
    const { owner, secret, served } = shop;
    const options = { owner, secret, secrets: served.secrets, change: { sequence: 4 } };
    const without0 = await makeService([superPeers[1].id], options);
    assert.equal(await refusal(at(0, {}, without0)), 'unknown service');
    // Super-peer 0 signed this credential, and its word counts no longer.
    assert.equal(await refusal(at(1, {}, without0)), 'credential: signer');
  });

  it('P33 P36 is given for a credential from before its super-peer was struck off, and for that alone', async () => {
    const { owner, secret, served } = shop;
    const options = { owner, secret, secrets: served.secrets, change: { sequence: 4, epoch: 6 } };
    const without0 = await makeService([superPeers[1].id], options);
    const known = last.credential.value.serial;
    const isStranded: ServerContext['isStranded'] = (_service, { value }) =>
      Buffer.compare(value.serial, known) === 0;
    // What it signs afterwards, with its knowledge of the renewal secret.
    const later = await admission(at(0), { vm, serviceId, secret: shop.secret, vmid: 'i-9' });
    const context = at(1, { isStranded }, without0);
    assert.equal(await refusal(context, { last: later }), 'credential: signer');
    const next = await renewal(context, { vm, serviceId, last });
    assert.ok(next.credential.signer.equals(superPeers[1].id));
    assert.equal(next.credential.value.epoch, 6);
  });

  it('is refused to a VM that was revoked, which is told', async () => {
    const revoked = at(0, { revoked: (_service, { value }) => value.vmid === 'i-9' });
    assert.equal(await refusal(revoked), 'this VM was revoked');
  });

  it('P11 whom its super-peer threw out renews at no other, and a renewal that came first does not help', async () => {
    const list = { serviceId, sequence: 1, issuer: superPeers[0].id, tickets: [] };
    const out = { peerId: vm.id, serial: undefined, since: 0 };
    const revocations = new Revocations(serviceId, [{ ...list, revocations: [out] }]);
    const revoked: ServerContext['revoked'] = (_service, credential) =>
      revocations.revoked(credential);
    assert.equal(await refusal(at(1, { revoked })), 'this VM was revoked');
    const early = await renewal(at(1), { vm, serviceId, last });
    assert.ok(revocations.revoked(early.credential));
    assert.equal(await refusal(at(1, { revoked }), { last: early }), 'this VM was revoked');
    assert.ok(revocations.barred(vm.id), 'nor is it admitted anew');
  });

  it('is refused for what is no credential of this service', async () => {
    const { value } = last.credential;
    const forged = await open(CREDENTIAL, await seal(CREDENTIAL, { ...value }, vm.key));
    assert.equal(
      await refusal(at(0), { last: { ...last, credential: forged } }),
      'credential: signer',
    );
    const damaged = { ...last.credential, bytes: last.credential.bytes.subarray(1) };
    assert.equal(
      await refusal(at(0), { last: { ...last, credential: damaged } }),
      'damaged credential',
    );
    assert.equal(await refusal(contextOf(superPeers[0], [])), 'unknown service');
  });

  it('runs over libp2p at a super-peer other than the one that admitted', async () => {
    const world = new World();
    try {
      const [first, second] = [
        await world.superPeer(superPeers[0]),
        await world.superPeer(superPeers[1]),
      ];
      for (const superPeer of [first, second]) serve(superPeer, shop);
      const node = await world.node(vm.key);
      const common = {
        key: vm.key,
        serviceId,
        multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.1/tcp/1')],
      };
      const got = await requestAdmission(await dial(node, first.node), {
        ...{ ...common, superPeer: first.id, secret: shop.secret, vmid: 'i-9', roles: [] },
      });
      const { credential, renewalKey } = got;
      const again = { ...common, superPeer: second.id, credential, renewalKey };
      const next = await requestRenewal(await dial(node, second.node), again);
      assert.ok(next.credential.signer.equals(second.id));
      assert.deepEqual(second.admitted[0]?.applicant.multiaddrs, ['/ip4/192.0.2.1/tcp/1']);
      second.services.clear();
      await assert.rejects(
        requestRenewal(await dial(node, second.node), again),
        (error) => error instanceof AdmissionRefusedError && /admitted anew/.test(error.remedy),
      );
    } finally {
      await world.stop();
    }
  });
});

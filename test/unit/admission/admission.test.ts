import assert from 'node:assert/strict';
import { requestAdmission } from '../../../src/admission/client.ts';
import {
  AdmissionProtocolError,
  AdmissionRefusedError,
  ClockError,
} from '../../../src/admission/errors.ts';
import { makeServiceSecret } from '../../../src/admission/secret.ts';

import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { IcvpnError } from '../../../src/errors.ts';
import { AddressPlan } from '../../../src/records/address-plan.ts';

import { checkCredential } from '../../../src/records/credential.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import {
  dial,
  type Identity,
  makeIdentity,
  makeService,
  type Service,
  type SuperPeer,
  serve,
  World,
} from './world.ts';

describe('admission over libp2p', () => {
  const world = new World();
  let superPeer: SuperPeer;
  let shop: Service;
  let vm: Identity;

  before(async () => {
    superPeer = await world.superPeer(await makeIdentity());
    shop = await makeService([superPeer.id]);
    serve(superPeer, shop);
    vm = await makeIdentity();
  });
  after(() => world.stop());

  async function admit(
    identity: Identity,
    service: Service,
    secret: string,
    options: { at?: SuperPeer; clock?: () => number; signal?: AbortSignal } = {},
  ) {
    const node = await world.node(identity.key);
    const at = options.at ?? superPeer;
    const stream = await dial(node, at.node);
    return requestAdmission(stream, {
      key: identity.key,
      superPeer: at.id,
      serviceId: service.owner.id,
      secret,
      vmid: 'i-0123',
      roles: ['web'],
      multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.1/tcp/4001')],
      ...options,
    });
  }

  it('P35 tells a VM that a super-peer with a full disk is the wrong one to ask, and the operator why', async () => {
    const full = new IcvpnError('ERR_DISK_FULL', 'the disk is full', 'make room');
    for (const broken of ['audit', 'leaseIpv4', 'onAdmitted'] as const) {
      const fail = (): never => {
        throw full;
      };
      const append = async ({ event }: { event: string }): Promise<void> => {
        if (broken === 'audit' || event === 'refused') throw full;
      };
      const faults: unknown[] = [];
      const at = await world.superPeer(await makeIdentity(), {
        ...(broken !== 'audit' && { [broken]: fail }),
        audit: { append },
        onFault: (error) => faults.push(error),
      });
      const service = await makeService([at.id]);
      serve(at, service);
      await assert.rejects(admit(await makeIdentity(), service, service.secret, { at }), {
        code: 'ERR_ADMISSION_NOT_STORED',
        message: /its disk is full/,
        remedy: /another super-peer/,
      });
      assert.ok(faults.includes(full), broken);
      // A refusal needs no line in the log to be one.
      await assert.rejects(admit(await makeIdentity(), service, makeServiceSecret(), { at }), {
        code: 'ERR_ADMISSION_REFUSED',
      });
    }
  });

  it('gives who knows the secret a credential that holds, and writes it down first', async () => {
    const admission = await admit(vm, shop, shop.secret);
    const { value, signer } = admission.credential;
    checkCredential(admission.credential, {
      serviceId: shop.owner.id,
      bearer: vm.id,
      epoch: 1,
      admitters: [superPeer.id],
      addresses: new AddressPlan(admission.descriptor.value),
      now: Math.floor(Date.now() / 1000),
    });
    assert.ok(signer.equals(superPeer.id));
    assert.equal(value.vmid, 'i-0123');
    assert.deepEqual(value.roles, ['web']);
    assert.equal(value.ipv6, ipv6Address(shop.owner.id, vm.id));
    assert.equal(value.notAfter - value.notBefore, 3600);
    assert.deepEqual(admission.epochPsk, Uint8Array.from(shop.served.secrets.epochPsk));
    assert.equal(admission.observedAddress, '127.0.0.1');
    const record = superPeer.admitted.at(-1);
    assert.deepEqual(record?.credential.bytes, admission.credential.bytes);
    assert.deepEqual(record?.applicant.multiaddrs, ['/ip4/192.0.2.1/tcp/4001']);
  });

  it('admits by a secret that a person chose', async () => {
    const person = await makeService([superPeer.id], { secret: 'correct horse battery staple' });
    serve(superPeer, person);
    assert.notEqual(person.served.secrets.kdf, undefined);
    const admission = await admit(await makeIdentity(), person, ' correct horse battery staple\n');
    assert.equal(admission.credential.value.vmid, 'i-0123');
  });

  it('refuses a wrong secret with a remedy, and gives nothing', async () => {
    const before = superPeer.admitted.length;
    await assert.rejects(
      admit(await makeIdentity(), shop, makeServiceSecret()),
      (error) =>
        error instanceof AdmissionRefusedError &&
        error.code === 'ERR_ADMISSION_REFUSED' &&
        /secret/.test(error.remedy),
    );
    assert.equal(superPeer.admitted.length, before);
  });

  it('P3 says the same of a service that it does not serve', async () => {
    const strange = await makeService([superPeer.id]);
    await assert.rejects(
      admit(await makeIdentity(), strange, strange.secret),
      (error) => error instanceof AdmissionRefusedError,
    );
  });

  it('tells a mistyped secret before anything is sent', async () => {
    const last = shop.secret.at(-1) === 'a' ? 'b' : 'a';
    await assert.rejects(
      admit(await makeIdentity(), shop, shop.secret.slice(0, -1) + last),
      (error) => error instanceof Error && 'code' in error && error.code === 'ERR_SECRET_TYPO',
    );
  });

  it('admits nobody once the descriptor does not name the super-peer', async () => {
    const other = await makeIdentity();
    const gone = await makeService([other.id], { owner: shop.owner, secret: shop.secret });
    const second = await world.superPeer(await makeIdentity());
    serve(second, gone);
    await assert.rejects(
      admit(await makeIdentity(), gone, gone.secret, { at: second }),
      (error) => error instanceof AdmissionRefusedError,
    );
    assert.equal(second.admitted.length, 0);
  });

  it('P7 a VM refuses a super-peer that the descriptor does not name, though it has the verifier', async () => {
    const named = await makeIdentity();
    const thief = await world.superPeer(await makeIdentity());
    // The thief bends the check of its own right, and so signs for a service not entrusted to it.
    const real = await makeService([named.id]);
    const { descriptor, secrets } = real.served;
    const [entry] = descriptor.value.admitters;
    assert.ok(entry);
    const bent = {
      ...descriptor,
      value: { ...descriptor.value, admitters: [{ ...entry, peerId: thief.id }] },
    };
    thief.services.set(real.owner.id.toString(), { descriptor: bent, secrets });
    await assert.rejects(
      admit(await makeIdentity(), real, real.secret, { at: thief }),
      (error) => error instanceof AdmissionProtocolError && /does not let/.test(error.message),
    );
  });

  it('P34 tells a VM whose clock is off by more than two minutes, and by how much', async () => {
    const clock = (seconds: number) => () => Date.now() + seconds * 1000;
    await admit(await makeIdentity(), shop, shop.secret, { clock: clock(-110) });
    await admit(await makeIdentity(), shop, shop.secret, { clock: clock(110) });
    // Less than the lifetime ahead, or more: both would fail at the first look at another member.
    for (const [seconds, how] of [
      [-600, 'behind'],
      [600, 'ahead of'],
      [86_400, 'ahead of'],
    ] as const) {
      await assert.rejects(
        admit(await makeIdentity(), shop, shop.secret, { clock: clock(seconds) }),
        (error) => {
          assert.ok(error instanceof ClockError);
          const off = Number(new RegExp(`is (\\d+) s ${how}`).exec(error.message)?.[1]);
          assert.ok(Math.abs(off - Math.abs(seconds)) < 60, error.message);
          return true;
        },
      );
    }
  });

  it('stops when the caller does', async () => {
    const abort = new AbortController();
    abort.abort(new Error('enough'));
    await assert.rejects(
      admit(await makeIdentity(), shop, shop.secret, { signal: abort.signal }),
      /enough/,
    );
  });
});

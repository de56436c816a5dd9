import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { AddressPlan } from '../../../src/records/address-plan.ts';
import { CREDENTIAL, type Credential } from '../../../src/records/credential.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import { signLease } from '../../../src/records/lease.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';

const newKey = () => generateKeyPair('Ed25519');
const [service, member, other] = [await newKey(), await newKey(), await newKey()];
const [one, two, gone] = [await newKey(), await newKey(), await newKey()];
const id = peerIdFromPrivateKey;
const terms = {
  ipv4Prefix: { network: '198.18.0.0', length: 16 },
  admitters: [
    { peerId: id(one), range: { first: 0, count: 240 } },
    { peerId: id(two), range: { first: 240, count: 180 } },
  ],
  retired: [{ peerId: id(gone), range: { first: 420, count: 135 } }],
};
const plan = new AddressPlan(terms);

const leaseOf = (by: typeof one, ipv4: string, change = {}) =>
  signLease({ serviceId: id(service), peerId: id(member), ipv4, since: 7, ...change }, by);

async function fault(signer: typeof one, change: Partial<Credential>): Promise<string | undefined> {
  const value: Credential = {
    ...{
      serviceId: id(service),
      peerId: id(member),
      vmid: 'vm',
      roles: [],
      vouched: undefined,
      subnets: [],
    },
    ...{ ipv6: ipv6Address(id(service), id(member)), ipv4: '198.18.7.66', lease: undefined },
    ...{ epoch: 1, notBefore: 1, notAfter: 2, serial: new Uint8Array(16), admittedBy: id(signer) },
    ...change,
  };
  const bytes = await seal(CREDENTIAL, value, signer);
  const credential = await open(CREDENTIAL, bytes);
  const found = plan.fault(credential);
  assert.equal(plan.fault(credential), found, 'the same each time');
  return found;
}

describe('P26 the addresses in a credential', () => {
  it('hold where the super-peer that signs gives one of its range', async () => {
    assert.equal(await fault(one, {}), undefined);
    assert.equal(await fault(two, { ipv4: '198.18.60.0' }), undefined);
  });

  for (const [what, ipv4] of [
    ['the first of the prefix', '198.18.0.0'],
    ['the last of the prefix', '198.18.255.255'],
    ['one of another super-peer', '198.18.60.0'],
    ['one of a super-peer that was struck off', '198.18.105.1'],
    ['one that nobody gives', '198.18.255.1'],
    ['one beside the prefix', '198.19.0.1'],
    ['one on the Internet', '8.8.8.8'],
  ] as const) {
    it(`do not hold with ${what}`, async () => {
      assert.match((await fault(one, { ipv4 })) ?? '', /is no address that .* may give/);
    });
  }

  it('do not hold with an IPv6 address that does not follow from service and member', async () => {
    for (const ipv6 of ['fd00::1', ipv6Address(id(service), id(other))]) {
      assert.match((await fault(one, { ipv6 })) ?? '', /is not its IPv6 address/);
    }
  });

  it('hold at a renewal elsewhere with the lease that the first super-peer signed, and no other', async () => {
    const ipv4 = '198.18.7.66';
    const renewed = { admittedBy: id(one), ipv4 };
    assert.equal(await fault(two, { ...renewed, lease: leaseOf(one, ipv4) }), undefined);
    for (const lease of [
      undefined,
      leaseOf(two, ipv4),
      leaseOf(one, '198.18.7.67'),
      leaseOf(one, ipv4, { peerId: id(other) }),
      leaseOf(one, ipv4, { serviceId: id(other) }),
      { ...leaseOf(one, ipv4), since: 6 },
    ]) {
      assert.match((await fault(two, { ...renewed, lease })) ?? '', /did not lease it/);
    }
  });

  it('hold for a while after the super-peer that gave them was struck off', async () => {
    const ipv4 = '198.18.105.1';
    const renewed = { admittedBy: id(gone), ipv4, lease: leaseOf(gone, ipv4) };
    assert.equal(await fault(two, renewed), undefined);
    const later = new AddressPlan({ ...terms, retired: [] });
    assert.equal(later.covers(id(gone), ipv4), false);
  });
});

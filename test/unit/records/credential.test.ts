import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import {
  CREDENTIAL,
  type Credential,
  type CredentialContext,
  CredentialError,
  checkCredential,
} from '../../../src/records/credential.ts';
import { open, seal } from '../../../src/records/envelope.ts';
import { ipv6Address } from '../../../src/records/virtual-address.ts';
import { planFor } from './plan.ts';

const [superPeer, service, member, stranger] = await Promise.all(
  Array.from({ length: 4 }, () => generateKeyPair('Ed25519')),
);
assert.ok(superPeer && service && member && stranger);
const id = peerIdFromPrivateKey;
const NOW = 1_800_000_000;

const credential: Credential = {
  serviceId: id(service),
  peerId: id(member),
  vmid: 'i-0123',
  roles: ['web'],
  ipv6: ipv6Address(id(service), id(member)),
  ipv4: '100.64.0.1',
  epoch: 3,
  notBefore: NOW,
  notAfter: NOW + 3600,
  serial: new Uint8Array(16),
  admittedBy: id(superPeer),
  subnets: [],
  lease: undefined,
  vouched: undefined,
};
const context: CredentialContext = {
  serviceId: id(service),
  bearer: id(member),
  epoch: 3,
  admitters: [id(superPeer)],
  addresses: planFor([id(superPeer)]),
  now: NOW + 1,
};
const opened = await open(CREDENTIAL, await seal(CREDENTIAL, credential, superPeer));

describe('credentials', () => {
  it('hold for their bearer in their time', () => checkCredential(opened, context));

  for (const [fault, change] of [
    ['service', { serviceId: id(stranger) }],
    ['signer', { admitters: [] }],
    ['signer', { admitters: [id(stranger), id(member)] }],
    ['peer', { bearer: id(stranger) }],
    ['epoch', { epoch: 4 }],
    ['address', { addresses: planFor([id(stranger)]) }],
    ['early', { now: NOW - 121 }],
    ['expired', { now: NOW + 3600 + 120 }],
  ] as const) {
    it(`P7 are refused for a wrong ${fault}: ${Object.keys(change)}`, () => {
      assert.throws(
        () => checkCredential(opened, { ...context, ...change }),
        (error) => error instanceof CredentialError && error.fault === fault,
      );
    });
  }

  it('P33 of an epoch that is over hold for their grace, and of no other', () => {
    const moved = { ...context, epoch: 4, grace: [{ epoch: 3, until: NOW + 60 }] };
    for (const epoch of [4, 5]) checkCredential(opened, { ...moved, epoch });
    const later = [{ epoch: 4, until: NOW + 60 }];
    for (const change of [{ now: NOW + 60 }, { grace: later }, { grace: [] }, { epoch: 2 }]) {
      assert.throws(() => checkCredential(opened, { ...moved, ...change }), CredentialError);
    }
  });

  it('bear clocks that differ by two minutes', () => {
    checkCredential(opened, { ...context, now: NOW - 120 });
    checkCredential(opened, { ...context, now: NOW + 3600 + 119 });
  });
});

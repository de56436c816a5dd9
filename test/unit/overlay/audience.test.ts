import assert from 'node:assert/strict';
import { multiaddr } from '@multiformats/multiaddr';
import { superPeersOf } from '../../../src/overlay/audience.ts';
import type { Held } from '../../../src/overlay/record-store.ts';
import {
  MEMBERSHIP_RECORD,
  REVOCATION_RECORD,
  recordKey,
  type StoredKind,
} from '../../../src/overlay/stored-kinds.ts';
import { type Identity, identities, identity, nth } from './harness.ts';

describe('to whom a super-peer pushes what is new to it', () => {
  let service: Identity;
  let supers: Identity[];
  before(async () => {
    service = await identity();
    supers = await identities(4);
  });

  /** How many super-peers the first one pushes a record of `issuer` to. */
  function pushes(kind: StoredKind<unknown>, issuer: Identity, ...more: string[]): number {
    const self = nth(supers, 0).id;
    const others = supers.slice(1).map(({ id: peerId }) => {
      return { peerId, target: multiaddr(`/ip4/127.0.0.1/tcp/1/p2p/${peerId}`) };
    });
    const key = recordKey(kind, service.id, issuer.id, ...more);
    const bytes = new Uint8Array();
    const held: Held = {
      kind,
      key,
      service: service.id,
      epoch: 0,
      sequence: 1,
      bytes,
      entry: undefined,
    };
    return superPeersOf(self, () => others).targets(held).length;
  }

  it('its own membership shard to all; that of another, which that one pushes, to none', () => {
    assert.equal(pushes(MEMBERSHIP_RECORD, nth(supers, 0), '3'), 3);
    assert.equal(pushes(MEMBERSHIP_RECORD, nth(supers, 1), '3'), 0);
  });

  it('P11 a revocation to all, whoever it comes from', () => {
    for (const issuer of supers) assert.equal(pushes(REVOCATION_RECORD, issuer), 3);
  });
});

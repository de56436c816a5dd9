import assert from 'node:assert/strict';
import { difference, type PlacedMember } from '../../../src/overlay/claims.ts';
import type { Vouched } from '../../../src/policy/selector.ts';
import { credentialFor, type Identity, identity } from './harness.ts';

describe('what has changed about a member', () => {
  let service: Identity;
  let superPeer: Identity;
  let member: Identity;

  before(async () => {
    [service, superPeer, member] = [await identity(), await identity(), await identity()];
  });

  async function placed(subnets: string[] = [], vouched?: Vouched): Promise<PlacedMember> {
    const change = { subnets, vouched };
    const credential = await credentialFor(service.id, superPeer.key, member.id, change);
    const { peerId, vmid, roles, ipv4, ipv6, notAfter } = credential.value;
    const attributes = { peerId, vmid, roles, ipv4, ipv6, subnets, notAfter };
    return { ...attributes, multiaddrs: [], superPeer: superPeer.id, credential };
  }

  it('is its credential alone when a renewal says the same', async () => {
    assert.equal(
      difference(await placed(['10.1.0.0/16']), await placed(['10.1.0.0/16'])),
      'credential',
    );
  });

  it('is what others act on when other subnets are behind it, which they are told at once', async () => {
    assert.equal(difference(await placed(), await placed(['10.1.0.0/16'])), 'facts');
    assert.equal(difference(await placed(['10.1.0.0/16']), await placed()), 'facts');
    assert.equal(difference(await placed(), await placed([], 'roles')), 'facts');
  });
});

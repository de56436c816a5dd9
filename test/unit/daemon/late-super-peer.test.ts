/**
 * ```
 *   first ─── later     tier 1: the service names the first, and the other as soon as that has come
 * ```
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { multiaddr } from '@multiformats/multiaddr';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import {
  createService,
  makeCard,
  NodeState,
  openCard,
  publishAtAll,
  revokeMember,
  SuperPeer,
  type SuperPeerAddress,
  updateService,
} from '../../../src/index.ts';
import { DESCRIPTOR_RECORD, REVOCATION_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { until } from './until.ts';
import { type Arranged, admit, arrange, hostFrom, type Place } from './world.ts';

describe('a super-peer that comes later, and that a service then names', () => {
  const owned = new AsyncDisposableStack();
  after(() => owned.disposeAsync());

  async function card({ stateDir, listen }: Place) {
    await using state = await NodeState.open(stateDir, {});
    return openCard(await makeCard(state, [parseTcpMultiaddr(listen)]));
  }

  it('P11 knows before it admits whom the owner has thrown out', async () => {
    const signal = AbortSignal.timeout(50_000);
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-late-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const { places, overlay }: Arranged = await arrange(dir, 2, signal);
    const [first, later] = await Promise.all(places.map(card));
    assert.ok(first && later);
    const shop = join(dir, 'late');
    const common = { signal };
    const { descriptor, bootstrap } = await createService({
      ...{ ...common, dir: shop, name: 'late', superPeers: [first], credentialLifetime: 3600 },
      ipv4Prefix: { network: '100.65.0.0', length: 16 },
    });
    const start = async ({ stateDir, listen }: Place): Promise<SuperPeer> => {
      const allowedServices = [bootstrap.serviceId];
      const at = { stateDir, listen: [listen], announce: [], allowedServices };
      return owned.use(await SuperPeer.start({ ...at, overlay, log: () => {}, signal }));
    };
    const [here, elsewhere] = places;
    assert.ok(here && elsewhere);
    const before = await start(here);
    const membersHere = () => before.status().services.find(({ name }) => name === 'late')?.members;
    await publishAtAll(descriptor.value, DESCRIPTOR_RECORD, descriptor.bytes, { signal });
    const [at] = bootstrap.superPeers;
    assert.ok(at);
    const vm = await hostFrom('127.0.0.1');
    owned.defer(() => vm.close());
    await admit(vm, at, bootstrap);
    assert.equal(membersHere(), 1);
    const { revocations } = await revokeMember({ dir: shop, member: vm.peerId, newEpoch: false });
    await publishAtAll(descriptor.value, REVOCATION_RECORD, revocations.bytes, { signal });
    assert.equal(
      membersHere(),
      0,
      'P11 a revoked member is off the list when the owner is answered',
    );

    const node = await start(elsewhere);
    await until('they are together in tier 1', () => node.status().superPeers.length === 1);
    const named = { dir: shop, add: [later], remove: [], newEpoch: false, newSecret: false };
    const { descriptor: next } = await updateService({ ...common, ...named });
    await publishAtAll(next.value, DESCRIPTOR_RECORD, next.bytes, { signal });
    const { peerId, multiaddrs } = later.value;
    const there: SuperPeerAddress = {
      peerId,
      multiaddr: multiaddr(`${multiaddrs[0]}/p2p/${peerId}`),
    };
    await assert.rejects(admit(vm, there, bootstrap), { code: 'ERR_REVOKED' });
    const other = await hostFrom('127.0.0.2');
    owned.defer(() => other.close());
    await admit(other, there, bootstrap);
  });
});

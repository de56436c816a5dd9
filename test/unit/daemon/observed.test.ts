import assert from 'node:assert/strict';
import { once } from 'node:events';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { ObservedAddresses } from '../../../src/daemon/observed.ts';
import { candidatesOf } from '../../../src/daemon/pair/calls.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { hostFrom, loopbackAddress } from './world.ts';

const OUTSIDE = '127.255.7.7';

describe('where a node is seen from outside', () => {
  let owned: AsyncDisposableStack;
  beforeEach(() => {
    owned = new AsyncDisposableStack();
  });
  afterEach(() => owned.disposeAsync());

  async function listener() {
    const host = await hostFrom(loopbackAddress(1), ['/ip4/127.0.0.1/tcp/0']);
    owned.defer(() => host.close());
    return host;
  }

  it('is what super-peers say, and only what they say', async () => {
    const [superPeer, stranger, vm] = [await listener(), await listener(), await hostFrom(OUTSIDE)];
    owned.defer(() => vm.close());
    const own: string[] = [];
    let known = [superPeer.peerId];
    const observed = owned.use(
      new ObservedAddresses({
        ...{ host: vm, superPeers: () => known, addresses: () => own },
        isUnderlay: () => true,
      }),
    );
    const meet = async ({ libp2p }: Host): Promise<void> => {
      const connection = await vm.libp2p.dial(libp2p.getMultiaddrs());
      await vm.libp2p.services.identify.identify(connection);
    };
    await meet(stranger);
    assert.deepEqual(observed.addresses, []);
    const change = once(observed, 'change');
    await meet(superPeer);
    await change;
    assert.deepEqual(observed.addresses, [OUTSIDE]);
    own.push(OUTSIDE);
    assert.deepEqual(observed.addresses, [], 'an address of its own is not news');
    own.pop();
    // Who is no super-peer any more is not believed any more.
    known = [];
    await meet(await listener());
    assert.deepEqual(observed.addresses, []);
  });

  it('is dialled at the port that the peer listens at', () => {
    const told = ['/ip4/10.0.0.2/tcp/4242', '/ip6/fd00::2/tcp/4242'].map(parseTcpMultiaddr);
    assert.deepEqual(candidatesOf(told, ['10.0.0.2', '198.51.100.7', '2001:db8::7']), [
      '/ip4/198.51.100.7/tcp/4242',
      '/ip6/2001:db8::7/tcp/4242',
    ]);
    assert.deepEqual(candidatesOf([], ['198.51.100.7']), []);
  });
});

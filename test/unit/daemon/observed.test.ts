import assert from 'node:assert/strict';
import { once } from 'node:events';
import { ObservedAddresses } from '../../../src/daemon/observed.ts';
import { candidatesOf } from '../../../src/daemon/pair/calls.ts';
import { until } from './until.ts';
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
    const identified: string[] = [];
    vm.libp2p.addEventListener('peer:identify', ({ detail }) => {
      identified.push(detail.peerId.toString());
    });
    await vm.libp2p.dial(stranger.libp2p.getMultiaddrs());
    await until('identified', () => identified.length === 1);
    assert.deepEqual(observed.addresses, []);
    const change = once(observed, 'change');
    await vm.libp2p.dial(superPeer.libp2p.getMultiaddrs());
    await change;
    assert.deepEqual(observed.addresses, [OUTSIDE]);
    own.push(OUTSIDE);
    assert.deepEqual(observed.addresses, [], 'an address of its own is not news');
    own.pop();
    // Who is no super-peer any more is not believed any more.
    known = [];
    const third = await listener();
    await vm.libp2p.dial(third.libp2p.getMultiaddrs());
    await until('identified', () => identified.length === 3);
    assert.deepEqual(observed.addresses, []);
  });

  it('is dialled at the port that the peer listens at', () => {
    const told = ['/ip4/10.0.0.2/tcp/4242/p2p/12D3KooWx', '/ip6/fd00::2/tcp/4242/p2p/12D3KooWx'];
    assert.deepEqual(candidatesOf(told, ['10.0.0.2', '198.51.100.7', '2001:db8::7']), [
      '/ip4/198.51.100.7/tcp/4242/p2p/12D3KooWx',
      '/ip6/2001:db8::7/tcp/4242/p2p/12D3KooWx',
    ]);
    assert.deepEqual(candidatesOf([], ['198.51.100.7']), []);
  });
});

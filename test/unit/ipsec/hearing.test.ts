import assert from 'node:assert/strict';
import { Hearing } from '../../../src/ipsec/dataplane/hearing.ts';
import { PeerRecord } from '../../../src/ipsec/dataplane/peer-record.ts';
import { PeerTable } from '../../../src/ipsec/dataplane/peer-table.ts';
import { gatePolicies, peerPolicies } from '../../../src/ipsec/dataplane/policies.ts';
import type { AcquireEvent, ExpireEvent, State } from '../../../src/ipsec/xfrm/index.ts';
import { decodePolicy, encodePolicy } from '../../../src/ipsec/xfrm/policy-codec.ts';
import { decodeState, encodeState } from '../../../src/ipsec/xfrm/state-codec.ts';

const OURS = { ipv6: 'fd00::1', ipv4: '10.90.0.1' };
const THEIRS = { ipv6: 'fd00::2', ipv4: '10.90.0.2' };
const REQID = 0x10005;
const IF_ID = 77;

interface Subnets {
  readonly ours?: string[];
  readonly theirs?: string[];
}

/** A peer, and all that is told of it. */
function setUp(states: () => State[] = () => [], subnets: Subnets = {}) {
  const peers = new PeerTable(OURS);
  // Not as the kernel prints it, on purpose.
  const underlay = { local: '2001:DB8:0::1', remote: '2001:db8::2' };
  const ours = { virtualAddresses: OURS, subnets: subnets.ours ?? [] };
  const own = { ours, ifId: IF_ID, interfaceIndex: 9, reqid: REQID };
  const theirs = { id: 'b', virtualAddresses: THEIRS, subnets: subnets.theirs ?? [] };
  const peer = new PeerRecord(theirs, underlay, own);
  peers.add(peer);
  const told: unknown[] = [];
  const hearing = new Hearing({
    peers,
    ifId: IF_ID,
    states: async () => states(),
    onAcquire: (peerId) => told.push(`acquire ${peerId}`),
    onExpire: ({ direction, spi, hard }) =>
      told.push(`${hard ? 'hard' : 'soft'} ${direction} ${spi}`),
    onMapping: ({ remote, remotePort }) => told.push(`mapping ${remote} ${remotePort}`),
    onGone: async () => void told.push('gone'),
    onError: (error) => told.push(error),
  });
  return { peer, peers, told, hearing };
}

function stateTo(
  destination: string,
  spi: number,
  more: { ifId?: number; reqid?: number } = {},
): State {
  const source = destination === '2001:db8::1' ? '2001:db8::2' : '2001:db8::1';
  const spec = { source, destination, spi, reqid: REQID, ifId: IF_ID, ...more };
  const state = decodeState(encodeState(spec));
  assert.ok(state);
  return state;
}

function acquire(peer: PeerRecord, ifId: number | undefined): AcquireEvent {
  const [spec] =
    ifId === undefined ? gatePolicies(peer.context, 'closed') : peerPolicies(peer.context);
  const policy = spec && decodePolicy(encodePolicy(spec));
  assert.ok(policy);
  const { local: source, remote: destination } = peer.underlay;
  const { selector, templates } = policy;
  return {
    ...{ type: 'acquire', source, destination, protocol: 'esp', selector, policy, templates },
    ...(ifId === undefined ? {} : { ifId }),
    sequence: 1,
  };
}

const expire = (state: State, hard: boolean): ExpireEvent => ({ type: 'expire', hard, state });

describe('hearing of a data plane', () => {
  it('P18 a peer is wanted once, whether the gate or the interface asks, until the kernel gives up', () => {
    const { peer, hearing, told } = setUp();
    hearing.hear(acquire(peer, undefined));
    hearing.hear(acquire(peer, IF_ID));
    hearing.hear(acquire(peer, IF_ID));
    assert.deepEqual(told, ['acquire b']);
    assert.deepEqual(
      peer.acquired.map(({ ifId }) => ifId),
      [undefined, IF_ID],
    );
    hearing.hear(expire(stateTo('2001:db8::2', 0), true));
    hearing.hear(acquire(peer, undefined));
    assert.deepEqual(told, ['acquire b', 'acquire b']);
  });

  it('what is of another interface or of no peer is not heard', () => {
    const { peer, peers, hearing, told } = setUp();
    hearing.hear(acquire(peer, IF_ID + 1));
    hearing.hear(expire(stateTo('2001:db8::1', 5, { ifId: IF_ID + 1 }), true));
    hearing.hear(expire(stateTo('2001:db8::1', 5, { reqid: REQID + 1 }), true));
    peers.delete(peer);
    hearing.hear(acquire(peer, IF_ID));
    assert.deepEqual(told, []);
  });

  it('P16 the same SPI in both directions is two SAs', () => {
    const { peer, hearing, told } = setUp();
    peer.put({ spi: 5, direction: 'in', larval: false });
    peer.put({ spi: 5, direction: 'out', larval: false });
    hearing.hear(expire(stateTo('2001:db8::2', 5), false));
    hearing.hear(expire(stateTo('2001:db8::1', 5), true));
    assert.deepEqual(told, ['soft out 5', 'gone', 'hard in 5']);
    assert.equal(peer.canSend, true);
    hearing.hear(expire(stateTo('2001:db8::2', 5), true));
    assert.equal(peer.canSend, false);
  });

  it('a reservation that ran out is forgotten, and no SA is said to have expired', () => {
    const { peer, hearing, told } = setUp();
    peer.put({ spi: 5, direction: 'in', larval: true });
    hearing.hear(expire(stateTo('2001:db8::1', 5), true));
    assert.deepEqual(told, ['gone']);
    assert.deepEqual(peer.sas, []);
  });

  it('an ACQUIRE that an overrun swallowed is read from the kernel', async () => {
    const { peer, hearing, told } = setUp(() => [stateTo('2001:db8::2', 0)]);
    hearing.hear({ type: 'overrun' });
    await new Promise(setImmediate);
    assert.deepEqual(told, ['acquire b']);
    assert.equal(peer.acquired.length, 1);
  });
});

describe('policies of a peer', () => {
  it('P7 name the one reqid of the peer, so that one peer cannot speak as another', () => {
    const { peer } = setUp();
    const policies = [...peerPolicies(peer.context), ...gatePolicies(peer.context, 'closed')];
    assert.equal(policies.length, 8);
    for (const { templates = [] } of policies) {
      assert.deepEqual(
        templates.map(({ reqid, mode, protocol }) => ({ reqid, mode, protocol })),
        [{ reqid: REQID, mode: 'tunnel', protocol: 'esp' }],
      );
    }
  });

  it('P17 all but the gate are of the interface, and none lets anything through in clear', () => {
    const { peer } = setUp();
    for (const { ifId, direction, templates = [] } of peerPolicies(peer.context)) {
      assert.equal(ifId, IF_ID);
      assert.ok(templates.length === 1 && templates[0]?.optional === undefined, direction);
    }
    for (const gate of ['open', 'closed'] as const) {
      for (const { ifId, direction } of gatePolicies(peer.context, gate)) {
        assert.deepEqual([ifId, direction], [undefined, 'out']);
      }
    }
  });

  it('P21 are for each two blocks of one family; gates of what is forwarded are of the interface', () => {
    const subnets = { ours: ['10.20.0.0/16', 'fd20::/48'], theirs: ['10.30.0.0/16'] };
    const { peer } = setUp(undefined, subnets);
    const ends = (policies: ReturnType<typeof peerPolicies>) =>
      policies.map(({ direction, selector: { source, destination } }) =>
        direction === 'out' ? `${source} > ${destination}` : `${destination} < ${source}`,
      );
    const pairs = [
      ['fd00::1/128', 'fd00::2/128'],
      ['fd20::/48', 'fd00::2/128'],
      ['10.90.0.1/32', '10.90.0.2/32'],
      ['10.90.0.1/32', '10.30.0.0/16'],
      ['10.20.0.0/16', '10.90.0.2/32'],
      ['10.20.0.0/16', '10.30.0.0/16'],
    ] as const;
    assert.deepEqual(
      ends(peerPolicies(peer.context)).sort(),
      pairs.flatMap(([a, b]) => [`${a} > ${b}`, `${a} < ${b}`, `${a} < ${b}`]).sort(),
    );
    const gates = gatePolicies(peer.context, 'closed');
    assert.deepEqual(ends(gates).sort(), pairs.map(([a, b]) => `${a} > ${b}`).sort());
    for (const { selector } of gates) {
      const forwarded = subnets.ours.includes(selector.source);
      assert.equal(selector.interfaceIndex, forwarded ? 9 : undefined);
    }
  });
});

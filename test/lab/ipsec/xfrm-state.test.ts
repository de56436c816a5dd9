import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import {
  type Lifetime,
  type SpiRequest,
  type State,
  type StateSpec,
  XfrmClient,
  XfrmError,
  XfrmKey,
} from '../../../src/ipsec/xfrm/index.ts';
import { createNetns, type Netns } from '../netns.ts';
import { inside } from './inside.ts';

// Each state is added twice: by `ip xfrm state add` in one namespace, by XfrmClient in another.
// What `ip -d -s xfrm state` prints must be the same, and what XfrmClient reads back too.

const K16 = '00112233445566778899aabbccddeeff';
const K20 = `${K16}01020304`;
const K32 = K16 + K16;
const K36 = `${K32}01020304`;
const key = (hex: string) => XfrmKey.of(Buffer.from(hex, 'hex'));

const V4 = { source: '192.0.2.1', destination: '192.0.2.2' };
const V6 = { source: '2001:db8::1', destination: '2001:db8::2' };
const GCM = { name: 'rfc4106(gcm(aes))', key: key(K36), icvBits: 128 };
const gcm = ['aead', 'rfc4106(gcm(aes))', `0x${K36}`, '128'];
const UNSPEC = ['flag', 'af-unspec'];

interface Case {
  readonly what: string;
  readonly spec: StateSpec;
  /** Of `ip xfrm state add`, after ends, protocol and SPI. */
  readonly ip: readonly string[];
}

const id4 = { ...V4, spi: 0x1001 };
const id6 = { ...V6, spi: 0x1002 };
/** A selector of both ends' family, so that no `af-unspec` is set. */
const any4 = { source: '0.0.0.0/0', destination: '0.0.0.0/0' };

const AEADS = [
  ['rfc4106(gcm(aes))', K20, 128],
  ['rfc4106(gcm(aes))', `${K16}0011223344556677${'01020304'}`, 96],
  ['rfc4106(gcm(aes))', K36, 64],
  ['rfc7539esp(chacha20,poly1305)', K36, 128],
  ['rfc4309(ccm(aes))', `${K16}010203`, 128],
  ['rfc4309(ccm(aes))', `${K32}010203`, 64],
  ['rfc4543(gcm(aes))', K20, 128],
] as const;
const AUTHENTICATORS = [
  ['hmac(sha1)', K20, 96],
  ['hmac(sha256)', K32, 128],
  ['hmac(sha384)', K32 + K16, 192],
  ['hmac(sha512)', K32 + K32, 256],
  ['cmac(aes)', K16, 96],
] as const;
const LIFETIME: Lifetime = {
  bytes: { soft: 1000n, hard: 2000n },
  packets: { soft: 10n, hard: 0xffff_ffff_ffffn },
  seconds: { soft: 100n, hard: 200n },
  useSeconds: { hard: 50n },
};
const limits = [
  'limit byte-soft 1000 limit byte-hard 2000',
  'limit packet-soft 10 limit packet-hard 281474976710655',
  'limit time-soft 100 limit time-hard 200 limit time-use-hard 50',
].flatMap((part) => part.split(' '));

const CASES: readonly Case[] = [
  ...AEADS.map(([name, hex, icvBits]) => ({
    what: `${name} of ${hex.length * 4} bits, ICV ${icvBits}`,
    spec: { ...id4, aead: { name, key: key(hex), icvBits } },
    ip: [...UNSPEC, 'aead', name, `0x${hex}`, String(icvBits)],
  })),
  ...AUTHENTICATORS.map(([name, hex, truncBits]) => ({
    what: `cbc(aes) with ${name}`,
    spec: {
      ...id6,
      cipher: { name: 'cbc(aes)', key: key(K32) },
      authenticator: { name, key: key(hex), truncBits },
    },
    ip: [
      ...UNSPEC,
      'enc',
      'cbc(aes)',
      `0x${K32}`,
      'auth-trunc',
      name,
      `0x${hex}`,
      String(truncBits),
    ],
  })),
  {
    what: 'counter mode with HMAC',
    spec: {
      ...id4,
      cipher: { name: 'rfc3686(ctr(aes))', key: key(K20) },
      authenticator: { name: 'hmac(sha256)', key: key(K32), truncBits: 128 },
    },
    ip: [
      ...UNSPEC,
      'enc',
      'rfc3686(ctr(aes))',
      `0x${K20}`,
      'auth-trunc',
      'hmac(sha256)',
      `0x${K32}`,
      '128',
    ],
  },
  {
    what: 'authentication only',
    spec: {
      ...id4,
      cipher: { name: 'ecb(cipher_null)', key: key('') },
      authenticator: { name: 'hmac(sha256)', key: key(K32), truncBits: 128 },
    },
    ip: [...UNSPEC, 'enc', 'ecb(cipher_null)', '', 'auth-trunc', 'hmac(sha256)', `0x${K32}`, '128'],
  },
  {
    what: 'tunnel mode with reqid, if_id and marks',
    spec: {
      ...id6,
      mode: 'tunnel',
      reqid: 0xabcdef01,
      ifId: 0xfeedbeef,
      mark: { value: 0x12, mask: 0xff },
      outputMark: { value: 0x34, mask: 0xfff },
      aead: GCM,
    },
    ip: [
      'mode',
      'tunnel',
      'reqid',
      '2882400001',
      'if_id',
      '0xfeedbeef',
      'mark',
      '0x12',
      'mask',
      '0xff',
      'output-mark',
      '0x34',
      'mask',
      '0xfff',
      ...UNSPEC,
      ...gcm,
    ],
  },
  {
    what: 'a selector with ports and protocol',
    spec: {
      ...id4,
      selector: {
        source: '10.1.0.0/16',
        destination: '10.2.3.4/32',
        protocol: 17,
        sourcePort: 500,
        destinationPort: 4500,
      },
      aead: GCM,
    },
    ip: [
      ...gcm,
      'sel',
      'src',
      '10.1.0.0/16',
      'dst',
      '10.2.3.4/32',
      'proto',
      'udp',
      'sport',
      '500',
      'dport',
      '4500',
    ],
  },
  {
    what: 'flags',
    spec: {
      ...id4,
      mode: 'tunnel',
      selector: any4,
      flags: ['noecn', 'decap-dscp', 'nopmtudisc', 'icmp'],
      extraFlags: ['dont-encap-dscp', 'oseq-may-wrap'],
      aead: GCM,
    },
    ip: [
      'mode',
      'tunnel',
      'flag',
      'noecn',
      'decap-dscp',
      'nopmtudisc',
      'icmp',
      'extra-flag',
      'dont-encap-dscp',
      'oseq-may-wrap',
      ...gcm,
      'sel',
      'src',
      '0.0.0.0/0',
      'dst',
      '0.0.0.0/0',
    ],
  },
  {
    what: 'a small replay window',
    spec: { ...id4, replay: { window: 32 }, aead: GCM },
    ip: ['replay-window', '32', ...UNSPEC, ...gcm],
  },
  {
    what: 'extended sequence numbers that are under way',
    spec: {
      ...id4,
      replay: { window: 128, esn: true, outbound: 0x1_0000_0002n, inbound: 0x3_0000_0004n },
      aead: GCM,
    },
    ip: [
      'replay-window',
      '128',
      'flag',
      'esn',
      'af-unspec',
      'replay-oseq-hi',
      '1',
      'replay-oseq',
      '2',
      'replay-seq-hi',
      '3',
      'replay-seq',
      '4',
      ...gcm,
    ],
  },
  {
    what: 'lifetimes',
    spec: { ...id4, lifetime: LIFETIME, aead: GCM },
    ip: [...limits, ...UNSPEC, ...gcm],
  },
  {
    what: 'ESP in UDP over IPv4',
    spec: {
      ...id4,
      encapsulation: { type: 'espinudp', sourcePort: 4500, destinationPort: 10_000 },
      aead: GCM,
    },
    ip: [...UNSPEC, ...gcm, 'encap', 'espinudp', '4500', '10000', '0.0.0.0'],
  },
  {
    what: 'ESP in UDP over IPv6',
    spec: {
      ...id6,
      encapsulation: { type: 'espinudp', sourcePort: 4500, destinationPort: 10_000 },
      aead: GCM,
    },
    ip: [...UNSPEC, ...gcm, 'encap', 'espinudp', '4500', '10000', '::'],
  },
  {
    what: 'ESP in TCP',
    spec: {
      ...id4,
      encapsulation: { type: 'espintcp', sourcePort: 4500, destinationPort: 10_000 },
      aead: GCM,
    },
    ip: [...UNSPEC, ...gcm, 'encap', 'espintcp', '4500', '10000', '0.0.0.0'],
  },
  {
    what: 'padding against traffic analysis',
    spec: { ...id4, mode: 'tunnel', tfcPad: 512, aead: GCM },
    ip: ['mode', 'tunnel', 'tfcpad', '512', ...UNSPEC, ...gcm],
  },
  {
    what: 'BEET mode',
    spec: {
      ...id6,
      mode: 'beet',
      selector: { source: '10.0.0.1/32', destination: '10.0.0.2/32' },
      aead: GCM,
    },
    ip: ['mode', 'beet', ...gcm, 'sel', 'src', '10.0.0.1/32', 'dst', '10.0.0.2/32'],
  },
  {
    what: 'AH',
    spec: {
      ...id4,
      protocol: 'ah',
      authenticator: { name: 'hmac(sha256)', key: key(K32), truncBits: 128 },
    },
    ip: [...UNSPEC, 'auth-trunc', 'hmac(sha256)', `0x${K32}`, '128'],
  },
];

async function printed(ns: Netns): Promise<string> {
  return (await ns.ip('-d', '-s', 'xfrm', 'state')).replace(/add \d{4}.*use -/g, 'add TIME use -');
}

/** What both namespaces' kernels tell, without the time and with the keys' bytes. */
function comparable(state: State) {
  const { usage, aead, cipher, authenticator, ...rest } = state;
  const keys = [aead, cipher, authenticator].map((algorithm) => algorithm?.key?.expose());
  return { ...rest, keys, aead, cipher, authenticator, usage: { ...usage, addedAt: 0 } };
}

describe('xfrm states, beside ip xfrm', () => {
  for (const { what, spec, ip } of CASES) {
    it(`adds and reads ${what}`, async () => {
      await using theirs = await createNetns('ip');
      await using ours = await createNetns('us');
      using us = inside(ours, () => new XfrmClient());
      using them = inside(theirs, () => new XfrmClient());
      const { source, destination, spi, protocol = 'esp' } = spec;
      const name = ['src', source, 'dst', destination, 'proto', protocol, 'spi', String(spi)];
      await theirs.ip('xfrm', 'state', 'add', ...name, ...ip);
      await us.addState(spec);
      assert.equal(await printed(ours), await printed(theirs));

      const state = await us.getState(spec, { withKeys: true });
      const foreign = await them.getState(spec, { withKeys: true });
      assert.deepEqual(comparable(state), comparable(foreign));
      const { aead, cipher, authenticator, flags = [], replay, ...rest } = spec;
      for (const [field, value] of Object.entries(rest)) {
        assert.deepEqual(Reflect.get(state, field), value, field);
      }
      for (const flag of flags) assert.ok(state.flags?.includes(flag), flag);
      if (replay !== undefined) assert.deepEqual({ ...state.replay, ...replay }, state.replay);
      for (const [told, given] of [
        [state.aead, aead],
        [state.cipher, cipher],
        [state.authenticator, authenticator],
      ] as const) {
        assert.equal(told?.name, given?.name);
        assert.deepEqual(told?.key?.expose(), given?.key.expose());
      }
    });
  }

  it('sets what ip xfrm has no words for yet, as the kernel tells it back', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const udp = { type: 'espinudp', sourcePort: 4500, destinationPort: 4500 } as const;
    const fields: readonly Partial<StateSpec>[] = [
      { direction: 'out', cpu: 0, tfcPad: 100 },
      { direction: 'in', encapsulation: udp, mappingThreshold: 10 },
      { direction: 'out', encapsulation: udp, natKeepaliveInterval: 20 },
      { careOfAddress: '2001:db8::99' },
      {
        mode: 'iptfs',
        direction: 'out',
        iptfs: { dontFragment: true, initDelay: 1000, maxQueueSize: 65_536, packetSize: 1200 },
      },
      { mode: 'iptfs', direction: 'in', iptfs: { dropTime: 2000, reorderWindow: 4 } },
    ];
    for (const [index, more] of fields.entries()) {
      const spec: StateSpec = { ...V6, spi: 0x2000 + index, mode: 'tunnel', aead: GCM, ...more };
      await client.addState(spec);
      const state = await client.getState(spec);
      for (const [field, value] of Object.entries(more)) {
        assert.deepEqual(Reflect.get(state, field), value, field);
      }
    }
  });

  it('asks for offload in words that the kernel understands', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    // The loopback interface has no hardware for it: ciphers fall back to software, packets cannot.
    const spec = { ...V4, spi: 0x3000, mode: 'tunnel', selector: any4, aead: GCM } as const;
    await assert.rejects(
      client.addState({ ...spec, offload: { interfaceIndex: 1, flags: ['packet'] } }),
      { code: 'ERR_XFRM_INVALID' },
    );
    await client.addState({ ...spec, offload: { interfaceIndex: 1 } });
  });

  it('get, update, delete, dump, filter and flush do what ip xfrm shows', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    await client.addState({ ...id4, aead: GCM });
    await client.addState({ ...id6, aead: GCM });
    await client.addState({
      ...id4,
      protocol: 'ah',
      authenticator: { name: 'hmac(sha256)', key: key(K32), truncBits: 128 },
    });
    const spis = async (call?: Parameters<XfrmClient['states']>[0]) =>
      (await client.states(call)).map(({ spi, protocol }) => `${protocol} ${spi}`).sort();
    assert.deepEqual(await spis(), ['ah 4097', 'esp 4097', 'esp 4098']);
    assert.deepEqual(await spis({ protocol: 'ah' }), ['ah 4097']);
    const ends = { source: '2001:db8::/32', destination: '2001:db8::2' };
    assert.deepEqual(await spis({ ends }), ['esp 4098']);

    await client.updateState({ ...id4, aead: GCM, lifetime: { packets: { hard: 77n } } });
    assert.match(await ns.ip('-d', '-s', 'xfrm', 'state'), /hard 77\(packets\)/);
    await client.deleteState(id4);
    await assert.rejects(client.getState(id4), { code: 'ERR_XFRM_NOT_FOUND', errnoName: 'ESRCH' });
    await client.flushStates('ah');
    assert.deepEqual(await spis(), ['esp 4098']);
    assert.equal((await client.stateCounts()).states, 1);
    assert.match(await ns.ip('-s', 'xfrm', 'state', 'count'), /SAD count 1/);
    await client.flushStates();
    assert.equal(await ns.ip('xfrm', 'state'), '');
    assert.deepEqual(await client.states(), []);
  });

  it('marks are part of the name of a state', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const [one, two] = [1, 2].map((value) => ({ ...id4, mark: { value, mask: 0xff } }));
    assert.ok(one && two);
    await client.addState({ ...one, aead: GCM });
    await client.addState({ ...two, aead: GCM });
    await client.deleteState(one);
    await assert.rejects(client.getState(one), { code: 'ERR_XFRM_NOT_FOUND' });
    assert.deepEqual((await client.getState(two)).mark, two.mark);
  });

  it('allocates SPIs in the range, and names the range that is used up', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const request: SpiRequest = {
      ...V6,
      mode: 'tunnel',
      reqid: 5,
      ifId: 6,
      min: 0x501,
      max: 0x501,
    };
    const { spi, larval, lifetime } = await client.allocateSpi(request);
    assert.deepEqual([spi, larval, lifetime], [0x501, true, { seconds: { hard: 30n } }]);
    await assert.rejects(client.allocateSpi(request), { code: 'ERR_XFRM_NO_SPI' });
    const free = await client.allocateSpi({ ...request, min: 0x10000, max: 0x1ffff });
    assert.equal(free.spi >>> 16, 1);
    assert.match(
      await ns.ip('xfrm', 'state'),
      /spi 0x00000501 reqid 5 mode tunnel[\s\S]*if_id 0x6/,
    );
    // A larval state takes its keys by update, and is a state then.
    await client.updateState({ ...V6, spi: 0x501, mode: 'tunnel', reqid: 5, ifId: 6, aead: GCM });
    assert.equal((await client.getState({ ...V6, spi: 0x501 })).larval, false);
  });

  it('installs and removes 1,000 states at once, and tells which failed', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const specs = Array.from({ length: 1000 }, (_, n) => ({ ...V4, spi: 0x10000 + n, aead: GCM }));
    await client.addState({ ...V4, spi: 0x10000 + 7, aead: GCM });
    await client.addState({ ...V4, spi: 0x10000 + 999, aead: GCM });
    const failures = await client.addStates(specs);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code]),
      [
        [7, 'ERR_XFRM_EXISTS'],
        [999, 'ERR_XFRM_EXISTS'],
      ],
    );
    assert.equal((await client.states()).length, 1000);
    assert.deepEqual(await client.deleteStates(specs), []);
    assert.equal((await client.stateCounts()).states, 0);
  });

  it('P23 refusals name the reason and the remedy, and hold no key', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const bad: readonly (readonly [StateSpec, RegExp])[] = [
      [
        { ...id4, aead: { ...GCM, name: 'rfc4106(gcm(rot13))' } },
        /ENOSYS: Requested AEAD algorithm not found/,
      ],
      [
        { ...id4, aead: GCM, replay: { window: 0, esn: true } },
        /EINVAL: ESN replay window must be > 0/,
      ],
      [{ ...id4, aead: GCM, tfcPad: 5 }, /EINVAL: TFC padding can only be used in tunnel mode/],
      [{ ...id4 }, /EINVAL: Missing required attribute for ESP/],
    ];
    for (const [spec, reason] of bad) {
      await assert.rejects(client.addState(spec), (error) => {
        assert.ok(error instanceof XfrmError);
        assert.match(error.message, reason);
        assert.ok(error.remedy.length > 0);
        assert.doesNotMatch(inspect(error, { depth: 9, showHidden: true }), /00, ?11, ?22|001122/);
        return true;
      });
    }
  });

  it('ends with its signal, and refuses to work once closed', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(client.states({ signal }), /enough/);
    await assert.rejects(client.addState({ ...id4, aead: GCM }, { signal }), /enough/);
    assert.deepEqual(await client.states(), []);
    client.close();
    await assert.rejects(client.states(), { code: 'ERR_NETLINK_CLOSED' });
  });

  it('many dumps and requests at a time do not disturb each other', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    const specs = Array.from({ length: 200 }, (_, n) => ({ ...V4, spi: 0x10000 + n, aead: GCM }));
    const added = specs.map((spec) => client.addState(spec));
    const dumps = Array.from({ length: 5 }, () => client.states());
    await Promise.all([...added, ...dumps]);
    assert.equal((await client.states()).length, 200);
  });
});

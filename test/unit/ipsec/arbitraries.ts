import fc from 'fast-check';
import ipaddr from 'ipaddr.js';
import { formatAddress } from '../../../src/ipsec/xfrm/address.ts';
import type { PolicySpec, StateSpec, Template } from '../../../src/ipsec/xfrm/index.ts';
import { XfrmKey } from '../../../src/ipsec/xfrm/key.ts';

// Generated values of the friendly layer, in the one form that decoding gives back.

/** Plain objects, as decoding gives them. */
function record<T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record(model, { noNullPrototype: true });
}

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 1, max: 0xffff });
const positive = fc.integer({ min: 1, max: 0xffff_ffff });

const ipv4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((raw) => formatAddress(2, raw));
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).map((raw) => formatAddress(10, raw));

/** Two addresses of one family, neither of them "any". */
export const ends = fc
  .constantFrom(ipv4, ipv6)
  .chain((family) => record({ source: family, destination: family }))
  .filter(({ source, destination }) => {
    const any = (text: string) =>
      ipaddr
        .parse(text)
        .toByteArray()
        .every((byte) => byte === 0);
    return !any(source) && !any(destination);
  });

const port = fc.oneof(u16, record({ port: u16, mask: fc.integer({ min: 1, max: 0xfffe }) }));

/** Without keys that are undefined, as decoding leaves them out. */
function compact<T extends object>(value: T): T {
  const out = { ...value };
  for (const key of Object.keys(out)) {
    if (Reflect.get(out, key) === undefined) Reflect.deleteProperty(out, key);
  }
  return out;
}

const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });

export const selector = fc.constantFrom(4, 6).chain((version) => {
  const [address, bits] = version === 4 ? ([ipv4, 32] as const) : ([ipv6, 128] as const);
  const prefix = fc
    .tuple(address, fc.integer({ min: 0, max: bits }))
    .map(([text, length]) => `${text}/${length}`);
  return record({
    source: prefix,
    destination: prefix,
    protocol: optional(fc.integer({ min: 1, max: 255 })),
    sourcePort: optional(port),
    destinationPort: optional(port),
    interfaceIndex: optional(fc.integer({ min: 1, max: 0x7fff_ffff })),
    user: optional(positive),
  }).map(compact);
});

const limit = (none: bigint) =>
  record({
    soft: optional(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).filter((n) => n !== none)),
    hard: optional(fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }).filter((n) => n !== none)),
  })
    .map(compact)
    .map((value) => (Object.keys(value).length === 0 ? undefined : value));

export const lifetime = record({
  bytes: limit((1n << 64n) - 1n),
  packets: limit((1n << 64n) - 1n),
  seconds: limit(0n),
  useSeconds: limit(0n),
}).map(compact);

export const mark = record({ value: u32, mask: positive });

const key = fc.uint8Array({ minLength: 0, maxLength: 64 }).map((raw) => XfrmKey.of(raw));
const name = fc.stringMatching(/^[a-z0-9(),_-]{1,63}$/);
const algorithms = fc.oneof(
  record({ aead: record({ name, key, icvBits: fc.constantFrom(64, 96, 128) }) }),
  record({
    cipher: record({ name, key }),
    authenticator: record({ name, key, truncBits: fc.integer({ min: 0, max: 512 }) }),
  }),
  record({ authenticator: record({ name, key, truncBits: fc.constant(96) }) }),
  record({ compression: name }),
);

const number64 = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
export const replay = fc.oneof(
  record({
    window: fc.integer({ min: 0, max: 4096 }),
    esn: fc.constant(true),
    outbound: number64,
    inbound: number64,
  }),
  record({
    window: fc.integer({ min: 0, max: 4096 }),
    esn: fc.constant(false),
    outbound: u32.map(BigInt),
    inbound: u32.map(BigInt),
  }),
);

export const state: fc.Arbitrary<StateSpec> = record({
  ends,
  algorithms,
  spi: u32,
  protocol: fc.constantFrom('esp', 'ah', 'comp'),
  mode: fc.constantFrom('transport', 'tunnel', 'beet', 'iptfs'),
  reqid: u32,
  selector: optional(selector),
  lifetime,
  replay,
  flags: fc.subarray(['noecn', 'decap-dscp', 'nopmtudisc', 'wildrecv', 'icmp', 'align4'] as const),
  extraFlags: optional(fc.subarray(['dont-encap-dscp', 'oseq-may-wrap'] as const)),
  encapsulation: optional(
    record({
      type: fc.constantFrom('espinudp-nonike', 'espinudp', 'espintcp'),
      sourcePort: u16,
      destinationPort: u16,
    }),
  ),
  mark: optional(mark),
  outputMark: optional(mark),
  ifId: optional(positive),
  direction: optional(fc.constantFrom('in', 'out')),
  tfcPad: optional(u32),
  offload: optional(
    record({
      interfaceIndex: fc.integer({ min: 0, max: 0x7fff_ffff }),
      flags: fc.subarray(['ipv6', 'inbound', 'packet'] as const),
    }),
  ),
  mappingThreshold: optional(u32),
  natKeepaliveInterval: optional(u32),
  cpu: optional(u32),
  sequence: optional(positive),
}).map(({ ends: both, algorithms: some, ...rest }) => compact({ ...both, ...some, ...rest }));

export const template: fc.Arbitrary<Template> = record({
  ends: fc.oneof(ends, fc.constant({})),
  protocol: fc.constantFrom('esp', 'ah', 'comp'),
  mode: fc.constantFrom('transport', 'tunnel', 'beet'),
  reqid: u32,
  spi: optional(positive),
  share: optional(fc.constantFrom('session', 'user', 'unique')),
  optional: optional(fc.constant(true)),
}).map(({ ends: both, ...rest }) => compact({ ...both, ...rest }));

export const policy: fc.Arbitrary<PolicySpec> = record({
  direction: fc.constantFrom('in', 'out', 'fwd'),
  selector,
  action: fc.constantFrom('allow', 'block'),
  priority: u32,
  index: u32,
  flags: fc.subarray(['localok', 'icmp', 'cpu-acquire'] as const),
  share: optional(fc.constantFrom('session', 'user', 'unique')),
  lifetime,
  templates: fc.array(template, { maxLength: 6 }),
  mark: optional(mark),
  ifId: optional(positive),
  type: optional(fc.constant('sub')),
}).map(compact);

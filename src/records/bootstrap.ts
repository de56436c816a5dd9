/**
 * Bootstrap data: the one file that a VM needs to join a service, and a super-peer to join an
 * overlay. It holds the admission secret: whoever reads it can be admitted.
 *
 * ```json
 * {
 *   "icvpn": 1,
 *   "serviceId": "12D3KooW…",
 *   "name": "shop",
 *   "superPeers": ["/ip4/192.0.2.1/tcp/4242/p2p/12D3KooW…"],
 *   "secret": "icvpn1-…",
 *   "ipv4": "198.18.0.0/16; absent in data of older owners",
 *   "descriptor": "base64, of an overlay only: its super-peers need it before there is a DHT"
 * }
 * ```
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { formatPrefix, type Prefix, parsePrefix } from '../codec/ip.ts';
import { dialled, MAX_MULTIADDRS, parseTcpMultiaddr } from '../codec/multiaddr.ts';
import { IcvpnError } from '../errors.ts';
import { checkIpv4Prefix } from './address-range.ts';
import { MAX_ADMITTERS, type ServiceDescriptor } from './descriptor.ts';
import { parsePeerId } from './peer-id.ts';

export class BootstrapError extends IcvpnError {
  constructor(reason: string, options?: ErrorOptions) {
    super(
      'ERR_BOOTSTRAP',
      `the bootstrap data is not valid: ${reason}`,
      'get the file anew from the owner of the service',
      options,
    );
  }
}

/** A super-peer that can be dialled, and who it must turn out to be. */
export interface SuperPeerAddress {
  readonly peerId: Ed25519PeerId;
  readonly multiaddr: Multiaddr;
}

/** What bootstrap data says of a service, whether or not the secret is still known. */
export interface KnownService {
  readonly serviceId: Ed25519PeerId;
  readonly name: string;
  readonly superPeers: readonly SuperPeerAddress[];
  /** The service secret or a ticket. */
  readonly secret: string | undefined;
  readonly descriptor: Uint8Array | undefined;
  /** Of the virtual addresses: so that a VM can tell before its admission whether it has room for them. */
  readonly ipv4Prefix?: Prefix;
}

export interface Bootstrap extends KnownService {
  readonly secret: string;
}

const FIELDS = ['icvpn', 'serviceId', 'name', 'superPeers', 'secret', 'ipv4', 'descriptor'];
const MAX_LENGTH = 1024 * 1024;
/** A descriptor names as many at most. */
const MAX_ADDRESSES = MAX_ADMITTERS * MAX_MULTIADDRS;

export function formatBootstrap(data: KnownService): string {
  const { serviceId, name, superPeers, secret, descriptor, ipv4Prefix } = data;
  const json = {
    icvpn: 1,
    serviceId: serviceId.toString(),
    name,
    superPeers: superPeers.map((each) => each.multiaddr.toString()),
    ...(secret !== undefined && { secret }),
    ...(ipv4Prefix && { ipv4: formatPrefix(ipv4Prefix) }),
    ...(descriptor && { descriptor: Buffer.from(descriptor).toString('base64') }),
  };
  return `${JSON.stringify(json, undefined, 2)}\n`;
}

/** @throws BootstrapError that names the field */
export function parseBootstrap(text: string): Bootstrap {
  const { secret, ...service } = parseKnownService(text);
  if (secret === undefined) throw new BootstrapError('"secret" is not text');
  return { ...service, secret };
}

/** As {@link parseBootstrap}; the secret may be absent. @throws BootstrapError that names the field */
export function parseKnownService(text: string): KnownService {
  if (text.length > MAX_LENGTH) throw new BootstrapError(`longer than ${MAX_LENGTH} characters`);
  const json = parseObject(text);
  for (const key of json.keys()) {
    if (!FIELDS.includes(key)) throw new BootstrapError(`unknown field "${key}"`);
  }
  if (json.get('icvpn') !== 1) throw new BootstrapError('"icvpn" is not 1');
  const list = json.get('superPeers');
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_ADDRESSES) {
    throw new BootstrapError(`"superPeers" is not a list of 1 to ${MAX_ADDRESSES} multiaddrs`);
  }
  const descriptor = json.has('descriptor') ? text64(json) : undefined;
  return {
    serviceId: field('serviceId', () => parsePeerId(textOf(json, 'serviceId'))),
    name: textOf(json, 'name'),
    superPeers: list.map((each) => field('superPeers', () => parseSuperPeerAddress(each))),
    secret: json.has('secret') ? textOf(json, 'secret') : undefined,
    descriptor,
    ...(json.has('ipv4') && { ipv4Prefix: field('ipv4', () => ipv4Of(json)) }),
  };
}

function ipv4Of(json: Map<string, unknown>): Prefix {
  const prefix = parsePrefix(textOf(json, 'ipv4'));
  checkIpv4Prefix(prefix);
  return prefix;
}

/** @param text a multiaddr that ends in `/p2p/<PeerID>`. @throws Error when it is not one */
export function parseSuperPeerAddress(text: unknown): SuperPeerAddress {
  if (typeof text !== 'string') throw new BootstrapError('"superPeers" holds something not text');
  const [address = '', id, ...more] = text.split('/p2p/');
  if (id === undefined || more.length > 0) {
    throw new BootstrapError(`"superPeers": "${text}" does not end in /p2p/<PeerID>`);
  }
  const peerId = parsePeerId(id);
  return { peerId, multiaddr: dialled(parseTcpMultiaddr(address), peerId) };
}

/** Where the super-peers of a service can be dialled, by its descriptor. */
export function superPeerAddresses(
  service: Pick<ServiceDescriptor, 'admitters'>,
): SuperPeerAddress[] {
  return service.admitters.flatMap(({ peerId, multiaddrs }) =>
    multiaddrs.map((address) => ({ peerId, multiaddr: dialled(address, peerId) })),
  );
}

function parseObject(text: string): Map<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text, and with it the secret.
    throw new BootstrapError('not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new BootstrapError('not a JSON object');
  }
  return new Map(Object.entries(json));
}

function textOf(json: Map<string, unknown>, name: string): string {
  const value = json.get(name);
  if (typeof value !== 'string' || value === '') throw new BootstrapError(`"${name}" is not text`);
  return value;
}

function text64(json: Map<string, unknown>): Uint8Array {
  const text = textOf(json, 'descriptor');
  const raw = Buffer.from(text, 'base64');
  if (raw.toString('base64') !== text) throw new BootstrapError('"descriptor" is not base64');
  return Uint8Array.from(raw);
}

function field<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (cause) {
    if (cause instanceof BootstrapError) throw cause;
    throw new BootstrapError(`"${name}": ${cause instanceof Error ? cause.message : cause}`, {
      cause,
    });
  }
}

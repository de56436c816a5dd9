/** Bodies of NEWSA, UPDSA, DELSA, GETSA, ALLOCSPI. */
import { MalformedError, ValueError } from '../netlink/errors.ts';
import { attribute, concat, decodeAttributes } from '../netlink/framing.ts';
import type { ValueOf } from '../netlink/struct.ts';
import {
  ANY_SELECTOR,
  decodeSelector,
  encodeSelector,
  formatAddress,
  parseAddress,
} from './address.ts';
import { decodeAlgorithms, encodeAlgorithms } from './algorithm.ts';
import { get, getMark, getU64, put, putMark } from './attributes.ts';
import { XFRMA } from './kernel/constants.ts';
import { xfrmAddressFilter, xfrmUsersaId } from './kernel/identity.ts';
import { xfrmEncapTmpl, xfrmUserOffload, xfrmUsersaInfo, xfrmUserspiInfo } from './kernel/state.ts';
import { decodeLifetime, decodeUsage, encodeLifetime } from './lifetime.ts';
import {
  encapsulations,
  extraFlags,
  modes,
  offloadFlags,
  protocols,
  saDirections,
  stateFlags,
} from './names.ts';
import { decodeReplay, encodeReplay } from './replay.ts';
import type {
  Encapsulation,
  Iptfs,
  Offload,
  SpiRequest,
  State,
  StateFilter,
  StateId,
  StateSpec,
} from './state.ts';

type Attributes = ReadonlyMap<number, Uint8Array>;
type Info = ValueOf<typeof xfrmUsersaInfo>;

/** Smallest SPI that is not reserved (RFC 4303 section 2.1). */
const FIRST_SPI = 0x100;

/** xfrm_usersa_info and attributes. @throws ValueError */
export function encodeState(spec: StateSpec): Uint8Array {
  const replay = encodeReplay(spec.replay);
  const flags =
    stateFlags.encode(spec.flags ?? [], 'flags') |
    stateFlags.encode(spec.replay?.esn ? ['esn'] : [], 'flags') |
    stateFlags.encode(spec.selector === undefined ? ['af-unspec'] : [], 'flags');
  const info: Info = {
    ...endpoints(spec, spec.spi),
    sel: spec.selector === undefined ? ANY_SELECTOR : encodeSelector(spec.selector),
    lft: encodeLifetime(spec.lifetime),
    replayWindow: replay.field,
    flags,
  };
  const extra = spec.extraFlags && extraFlags.encode(spec.extraFlags, 'extraFlags');
  const secrets = encodeAlgorithms(spec);
  const body = concat([
    xfrmUsersaInfo.encode(info),
    ...secrets,
    ...replay.attributes,
    ...putEncapsulation(spec.encapsulation),
    ...putMark(spec.mark),
    ...put(XFRMA.SET_MARK, 'u32', spec.outputMark?.value),
    ...put(XFRMA.SET_MARK_MASK, 'u32', spec.outputMark?.mask),
    ...put(XFRMA.IF_ID, 'u32', spec.ifId),
    ...put(XFRMA.SA_DIR, 'u8', direction(spec.direction)),
    ...put(XFRMA.SA_EXTRA_FLAGS, 'u32', extra),
    ...put(XFRMA.TFCPAD, 'u32', spec.tfcPad),
    ...putCareOf(spec),
    ...putOffload(spec.offload),
    ...put(XFRMA.MTIMER_THRESH, 'u32', spec.mappingThreshold),
    ...put(XFRMA.NAT_KEEPALIVE_INTERVAL, 'u32', spec.natKeepaliveInterval),
    ...put(XFRMA.SA_PCPU, 'u32', spec.cpu),
    ...putIptfs(spec.iptfs),
  ]);
  for (const secret of secrets) secret.fill(0);
  return body;
}

/** The part of xfrm_usersa_info that a state to install and an SPI to allocate share. */
function endpoints(spec: Omit<SpiRequest, 'min' | 'max'>, spi: number): Info {
  const source = parseAddress(spec.source, 'source');
  const destination = parseAddress(spec.destination, 'destination');
  if (source.family !== destination.family) {
    throw new ValueError('source', 'of the same family as destination');
  }
  return {
    sel: ANY_SELECTOR,
    id: {
      daddr: destination.bytes,
      spi,
      proto: protocols.encode(spec.protocol ?? 'esp', 'protocol'),
    },
    saddr: source.bytes,
    lft: encodeLifetime(),
    curlft: { bytes: 0n, packets: 0n, addTime: 0n, useTime: 0n },
    stats: { replayWindow: 0, replay: 0, integrityFailed: 0 },
    seq: spec.sequence ?? 0,
    reqid: spec.reqid ?? 0,
    family: destination.family,
    mode: modes.encode(spec.mode ?? 'transport', 'mode'),
    replayWindow: 0,
    flags: 0,
  };
}

function direction(value: StateSpec['direction']): number | undefined {
  return value && saDirections.encode(value, 'direction');
}

function putEncapsulation(encapsulation: Encapsulation | undefined): Uint8Array[] {
  if (encapsulation === undefined) return [];
  const { type, sourcePort, destinationPort, originalAddress } = encapsulation;
  const original = originalAddress && parseAddress(originalAddress, 'originalAddress').bytes;
  const raw = xfrmEncapTmpl.encode({
    type: encapsulations.encode(type, 'encapsulation.type'),
    sport: sourcePort,
    dport: destinationPort,
    oa: original || new Uint8Array(16),
  });
  return [attribute(XFRMA.ENCAP, raw)];
}

function putCareOf({ careOfAddress }: StateSpec): Uint8Array[] {
  if (careOfAddress === undefined) return [];
  return [attribute(XFRMA.COADDR, parseAddress(careOfAddress, 'careOfAddress').bytes)];
}

export function putOffload(offload: Offload | undefined): Uint8Array[] {
  if (offload === undefined) return [];
  const flags = offloadFlags.encode(offload.flags ?? [], 'offload.flags');
  const raw = xfrmUserOffload.encode({ ifindex: offload.interfaceIndex, flags });
  return [attribute(XFRMA.OFFLOAD_DEV, raw)];
}

export function getOffload(attributes: Attributes): Offload | undefined {
  const payload = attributes.get(XFRMA.OFFLOAD_DEV);
  if (payload === undefined) return undefined;
  const { ifindex, flags } = xfrmUserOffload.decode(payload);
  return { interfaceIndex: ifindex, flags: offloadFlags.decode(flags) };
}

function putIptfs(iptfs: Iptfs | undefined): Uint8Array[] {
  if (iptfs === undefined) return [];
  return [
    ...put(XFRMA.IPTFS_DROP_TIME, 'u32', iptfs.dropTime),
    ...put(XFRMA.IPTFS_REORDER_WINDOW, 'u16', iptfs.reorderWindow),
    ...(iptfs.dontFragment ? [attribute(XFRMA.IPTFS_DONT_FRAG, new Uint8Array())] : []),
    ...put(XFRMA.IPTFS_INIT_DELAY, 'u32', iptfs.initDelay),
    ...put(XFRMA.IPTFS_MAX_QSIZE, 'u32', iptfs.maxQueueSize),
    ...put(XFRMA.IPTFS_PKT_SIZE, 'u32', iptfs.packetSize),
  ];
}

/** xfrm_usersa_id and the mark. */
export function encodeStateId(id: StateId): Uint8Array {
  const destination = parseAddress(id.destination, 'destination');
  const raw = xfrmUsersaId.encode({
    daddr: destination.bytes,
    spi: id.spi,
    family: destination.family,
    proto: protocols.encode(id.protocol ?? 'esp', 'protocol'),
  });
  return concat([raw, ...putMark(id.mark)]);
}

export function encodeSpiRequest(request: SpiRequest): Uint8Array {
  const { min = FIRST_SPI, max = 0xffff_ffff } = request;
  if (min > max) throw new ValueError('min', 'at most max');
  return concat([
    xfrmUserspiInfo.encode({ info: endpoints(request, 0), min, max }),
    ...putMark(request.mark),
    ...put(XFRMA.IF_ID, 'u32', request.ifId),
    ...put(XFRMA.SA_DIR, 'u8', direction(request.direction)),
    ...put(XFRMA.SA_PCPU, 'u32', request.cpu),
  ]);
}

/** The attributes of a GETSA dump. @throws ValueError */
export function encodeFilter({ protocol, ends }: StateFilter): Uint8Array {
  const proto = protocol && protocols.encode(protocol, 'protocol');
  if (ends === undefined) return concat(put(XFRMA.PROTO, 'u8', proto));
  const { saddr, daddr, family, prefixlenS, prefixlenD } = encodeSelector(ends);
  const raw = xfrmAddressFilter.encode({
    saddr,
    daddr,
    family,
    splen: prefixlenS,
    dplen: prefixlenD,
  });
  return concat([attribute(XFRMA.ADDRESS_FILTER, raw), ...put(XFRMA.PROTO, 'u8', proto)]);
}

/**
 * Reads xfrm_usersa_info and attributes. Undefined if its protocol is none of IPsec (the routing
 * headers of Mobile IPv6 are states too) or its mode newer than this library.
 *
 * @throws MalformedError
 */
export function decodeState(body: Uint8Array, withKeys = false): State | undefined {
  const info = xfrmUsersaInfo.decode(body);
  return stateOf(info, decodeAttributes(body.subarray(xfrmUsersaInfo.size), XFRMA.PAD), withKeys);
}

/** @throws MalformedError */
export function stateOf(info: Info, attributes: Attributes, withKeys: boolean): State | undefined {
  const protocol = protocols.decode(info.id.proto);
  const mode = modes.decode(info.mode);
  if (protocol === undefined || mode === undefined) return undefined;
  const algorithms = decodeAlgorithms(attributes, withKeys);
  const flags = stateFlags.decode(info.flags);
  const lastUsed = getU64(attributes, XFRMA.LASTUSED);
  const raw = info.id;
  return {
    source: formatAddress(info.family, info.saddr),
    destination: formatAddress(info.family, raw.daddr),
    spi: raw.spi,
    protocol,
    mode,
    reqid: info.reqid,
    ...optional('selector', decodeSelector(info.sel)),
    lifetime: decodeLifetime(info.lft),
    usage: decodeUsage(info.curlft),
    drops: info.stats,
    replay: decodeReplay(info.replayWindow, flags.includes('esn'), attributes),
    flags,
    ...algorithms,
    larval: Object.keys(algorithms).length === 0,
    ...optional(
      'extraFlags',
      mapped(get(attributes, XFRMA.SA_EXTRA_FLAGS, 'u32'), extraFlags.decode),
    ),
    ...optional('encapsulation', getEncapsulation(info.family, attributes)),
    ...optional('mark', getMark(attributes)),
    ...optional('outputMark', getOutputMark(attributes)),
    ...optional('ifId', get(attributes, XFRMA.IF_ID, 'u32')),
    ...optional('direction', mapped(get(attributes, XFRMA.SA_DIR, 'u8'), saDirections.decode)),
    ...optional('tfcPad', get(attributes, XFRMA.TFCPAD, 'u32')),
    ...optional('careOfAddress', getCareOf(info.family, attributes)),
    ...optional('offload', getOffload(attributes)),
    ...optional('mappingThreshold', get(attributes, XFRMA.MTIMER_THRESH, 'u32')),
    ...optional('natKeepaliveInterval', get(attributes, XFRMA.NAT_KEEPALIVE_INTERVAL, 'u32')),
    ...optional('cpu', get(attributes, XFRMA.SA_PCPU, 'u32')),
    ...optional('iptfs', getIptfs(attributes)),
    ...(info.seq !== 0 && { sequence: info.seq }),
    ...(lastUsed !== undefined && lastUsed !== 0n && { lastUsedAt: Number(lastUsed) }),
  };
}

/** `{ [key]: value }`, or nothing to spread where there is no value. */
export function optional<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  const out: { [P in K]?: V } = {};
  if (value !== undefined) out[key] = value;
  return out;
}

function mapped<A, B>(value: A | undefined, map: (value: A) => B): B | undefined {
  return value === undefined ? undefined : map(value);
}

function getEncapsulation(family: number, attributes: Attributes): Encapsulation | undefined {
  const payload = attributes.get(XFRMA.ENCAP);
  if (payload === undefined) return undefined;
  const { type, sport, dport, oa } = xfrmEncapTmpl.decode(payload);
  const known = encapsulations.decode(type);
  if (known === undefined) throw new MalformedError(`encapsulation ${type}`);
  const original = oa.some((byte) => byte !== 0) ? formatAddress(family, oa) : undefined;
  return {
    type: known,
    sourcePort: sport,
    destinationPort: dport,
    ...optional('originalAddress', original),
  };
}

function getOutputMark(attributes: Attributes): State['outputMark'] {
  const value = get(attributes, XFRMA.SET_MARK, 'u32');
  if (value === undefined) return undefined;
  return { value, mask: get(attributes, XFRMA.SET_MARK_MASK, 'u32') ?? 0xffff_ffff };
}

function getCareOf(family: number, attributes: Attributes): string | undefined {
  const payload = attributes.get(XFRMA.COADDR);
  if (payload === undefined) return undefined;
  if (payload.length !== 16) throw new MalformedError('care-of address');
  return formatAddress(family, payload);
}

function getIptfs(attributes: Attributes): Iptfs | undefined {
  const found: Iptfs = {
    ...optional('dropTime', get(attributes, XFRMA.IPTFS_DROP_TIME, 'u32')),
    ...optional('reorderWindow', get(attributes, XFRMA.IPTFS_REORDER_WINDOW, 'u16')),
    ...(attributes.has(XFRMA.IPTFS_DONT_FRAG) && { dontFragment: true }),
    ...optional('initDelay', get(attributes, XFRMA.IPTFS_INIT_DELAY, 'u32')),
    ...optional('maxQueueSize', get(attributes, XFRMA.IPTFS_MAX_QSIZE, 'u32')),
    ...optional('packetSize', get(attributes, XFRMA.IPTFS_PKT_SIZE, 'u32')),
  };
  return Object.keys(found).length === 0 ? undefined : found;
}

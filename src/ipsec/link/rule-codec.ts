/** Bodies of the rtnetlink messages for rules, by which a packet finds its routing table. */
import { attribute, concat, decodeAttributes, decodeText } from '../netlink/framing.ts';
import { type Family, formatAddress, parsePrefix } from '../xfrm/address.ts';
import { get, put } from '../xfrm/attributes.ts';
import { AF_INET, AF_INET6 } from '../xfrm/kernel/constants.ts';
import { fixed } from './codec.ts';
import { FRA, fibRuleHdr, ruleActions } from './kernel.ts';

export interface Rule {
  readonly family: 'ipv4' | 'ipv6';
  /** CIDR; any if left out. */
  readonly source?: string | undefined;
  /** CIDR; any if left out. */
  readonly destination?: string | undefined;
  /** Name of the interface that the packet came in by; any if left out. */
  readonly inputInterface?: string | undefined;
  /** Lower numbers are asked first; the main table is at 32,766. */
  readonly priority: number;
  /** Look in the table, or refuse the packet. */
  readonly action: keyof typeof ruleActions;
  /** Which table to look in. At a rule that refuses it only tells whose the rule is. */
  readonly table?: number | undefined;
  /** Routes whose prefix has this length or less do not count; all do if left out. */
  readonly suppressPrefixLength?: number | undefined;
  /** Firewall mark that the packet must have; any if left out. {@link encodeRule} leaves it out. */
  readonly mark?: number | undefined;
  /** Who made it (RTPROT_*). */
  readonly protocol: number;
}

const actions: readonly (keyof typeof ruleActions)[] = ['lookup', 'unreachable'];

/** -1: what the kernel tells where nothing is suppressed. */
const NO_SUPPRESSION = 0xffff_ffff;

const NO_HEADER = { dstLength: 0, srcLength: 0, tos: 0, table: 0, action: 0, flags: 0 };

/** @throws ValueError if an end is no CIDR */
export function encodeRule(rule: Rule): Uint8Array {
  const family = rule.family === 'ipv4' ? AF_INET : AF_INET6;
  const size = family === AF_INET ? 4 : 16;
  const block = (field: 'source' | 'destination') => {
    const text = rule[field];
    return text === undefined ? undefined : parsePrefix(text, `rule.${field}`);
  };
  const [source, destination] = [block('source'), block('destination')];
  const lengths = { srcLength: source?.length ?? 0, dstLength: destination?.length ?? 0 };
  const head = { ...NO_HEADER, ...lengths, family, action: ruleActions[rule.action] };
  const name = rule.inputInterface;
  return concat([
    fibRuleHdr.encode(head),
    ...(source ? [attribute(FRA.SRC, source.bytes.subarray(0, size))] : []),
    ...(destination ? [attribute(FRA.DST, destination.bytes.subarray(0, size))] : []),
    ...(name ? [attribute(FRA.IIFNAME, Buffer.from(`${name}\0`))] : []),
    ...put(FRA.PRIORITY, 'u32', rule.priority),
    ...put(FRA.TABLE, 'u32', rule.table),
    ...put(FRA.SUPPRESS_PREFIXLEN, 'u32', rule.suppressPrefixLength),
    ...put(FRA.PROTOCOL, 'u8', rule.protocol),
  ]);
}

export const encodeRuleDump = (family: Family): Uint8Array =>
  fibRuleHdr.encode({ ...NO_HEADER, family });

/** Undefined if it does something else than {@link encodeRule} can say. @throws MalformedError */
export function decodeRule(body: Uint8Array): Rule | undefined {
  const head = fibRuleHdr.decode(body);
  const { family, action } = head;
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const found = actions.find((each) => ruleActions[each] === action);
  if (found === undefined) return undefined;
  const attributes = decodeAttributes(body.subarray(fibRuleHdr.size));
  const block = (type: number, length: number): string | undefined => {
    const raw = attributes.get(type);
    return raw && `${formatAddress(family, fixed(family, raw))}/${length}`;
  };
  const name = attributes.get(FRA.IIFNAME);
  const suppress = get(attributes, FRA.SUPPRESS_PREFIXLEN, 'u32');
  return {
    family: family === AF_INET ? 'ipv4' : 'ipv6',
    source: block(FRA.SRC, head.srcLength),
    destination: block(FRA.DST, head.dstLength),
    inputInterface: name && decodeText(name),
    priority: get(attributes, FRA.PRIORITY, 'u32') ?? 0,
    action: found,
    table: (get(attributes, FRA.TABLE, 'u32') ?? head.table) || undefined,
    suppressPrefixLength: suppress === NO_SUPPRESSION ? undefined : suppress,
    mark: get(attributes, FRA.FWMARK, 'u32') || undefined,
    protocol: get(attributes, FRA.PROTOCOL, 'u8') ?? 0,
  };
}

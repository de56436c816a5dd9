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
  /** Name of the interface that the packet came in by; any if left out. */
  readonly inputInterface?: string | undefined;
  /** Lower numbers are asked first; the main table is at 32,766. */
  readonly priority: number;
  /** Which table to look in; without it, packets are refused. */
  readonly table?: number | undefined;
  /** Who made it (RTPROT_*). */
  readonly protocol: number;
}

const NO_HEADER = { dstLength: 0, srcLength: 0, tos: 0, table: 0, action: 0, flags: 0 };

/** @throws ValueError if the source is no CIDR */
export function encodeRule(rule: Rule): Uint8Array {
  const family = rule.family === 'ipv4' ? AF_INET : AF_INET6;
  const source = rule.source === undefined ? undefined : parsePrefix(rule.source, 'rule.source');
  const action = rule.table === undefined ? ruleActions.unreachable : ruleActions.lookup;
  const head = { ...NO_HEADER, family, srcLength: source?.length ?? 0, action };
  const name = rule.inputInterface;
  const size = family === AF_INET ? 4 : 16;
  return concat([
    fibRuleHdr.encode(head),
    ...(source ? [attribute(FRA.SRC, source.bytes.subarray(0, size))] : []),
    ...(name ? [attribute(FRA.IIFNAME, Buffer.from(`${name}\0`))] : []),
    ...put(FRA.PRIORITY, 'u32', rule.priority),
    ...put(FRA.TABLE, 'u32', rule.table),
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
  if (action !== ruleActions.lookup && action !== ruleActions.unreachable) return undefined;
  const attributes = decodeAttributes(body.subarray(fibRuleHdr.size));
  const source = attributes.get(FRA.SRC);
  const name = attributes.get(FRA.IIFNAME);
  return {
    family: family === AF_INET ? 'ipv4' : 'ipv6',
    source: source && `${formatAddress(family, fixed(family, source))}/${head.srcLength}`,
    inputInterface: name && decodeText(name),
    priority: get(attributes, FRA.PRIORITY, 'u32') ?? 0,
    table:
      action === ruleActions.lookup ? (get(attributes, FRA.TABLE, 'u32') ?? head.table) : undefined,
    protocol: get(attributes, FRA.PROTOCOL, 'u8') ?? 0,
  };
}

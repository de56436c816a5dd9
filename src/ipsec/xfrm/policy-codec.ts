/** Bodies of NEWPOLICY, UPDPOLICY, DELPOLICY, GETPOLICY. */
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
import { get, getMark, put, putMark } from './attributes.ts';
import { AF_UNSPEC, XFRMA } from './kernel/constants.ts';
import { xfrmUserpolicyId } from './kernel/identity.ts';
import { xfrmUserpolicyInfo, xfrmUserpolicyType, xfrmUserTmpl } from './kernel/policy.ts';
import { decodeLifetime, decodeUsage, encodeLifetime } from './lifetime.ts';
import { actions, directions, modes, policyFlags, protocols, shares } from './names.ts';
import type { Policy, PolicyId, PolicyIndex, PolicySpec, PolicyType, Template } from './policy.ts';
import { getOffload, optional, putOffload } from './state-codec.ts';

type Attributes = ReadonlyMap<number, Uint8Array>;

/** XFRM_MAX_DEPTH */
const MAX_TEMPLATES = 6;
const TYPE_SUB = 1;
const ALL_ALGORITHMS = 0xffff_ffff;

/** xfrm_userpolicy_info and attributes. @throws ValueError */
export function encodePolicy(spec: PolicySpec): Uint8Array {
  const templates = spec.templates ?? [];
  if (templates.length > MAX_TEMPLATES) {
    throw new ValueError('templates', `at most ${MAX_TEMPLATES} templates`);
  }
  const sel = encodeSelector(spec.selector);
  const info = xfrmUserpolicyInfo.encode({
    sel,
    lft: encodeLifetime(spec.lifetime),
    curlft: { bytes: 0n, packets: 0n, addTime: 0n, useTime: 0n },
    priority: spec.priority ?? 0,
    index: spec.index ?? 0,
    dir: directions.encode(spec.direction, 'direction'),
    action: actions.encode(spec.action ?? 'allow', 'action'),
    flags: policyFlags.encode(spec.flags ?? [], 'flags'),
    share: shares.encode(spec.share ?? 'any', 'share'),
  });
  const raw = templates.map((template) => encodeTemplate(template, sel.family));
  return concat([
    info,
    ...(raw.length > 0 ? [attribute(XFRMA.TMPL, concat(raw))] : []),
    ...common(spec),
    ...putOffload(spec.offload),
  ]);
}

function common({ type, mark, ifId }: Omit<PolicyIndex, 'direction' | 'index'>): Uint8Array[] {
  const kind = type === 'sub' ? xfrmUserpolicyType.encode({ type: TYPE_SUB }) : undefined;
  return [
    ...(kind ? [attribute(XFRMA.POLICY_TYPE, kind)] : []),
    ...putMark(mark),
    ...put(XFRMA.IF_ID, 'u32', ifId),
  ];
}

export const encodePolicyFlush = (type: PolicyType | undefined): Uint8Array =>
  concat(common({ type }));

function encodeTemplate(template: Template, selectorFamily: number): Uint8Array {
  const source = template.source && parseAddress(template.source, 'template.source');
  const destination =
    template.destination && parseAddress(template.destination, 'template.destination');
  if (source && destination && source.family !== destination.family) {
    throw new ValueError('template.source', 'of the same family as template.destination');
  }
  const any = { family: selectorFamily, bytes: new Uint8Array(16) };
  const { family } = source || destination || any;
  return xfrmUserTmpl.encode({
    id: {
      daddr: (destination || any).bytes,
      spi: template.spi ?? 0,
      proto: protocols.encode(template.protocol ?? 'esp', 'template.protocol'),
    },
    family,
    saddr: (source || any).bytes,
    reqid: template.reqid ?? 0,
    mode: modes.encode(template.mode ?? 'transport', 'template.mode'),
    share: shares.encode(template.share ?? 'any', 'template.share'),
    optional: template.optional ? 1 : 0,
    aalgos: ALL_ALGORITHMS,
    ealgos: ALL_ALGORITHMS,
    calgos: ALL_ALGORITHMS,
  });
}

/** xfrm_userpolicy_id and what else is part of a policy's name. */
export function encodePolicyId(id: PolicyId | PolicyIndex): Uint8Array {
  const raw = xfrmUserpolicyId.encode({
    sel: 'selector' in id ? encodeSelector(id.selector) : ANY_SELECTOR,
    index: 'index' in id ? id.index : 0,
    dir: directions.encode(id.direction, 'direction'),
  });
  return concat([raw, ...common(id)]);
}

/**
 * Reads xfrm_userpolicy_info and attributes. Undefined for the policy of a socket, which the
 * kernel lists too, with directions of its own, and for one whose templates are not of IPsec.
 *
 * @throws MalformedError
 */
export function decodePolicy(body: Uint8Array): Policy | undefined {
  const info = xfrmUserpolicyInfo.decode(body);
  return policyOf(info, decodeAttributes(body.subarray(xfrmUserpolicyInfo.size), XFRMA.PAD));
}

/** @throws MalformedError */
export function policyOf(
  info: ValueOf<typeof xfrmUserpolicyInfo>,
  attributes: Attributes,
): Policy | undefined {
  const direction = directions.decode(info.dir);
  if (direction === undefined) return undefined;
  const templates = decodeTemplates(attributes.get(XFRMA.TMPL));
  if (templates === undefined) return undefined;
  const selector = decodeSelector(info.sel);
  const action = actions.decode(info.action);
  const share = shares.decode(info.share);
  if (selector === undefined || action === undefined || share === undefined) {
    throw new MalformedError('policy without family, or with an unknown action or share');
  }
  return {
    direction,
    selector,
    action,
    priority: info.priority,
    index: info.index,
    flags: policyFlags.decode(info.flags),
    ...(share !== 'any' && { share }),
    lifetime: decodeLifetime(info.lft),
    usage: decodeUsage(info.curlft),
    templates,
    ...optional('mark', getMark(attributes)),
    ...optional('ifId', get(attributes, XFRMA.IF_ID, 'u32')),
    ...optional('type', getType(attributes)),
    ...optional('offload', getOffload(attributes)),
  };
}

function getType(attributes: Attributes): PolicyType | undefined {
  const payload = attributes.get(XFRMA.POLICY_TYPE);
  if (payload === undefined) return undefined;
  return xfrmUserpolicyType.decode(payload).type === TYPE_SUB ? 'sub' : 'main';
}

/** Undefined if one is of another protocol, or of a newer mode. @throws MalformedError */
export function decodeTemplates(payload: Uint8Array | undefined): Template[] | undefined {
  if (payload === undefined) return [];
  const count = payload.length / xfrmUserTmpl.size;
  if (!Number.isInteger(count) || count > MAX_TEMPLATES) {
    throw new MalformedError(`templates of ${payload.length} bytes`);
  }
  const templates: Template[] = [];
  for (let at = 0; at < payload.length; at += xfrmUserTmpl.size) {
    const template = templateOf(xfrmUserTmpl.decode(payload.subarray(at)));
    if (template === undefined) return undefined;
    templates.push(template);
  }
  return templates;
}

function templateOf(raw: ValueOf<typeof xfrmUserTmpl>): Template | undefined {
  const protocol = protocols.decode(raw.id.proto);
  const mode = modes.decode(raw.mode);
  const share = shares.decode(raw.share);
  if (protocol === undefined || mode === undefined) return undefined;
  if (share === undefined) throw new MalformedError(`share ${raw.share} of a template`);
  const isSet = (address: Uint8Array): boolean =>
    raw.family !== AF_UNSPEC && address.some((byte) => byte !== 0);
  return {
    ...(isSet(raw.saddr) && { source: formatAddress(raw.family, raw.saddr) }),
    ...(isSet(raw.id.daddr) && { destination: formatAddress(raw.family, raw.id.daddr) }),
    protocol,
    mode,
    reqid: raw.reqid,
    ...(raw.id.spi !== 0 && { spi: raw.id.spi }),
    ...(share !== 'any' && { share }),
    ...(raw.optional !== 0 && { optional: true }),
  };
}

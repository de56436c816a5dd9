/** From the kernel's messages to {@link XfrmEvent}s. */
import { MalformedError } from '../netlink/errors.ts';
import { decodeAttributes, type Message } from '../netlink/framing.ts';
import { decodeSelector, formatAddress } from './address.ts';
import { decodeAsync } from './async.ts';
import { get, getMark } from './attributes.ts';
import type { AcquireEvent, MappingEvent, PolicyEvent, StateEvent, XfrmEvent } from './event.ts';
import { XFRM_MSG, XFRMA } from './kernel/constants.ts';
import {
  xfrmUserAcquire,
  xfrmUserExpire,
  xfrmUserMapping,
  xfrmUserPolexpire,
  xfrmUserReport,
} from './kernel/event.ts';
import { xfrmUserpolicyId, xfrmUsersaId } from './kernel/identity.ts';
import { xfrmUserpolicyInfo } from './kernel/policy.ts';
import { xfrmUsersaInfo } from './kernel/state.ts';
import { decodeMigrate } from './migrate.ts';
import { protocols } from './names.ts';
import type { Policy } from './policy.ts';
import { decodePolicy, decodeTemplates, policyOf } from './policy-codec.ts';
import type { State } from './state.ts';
import { decodeState, optional, stateOf } from './state-codec.ts';

/**
 * Undefined for messages of no interest: of newer kernels, of socket policies, of other protocols.
 *
 * @throws MalformedError
 */
export function decodeEvent({ type, body }: Message): XfrmEvent | undefined {
  switch (type) {
    case XFRM_MSG.ACQUIRE:
      return decodeAcquire(body);
    case XFRM_MSG.EXPIRE:
      return decodeExpire(body);
    case XFRM_MSG.POLEXPIRE:
      return decodePolicyExpire(body);
    case XFRM_MSG.NEWSA:
      return about('state-new', decodeState(body));
    case XFRM_MSG.UPDSA:
      return about('state-update', decodeState(body));
    case XFRM_MSG.DELSA:
      return about('state-delete', decodeDeletedState(body));
    case XFRM_MSG.NEWPOLICY:
      return concerning('policy-new', decodePolicy(body));
    case XFRM_MSG.UPDPOLICY:
      return concerning('policy-update', decodePolicy(body));
    case XFRM_MSG.DELPOLICY:
      return concerning('policy-delete', decodeDeletedPolicy(body));
    case XFRM_MSG.FLUSHSA:
      return { type: 'state-flush' };
    case XFRM_MSG.FLUSHPOLICY:
      return { type: 'policy-flush' };
    case XFRM_MSG.MAPPING:
      return decodeMapping(body);
    case XFRM_MSG.MIGRATE:
      return decodeMigrate(body);
    case XFRM_MSG.NEWAE:
      return decodeAsync(body);
    case XFRM_MSG.REPORT:
      return {
        type: 'report',
        ...optional('selector', decodeSelector(xfrmUserReport.decode(body).sel)),
      };
    default:
      return undefined;
  }
}

function about(type: StateEvent['type'], state: State | undefined): XfrmEvent | undefined {
  return state && { type, state };
}

function concerning(type: PolicyEvent['type'], policy: Policy | undefined): XfrmEvent | undefined {
  return policy && { type, policy };
}

function decodeAcquire(body: Uint8Array): AcquireEvent | undefined {
  const raw = xfrmUserAcquire.decode(body);
  const attributes = decodeAttributes(body.subarray(xfrmUserAcquire.size), XFRMA.PAD);
  const policy = policyOf(raw.policy, attributes);
  const templates = decodeTemplates(attributes.get(XFRMA.TMPL));
  const protocol = protocols.decode(raw.id.proto);
  const selector = decodeSelector(raw.sel);
  if (policy === undefined || templates === undefined || protocol === undefined) return undefined;
  if (selector === undefined) throw new MalformedError('acquire without family');
  // The message does not say the family of the ends; the template's addresses do.
  const [template] = templates;
  const ipv6 = (template?.destination ?? selector.destination).includes(':');
  const family = ipv6 ? 10 : 2;
  return {
    type: 'acquire',
    source: formatAddress(family, raw.saddr),
    destination: formatAddress(family, raw.id.daddr),
    protocol,
    selector,
    policy,
    templates,
    sequence: raw.seq,
    ...optional('mark', getMark(attributes)),
    ...optional('ifId', get(attributes, XFRMA.IF_ID, 'u32')),
    ...optional('cpu', get(attributes, XFRMA.SA_PCPU, 'u32')),
  };
}

function decodeExpire(body: Uint8Array): XfrmEvent | undefined {
  const { state: info, hard } = xfrmUserExpire.decode(body);
  const attributes = decodeAttributes(body.subarray(xfrmUserExpire.size), XFRMA.PAD);
  const state = stateOf(info, attributes, false);
  return state && { type: 'expire', hard: hard !== 0, state };
}

function decodePolicyExpire(body: Uint8Array): XfrmEvent | undefined {
  const { pol, hard } = xfrmUserPolexpire.decode(body);
  const attributes = decodeAttributes(body.subarray(xfrmUserPolexpire.size), XFRMA.PAD);
  const policy = policyOf(pol, attributes);
  return policy && { type: 'policy-expire', hard: hard !== 0, policy };
}

/** xfrm_usersa_id, then the whole state in XFRMA_SA beside its own attributes. */
function decodeDeletedState(body: Uint8Array): State | undefined {
  const attributes = decodeAttributes(body.subarray(xfrmUsersaId.size), XFRMA.PAD);
  const info = attributes.get(XFRMA.SA);
  if (info === undefined) throw new MalformedError('deleted state without XFRMA_SA');
  return stateOf(xfrmUsersaInfo.decode(info), attributes, false);
}

/** xfrm_userpolicy_id, then the whole policy in XFRMA_POLICY beside its own attributes. */
function decodeDeletedPolicy(body: Uint8Array): Policy | undefined {
  const attributes = decodeAttributes(body.subarray(xfrmUserpolicyId.size), XFRMA.PAD);
  const info = attributes.get(XFRMA.POLICY);
  if (info === undefined) throw new MalformedError('deleted policy without XFRMA_POLICY');
  return policyOf(xfrmUserpolicyInfo.decode(info), attributes);
}

function decodeMapping(body: Uint8Array): MappingEvent | undefined {
  const raw = xfrmUserMapping.decode(body);
  const protocol = protocols.decode(raw.id.proto);
  if (protocol === undefined) return undefined;
  const { family } = raw.id;
  return {
    type: 'mapping',
    destination: formatAddress(family, raw.id.daddr),
    spi: raw.id.spi,
    protocol,
    reqid: raw.reqid,
    oldSource: formatAddress(family, raw.oldSaddr),
    newSource: formatAddress(family, raw.newSaddr),
    oldSourcePort: raw.oldSport,
    newSourcePort: raw.newSport,
  };
}

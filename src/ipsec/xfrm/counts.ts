/** Bodies of the messages that count, and of those that set defaults and thresholds. */
import { MalformedError, ValueError } from '../netlink/errors.ts';
import { attribute, concat, decodeAttributes } from '../netlink/framing.ts';
import { struct, u32 } from '../netlink/struct.ts';
import { get } from './attributes.ts';
import { XFRMA_SAD, XFRMA_SPD } from './kernel/constants.ts';
import {
  xfrmUserpolicyDefault,
  xfrmuSpdhinfo,
  xfrmuSpdhthresh,
  xfrmuSpdinfo,
} from './kernel/policy.ts';
import { xfrmuSadhinfo } from './kernel/state.ts';

/** GETSADINFO, NEWSADINFO, GETSPDINFO and NEWSPDINFO begin with flags that nobody uses. */
const head = struct('flags', 4, { flags: [0, u32] });

export const emptyHead = (): Uint8Array => head.encode({ flags: 0 });

export interface StateCounts {
  readonly states: number;
  readonly hashBuckets: number;
  readonly maxHashBuckets: number;
}

/** @throws MalformedError */
export function decodeStateCounts(body: Uint8Array): StateCounts {
  const attributes = decodeAttributes(body.subarray(head.size));
  const hash = attributes.get(XFRMA_SAD.HINFO);
  const states = get(attributes, XFRMA_SAD.CNT, 'u32');
  if (hash === undefined || states === undefined) throw new MalformedError('counts of states');
  const { buckets, maxBuckets } = xfrmuSadhinfo.decode(hash);
  return { states, hashBuckets: buckets, maxHashBuckets: maxBuckets };
}

/** Prefix lengths from which on policies are found by hash, not by walking a list. */
export interface HashThreshold {
  readonly local: number;
  readonly remote: number;
}

export interface PolicyCounts {
  readonly in: number;
  readonly out: number;
  readonly fwd: number;
  readonly socketIn: number;
  readonly socketOut: number;
  readonly socketFwd: number;
  readonly hashBuckets: number;
  readonly maxHashBuckets: number;
  readonly ipv4Threshold: HashThreshold;
  readonly ipv6Threshold: HashThreshold;
}

/** @throws MalformedError */
export function decodePolicyCounts(body: Uint8Array): PolicyCounts {
  const attributes = decodeAttributes(body.subarray(head.size));
  const need = (type: number): Uint8Array => {
    const payload = attributes.get(type);
    if (payload === undefined) throw new MalformedError('counts of policies');
    return payload;
  };
  const { buckets, maxBuckets } = xfrmuSpdhinfo.decode(need(XFRMA_SPD.HINFO));
  const threshold = (type: number): HashThreshold => {
    const { lbits, rbits } = xfrmuSpdhthresh.decode(need(type));
    return { local: lbits, remote: rbits };
  };
  return {
    ...xfrmuSpdinfo.decode(need(XFRMA_SPD.INFO)),
    hashBuckets: buckets,
    maxHashBuckets: maxBuckets,
    ipv4Threshold: threshold(XFRMA_SPD.IPV4_HTHRESH),
    ipv6Threshold: threshold(XFRMA_SPD.IPV6_HTHRESH),
  };
}

export interface HashThresholds {
  readonly ipv4?: HashThreshold;
  readonly ipv6?: HashThreshold;
}

/** @throws ValueError if a threshold is over the length of an address. */
export function encodeHashThresholds({ ipv4, ipv6 }: HashThresholds): Uint8Array {
  return concat([
    emptyHead(),
    ...threshold(XFRMA_SPD.IPV4_HTHRESH, ipv4, 32),
    ...threshold(XFRMA_SPD.IPV6_HTHRESH, ipv6, 128),
  ]);
}

function threshold(type: number, value: HashThreshold | undefined, bits: number): Uint8Array[] {
  if (value === undefined) return [];
  if (value.local > bits || value.remote > bits)
    throw new ValueError('threshold', `at most ${bits}`);
  return [attribute(type, xfrmuSpdhthresh.encode({ lbits: value.local, rbits: value.remote }))];
}

export type DefaultAction = 'block' | 'accept';

/** What happens to packets that no policy matches. */
export interface PolicyDefaults {
  readonly in: DefaultAction;
  readonly fwd: DefaultAction;
  readonly out: DefaultAction;
}

const BLOCK = 1;
const ACCEPT = 2;

/** Left out: unchanged. */
export function encodeDefaults(defaults: Partial<PolicyDefaults>): Uint8Array {
  const number = (action: DefaultAction | undefined): number =>
    action === undefined ? 0 : action === 'block' ? BLOCK : ACCEPT;
  return xfrmUserpolicyDefault.encode({
    in: number(defaults.in),
    fwd: number(defaults.fwd),
    out: number(defaults.out),
  });
}

/** @throws MalformedError */
export function decodeDefaults(body: Uint8Array): PolicyDefaults {
  const raw = xfrmUserpolicyDefault.decode(body);
  const action = (value: number): DefaultAction => (value === BLOCK ? 'block' : 'accept');
  return { in: action(raw.in), fwd: action(raw.fwd), out: action(raw.out) };
}

/** Names for the kernel's numbers, both ways. A number without a name is shown as it is. */
import { ValueError } from '../netlink/errors.ts';
import { IPPROTO_AH, IPPROTO_COMP, IPPROTO_ESP } from './kernel/constants.ts';

/** A table of names with the two directions. */
export interface Names<N extends string> {
  encode(name: N, field: string): number;
  decode(value: number): N | undefined;
}

function names<const T extends Readonly<Record<string, number>>>(
  table: T,
): Names<keyof T & string> {
  const byName = new Map(Object.entries(table));
  const keys: (keyof T & string)[] = Object.keys(table);
  return {
    encode(name, field) {
      const value = byName.get(name);
      if (value === undefined) throw new ValueError(field, `one of ${keys.join(', ')}`);
      return value;
    },
    decode: (value) => keys.find((key) => table[key] === value),
  };
}

export const protocols = names({ esp: IPPROTO_ESP, ah: IPPROTO_AH, comp: IPPROTO_COMP });
export type Protocol = 'esp' | 'ah' | 'comp';

/** XFRM_MODE_* */
export const modes = names({
  transport: 0,
  tunnel: 1,
  ro: 2,
  in_trigger: 3,
  beet: 4,
  iptfs: 5,
});
export type Mode = 'transport' | 'tunnel' | 'ro' | 'in_trigger' | 'beet' | 'iptfs';

/** XFRM_POLICY_IN, OUT, FWD */
export const directions = names({ in: 0, out: 1, fwd: 2 });
export type PolicyDirection = 'in' | 'out' | 'fwd';

/** XFRM_POLICY_ALLOW, BLOCK */
export const actions = names({ allow: 0, block: 1 });
export type PolicyAction = 'allow' | 'block';

/** XFRM_SHARE_* */
export const shares = names({ any: 0, session: 1, user: 2, unique: 3 });
export type Share = 'any' | 'session' | 'user' | 'unique';

/** XFRM_SA_DIR_* */
export const saDirections = names({ in: 1, out: 2 });
export type StateDirection = 'in' | 'out';

/** UDP_ENCAP_ESPINUDP_NON_IKE (kernels before 6.8), UDP_ENCAP_ESPINUDP, TCP_ENCAP_ESPINTCP */
export const encapsulations = names({ 'espinudp-nonike': 1, espinudp: 2, espintcp: 7 });
export type EncapsulationType = 'espinudp-nonike' | 'espinudp' | 'espintcp';

/** A set of named bits as a list of names. */
export interface Flags<N extends string> {
  encode(set: readonly N[], field: string): number;
  decode(value: number): N[];
}

function flags<const T extends Readonly<Record<string, number>>>(
  table: T,
): Flags<keyof T & string> {
  const bits = names(table);
  const keys: (keyof T & string)[] = Object.keys(table);
  return {
    encode: (set, field) => set.reduce((sum, name) => sum | bits.encode(name, field), 0),
    decode: (value) => keys.filter((key) => (value & (table[key] ?? 0)) !== 0),
  };
}

/** XFRM_STATE_*. `esn` and `af-unspec` follow from other fields of a state and are set for you. */
export const stateFlags = flags({
  noecn: 1,
  'decap-dscp': 2,
  nopmtudisc: 4,
  wildrecv: 8,
  icmp: 16,
  'af-unspec': 32,
  align4: 64,
  esn: 128,
});
export type StateFlag =
  | 'noecn'
  | 'decap-dscp'
  | 'nopmtudisc'
  | 'wildrecv'
  | 'icmp'
  | 'af-unspec'
  | 'align4'
  | 'esn';

/** XFRM_SA_XFLAG_* */
export const extraFlags = flags({ 'dont-encap-dscp': 1, 'oseq-may-wrap': 2 });
export type ExtraFlag = 'dont-encap-dscp' | 'oseq-may-wrap';

/** XFRM_POLICY_LOCALOK, ICMP, CPU_ACQUIRE */
export const policyFlags = flags({ localok: 1, icmp: 2, 'cpu-acquire': 4 });
export type PolicyFlag = 'localok' | 'icmp' | 'cpu-acquire';

/** XFRM_OFFLOAD_* */
export const offloadFlags = flags({ ipv6: 1, inbound: 2, packet: 4 });
export type OffloadFlag = 'ipv6' | 'inbound' | 'packet';

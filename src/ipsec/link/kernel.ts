/** Structures and numbers of linux/rtnetlink.h, if_link.h and if_addr.h. */
import { i32, struct, u8, u16, u32 } from '../netlink/struct.ts';

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
} as const;

export const RTNLGRP = {
  LINK: 1,
  IPV4_IFADDR: 5,
  IPV4_ROUTE: 7,
  IPV4_RULE: 8,
  IPV6_IFADDR: 9,
  IPV6_ROUTE: 11,
  IPV6_RULE: 19,
} as const;

/*
 * struct ifinfomsg {
 *         unsigned char   ifi_family;
 *         unsigned char   __ifi_pad;
 *         unsigned short  ifi_type;
 *         int             ifi_index;
 *         unsigned        ifi_flags;
 *         unsigned        ifi_change;
 * };
 */
export const ifinfomsg = struct('ifinfomsg', 16, {
  family: [0, u8],
  type: [2, u16],
  index: [4, i32],
  flags: [8, u32],
  change: [12, u32],
});
export const IFF_UP = 1;
export const IFLA = {
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  LINKINFO: 18,
  AF_SPEC: 26,
  GROUP: 27,
  /** Fills up to 8 bytes before 64-bit values: more than once, where there are several. */
  PAD: 42,
} as const;
export const IFLA_INFO = { KIND: 1, DATA: 2 } as const;
export const IFLA_XFRM = { LINK: 1, IF_ID: 2 } as const;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const IN6_ADDR_GEN_MODE_NONE = 1;

/*
 * struct ifaddrmsg {
 *         __u8    ifa_family;
 *         __u8    ifa_prefixlen;
 *         __u8    ifa_flags;
 *         __u8    ifa_scope;
 *         __u32   ifa_index;
 * };
 */
export const ifaddrmsg = struct('ifaddrmsg', 8, {
  family: [0, u8],
  prefixLength: [1, u8],
  flags: [2, u8],
  scope: [3, u8],
  index: [4, u32],
});
export const IFA = { ADDRESS: 1, LOCAL: 2, FLAGS: 8 } as const;
/** No duplicate address detection: the address is usable at once. */
export const IFA_F_NODAD = 0x02;
export const IFA_F_DADFAILED = 0x08;
export const IFA_F_DEPRECATED = 0x20;
export const IFA_F_TENTATIVE = 0x40;

/*
 * struct rtmsg {
 *         unsigned char   rtm_family;
 *         unsigned char   rtm_dst_len;
 *         unsigned char   rtm_src_len;
 *         unsigned char   rtm_tos;
 *         unsigned char   rtm_table;
 *         unsigned char   rtm_protocol;
 *         unsigned char   rtm_scope;
 *         unsigned char   rtm_type;
 *         unsigned        rtm_flags;
 * };
 */
export const rtmsg = struct('rtmsg', 12, {
  family: [0, u8],
  dstLength: [1, u8],
  srcLength: [2, u8],
  tos: [3, u8],
  table: [4, u8],
  protocol: [5, u8],
  scope: [6, u8],
  type: [7, u8],
  flags: [8, u32],
});
export const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, PREFSRC: 7, TABLE: 15 } as const;
/** The number is in RTA.TABLE, which holds larger ones. */
export const RT_TABLE_UNSPEC = 0;
export const RT_TABLE_MAIN = 254;
export const RT_TABLE_LOCAL = 255;
export const RT_SCOPE_UNIVERSE = 0;
export const RT_SCOPE_LINK = 253;
/** RTN_* */
export const routeTypes = { unicast: 1, blackhole: 6, unreachable: 7, prohibit: 8 } as const;

/*
 * struct fib_rule_hdr {            // linux/fib_rules.h
 *         __u8            family;
 *         __u8            dst_len;
 *         __u8            src_len;
 *         __u8            tos;
 *         __u8            table;
 *         __u8            res1;
 *         __u8            res2;
 *         __u8            action;
 *         __u32           flags;
 * };
 */
export const fibRuleHdr = struct('fib_rule_hdr', 12, {
  family: [0, u8],
  dstLength: [1, u8],
  srcLength: [2, u8],
  tos: [3, u8],
  table: [4, u8],
  action: [7, u8],
  flags: [8, u32],
});
export const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  PROTOCOL: 21,
} as const;
/** FR_ACT_* */
export const ruleActions = { lookup: 1, unreachable: 7 } as const;

/** Structures that say which state or policy is meant. */
import { be16, be32, bytes, i32, struct, u8, u16, u32 } from '../../netlink/struct.ts';

/* typedef union { __be32 a4; __be32 a6[4]; struct in6_addr in6; } xfrm_address_t;   an IPv4 address is the first 4 bytes */
export const xfrmAddress = bytes(16);

/*
 * struct xfrm_id {
 *         xfrm_address_t  daddr;
 *         __be32          spi;
 *         __u8            proto;
 * };
 */
export const xfrmId = struct('xfrm_id', 24, {
  daddr: [0, xfrmAddress],
  spi: [16, be32],
  proto: [20, u8],
});

/*
 * struct xfrm_selector {
 *         xfrm_address_t  daddr;
 *         xfrm_address_t  saddr;
 *         __be16          dport;
 *         __be16          dport_mask;
 *         __be16          sport;
 *         __be16          sport_mask;
 *         __u16           family;
 *         __u8            prefixlen_d;
 *         __u8            prefixlen_s;
 *         __u8            proto;
 *         int             ifindex;
 *         __kernel_uid32_t user;
 * };
 */
export const xfrmSelector = struct('xfrm_selector', 56, {
  daddr: [0, xfrmAddress],
  saddr: [16, xfrmAddress],
  dport: [32, be16],
  dportMask: [34, be16],
  sport: [36, be16],
  sportMask: [38, be16],
  family: [40, u16],
  prefixlenD: [42, u8],
  prefixlenS: [43, u8],
  proto: [44, u8],
  ifindex: [48, i32],
  user: [52, u32],
});

/*
 * struct xfrm_usersa_id {
 *         xfrm_address_t  daddr;
 *         __be32          spi;
 *         __u16           family;
 *         __u8            proto;
 * };
 */
export const xfrmUsersaId = struct('xfrm_usersa_id', 24, {
  daddr: [0, xfrmAddress],
  spi: [16, be32],
  family: [20, u16],
  proto: [22, u8],
});

/*
 * struct xfrm_userpolicy_id {
 *         struct xfrm_selector    sel;
 *         __u32                   index;
 *         __u8                    dir;
 * };
 */
export const xfrmUserpolicyId = struct('xfrm_userpolicy_id', 64, {
  sel: [0, xfrmSelector],
  index: [56, u32],
  dir: [60, u8],
});

/* struct xfrm_mark { __u32 v; __u32 m; };   value and mask */
export const xfrmMark = struct('xfrm_mark', 8, { value: [0, u32], mask: [4, u32] });

/*
 * struct xfrm_address_filter {
 *         xfrm_address_t  saddr;
 *         xfrm_address_t  daddr;
 *         __u16           family;
 *         __u8            splen;
 *         __u8            dplen;
 * };
 */
export const xfrmAddressFilter = struct('xfrm_address_filter', 36, {
  saddr: [0, xfrmAddress],
  daddr: [16, xfrmAddress],
  family: [32, u16],
  splen: [34, u8],
  dplen: [35, u8],
});

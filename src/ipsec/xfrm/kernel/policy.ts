/** Structures of the security policy database. */
import { struct, u8, u16, u32 } from '../../netlink/struct.ts';
import { xfrmAddress, xfrmId, xfrmSelector } from './identity.ts';
import { xfrmLifetimeCfg, xfrmLifetimeCur } from './state.ts';

/*
 * struct xfrm_userpolicy_info {
 *         struct xfrm_selector      sel;
 *         struct xfrm_lifetime_cfg  lft;
 *         struct xfrm_lifetime_cur  curlft;
 *         __u32                     priority;
 *         __u32                     index;
 *         __u8                      dir;
 *         __u8                      action;
 *         __u8                      flags;
 *         __u8                      share;
 * };
 */
export const xfrmUserpolicyInfo = struct('xfrm_userpolicy_info', 168, {
  sel: [0, xfrmSelector],
  lft: [56, xfrmLifetimeCfg],
  curlft: [120, xfrmLifetimeCur],
  priority: [152, u32],
  index: [156, u32],
  dir: [160, u8],
  action: [161, u8],
  flags: [162, u8],
  share: [163, u8],
});

/*
 * struct xfrm_user_tmpl {
 *         struct xfrm_id  id;
 *         __u16           family;
 *         xfrm_address_t  saddr;
 *         __u32           reqid;
 *         __u8            mode;
 *         __u8            share;
 *         __u8            optional;
 *         __u32           aalgos;
 *         __u32           ealgos;
 *         __u32           calgos;
 * };
 */
export const xfrmUserTmpl = struct('xfrm_user_tmpl', 64, {
  id: [0, xfrmId],
  family: [24, u16],
  saddr: [28, xfrmAddress],
  reqid: [44, u32],
  mode: [48, u8],
  share: [49, u8],
  optional: [50, u8],
  aalgos: [52, u32],
  ealgos: [56, u32],
  calgos: [60, u32],
});

/* struct xfrm_userpolicy_type { __u8 type; __u16 reserved1; __u8 reserved2; }; */
export const xfrmUserpolicyType = struct('xfrm_userpolicy_type', 6, { type: [0, u8] });

/* struct xfrm_userpolicy_default { __u8 in, fwd, out; }; */
export const xfrmUserpolicyDefault = struct('xfrm_userpolicy_default', 3, {
  in: [0, u8],
  fwd: [1, u8],
  out: [2, u8],
});

/* struct xfrmu_spdinfo { __u32 incnt, outcnt, fwdcnt, inscnt, outscnt, fwdscnt; };   the last three: of sockets */
export const xfrmuSpdinfo = struct('xfrmu_spdinfo', 24, {
  in: [0, u32],
  out: [4, u32],
  fwd: [8, u32],
  socketIn: [12, u32],
  socketOut: [16, u32],
  socketFwd: [20, u32],
});

/* struct xfrmu_spdhinfo { __u32 spdhcnt, spdhmcnt; };   hash buckets: now, at most */
export const xfrmuSpdhinfo = struct('xfrmu_spdhinfo', 8, {
  buckets: [0, u32],
  maxBuckets: [4, u32],
});

/* struct xfrmu_spdhthresh { __u8 lbits, rbits; };   prefixes at least this long are hashed */
export const xfrmuSpdhthresh = struct('xfrmu_spdhthresh', 2, { lbits: [0, u8], rbits: [1, u8] });

/** Structures that only the kernel sends. */
import { be16, struct, u8, u16, u32 } from '../../netlink/struct.ts';
import { xfrmAddress, xfrmId, xfrmSelector, xfrmUsersaId } from './identity.ts';
import { xfrmUserpolicyInfo } from './policy.ts';
import { xfrmUsersaInfo } from './state.ts';

/*
 * struct xfrm_user_acquire {
 *         struct xfrm_id               id;
 *         xfrm_address_t               saddr;
 *         struct xfrm_selector         sel;
 *         struct xfrm_userpolicy_info  policy;
 *         __u32                        aalgos, ealgos, calgos;
 *         __u32                        seq;
 * };
 */
export const xfrmUserAcquire = struct('xfrm_user_acquire', 280, {
  id: [0, xfrmId],
  saddr: [24, xfrmAddress],
  sel: [40, xfrmSelector],
  policy: [96, xfrmUserpolicyInfo],
  aalgos: [264, u32],
  ealgos: [268, u32],
  calgos: [272, u32],
  seq: [276, u32],
});

/* struct xfrm_user_expire { struct xfrm_usersa_info state; __u8 hard; }; */
export const xfrmUserExpire = struct('xfrm_user_expire', 232, {
  state: [0, xfrmUsersaInfo],
  hard: [224, u8],
});

/* struct xfrm_user_polexpire { struct xfrm_userpolicy_info pol; __u8 hard; }; */
export const xfrmUserPolexpire = struct('xfrm_user_polexpire', 176, {
  pol: [0, xfrmUserpolicyInfo],
  hard: [168, u8],
});

/* struct xfrm_user_report { __u8 proto; struct xfrm_selector sel; }; */
export const xfrmUserReport = struct('xfrm_user_report', 60, {
  proto: [0, u8],
  sel: [4, xfrmSelector],
});

/*
 * struct xfrm_user_mapping {
 *         struct xfrm_usersa_id   id;
 *         __u32                   reqid;
 *         xfrm_address_t          old_saddr, new_saddr;
 *         __be16                  old_sport, new_sport;
 * };
 */
export const xfrmUserMapping = struct('xfrm_user_mapping', 64, {
  id: [0, xfrmUsersaId],
  reqid: [24, u32],
  oldSaddr: [28, xfrmAddress],
  newSaddr: [44, xfrmAddress],
  oldSport: [60, be16],
  newSport: [62, be16],
});

/*
 * struct xfrm_user_migrate {
 *         xfrm_address_t  old_daddr, old_saddr;
 *         xfrm_address_t  new_daddr, new_saddr;
 *         __u8            proto;
 *         __u8            mode;
 *         __u16           reserved;
 *         __u32           reqid;
 *         __u16           old_family;
 *         __u16           new_family;
 * };
 */
export const xfrmUserMigrate = struct('xfrm_user_migrate', 76, {
  oldDaddr: [0, xfrmAddress],
  oldSaddr: [16, xfrmAddress],
  newDaddr: [32, xfrmAddress],
  newSaddr: [48, xfrmAddress],
  proto: [64, u8],
  mode: [65, u8],
  reqid: [68, u32],
  oldFamily: [72, u16],
  newFamily: [74, u16],
});

/* struct xfrm_user_kmaddress { xfrm_address_t local, remote; __u32 reserved; __u16 family; }; */
export const xfrmUserKmaddress = struct('xfrm_user_kmaddress', 40, {
  local: [0, xfrmAddress],
  remote: [16, xfrmAddress],
  family: [36, u16],
});

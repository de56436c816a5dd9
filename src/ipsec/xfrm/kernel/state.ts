/** Structures of the security association database. */
import { be16, cString, i32, struct, u8, u16, u32, u64 } from '../../netlink/struct.ts';
import { xfrmAddress, xfrmId, xfrmSelector, xfrmUsersaId } from './identity.ts';

/*
 * struct xfrm_lifetime_cfg {
 *         __u64   soft_byte_limit, hard_byte_limit;
 *         __u64   soft_packet_limit, hard_packet_limit;
 *         __u64   soft_add_expires_seconds, hard_add_expires_seconds;
 *         __u64   soft_use_expires_seconds, hard_use_expires_seconds;
 * };
 */
export const xfrmLifetimeCfg = struct('xfrm_lifetime_cfg', 64, {
  softByteLimit: [0, u64],
  hardByteLimit: [8, u64],
  softPacketLimit: [16, u64],
  hardPacketLimit: [24, u64],
  softAddExpiresSeconds: [32, u64],
  hardAddExpiresSeconds: [40, u64],
  softUseExpiresSeconds: [48, u64],
  hardUseExpiresSeconds: [56, u64],
});

/* struct xfrm_lifetime_cur { __u64 bytes, packets, add_time, use_time; };   times in seconds since 1970 */
export const xfrmLifetimeCur = struct('xfrm_lifetime_cur', 32, {
  bytes: [0, u64],
  packets: [8, u64],
  addTime: [16, u64],
  useTime: [24, u64],
});

/* struct xfrm_stats { __u32 replay_window, replay, integrity_failed; };   counts of dropped packets */
export const xfrmStats = struct('xfrm_stats', 12, {
  replayWindow: [0, u32],
  replay: [4, u32],
  integrityFailed: [8, u32],
});

/*
 * struct xfrm_usersa_info {
 *         struct xfrm_selector      sel;
 *         struct xfrm_id            id;
 *         xfrm_address_t            saddr;
 *         struct xfrm_lifetime_cfg  lft;
 *         struct xfrm_lifetime_cur  curlft;
 *         struct xfrm_stats         stats;
 *         __u32                     seq;
 *         __u32                     reqid;
 *         __u16                     family;
 *         __u8                      mode;
 *         __u8                      replay_window;
 *         __u8                      flags;
 * };   (padded to 8 bytes: of 64-bit kernels, and 32-bit ones where __u64 is aligned to 8)
 */
export const xfrmUsersaInfo = struct('xfrm_usersa_info', 224, {
  sel: [0, xfrmSelector],
  id: [56, xfrmId],
  saddr: [80, xfrmAddress],
  lft: [96, xfrmLifetimeCfg],
  curlft: [160, xfrmLifetimeCur],
  stats: [192, xfrmStats],
  seq: [204, u32],
  reqid: [208, u32],
  family: [212, u16],
  mode: [214, u8],
  replayWindow: [215, u8],
  flags: [216, u8],
});

/* struct xfrm_userspi_info { struct xfrm_usersa_info info; __u32 min, max; }; */
export const xfrmUserspiInfo = struct('xfrm_userspi_info', 232, {
  info: [0, xfrmUsersaInfo],
  min: [224, u32],
  max: [228, u32],
});

/* struct xfrm_usersa_flush { __u8 proto; }; */
export const xfrmUsersaFlush = struct('xfrm_usersa_flush', 1, { proto: [0, u8] });

/* struct xfrm_algo { char alg_name[64]; unsigned int alg_key_len; char alg_key[]; };   length in bits */
export const xfrmAlgo = struct('xfrm_algo', 68, { name: [0, cString(64)], keyBits: [64, u32] });

/* struct xfrm_algo_auth { char alg_name[64]; unsigned int alg_key_len, alg_trunc_len; char alg_key[]; }; */
export const xfrmAlgoAuth = struct('xfrm_algo_auth', 72, {
  name: [0, cString(64)],
  keyBits: [64, u32],
  truncBits: [68, u32],
});

/* struct xfrm_algo_aead { char alg_name[64]; unsigned int alg_key_len, alg_icv_len; char alg_key[]; }; */
export const xfrmAlgoAead = struct('xfrm_algo_aead', 72, {
  name: [0, cString(64)],
  keyBits: [64, u32],
  icvBits: [68, u32],
});

/* struct xfrm_replay_state { __u32 oseq, seq, bitmap; }; */
export const xfrmReplayState = struct('xfrm_replay_state', 12, {
  oseq: [0, u32],
  seq: [4, u32],
  bitmap: [8, u32],
});

/*
 * struct xfrm_replay_state_esn {
 *         unsigned int    bmp_len;        words of 32 bits that follow
 *         __u32           oseq;
 *         __u32           seq;
 *         __u32           oseq_hi;
 *         __u32           seq_hi;
 *         __u32           replay_window;  packets
 *         __u32           bmp[];
 * };
 */
export const xfrmReplayStateEsn = struct('xfrm_replay_state_esn', 24, {
  bmpLen: [0, u32],
  oseq: [4, u32],
  seq: [8, u32],
  oseqHi: [12, u32],
  seqHi: [16, u32],
  replayWindow: [20, u32],
});

/* struct xfrm_encap_tmpl { __u16 encap_type; __be16 encap_sport, encap_dport; xfrm_address_t encap_oa; }; */
export const xfrmEncapTmpl = struct('xfrm_encap_tmpl', 24, {
  type: [0, u16],
  sport: [2, be16],
  dport: [4, be16],
  oa: [8, xfrmAddress],
});

/* struct xfrm_user_offload { int ifindex; __u8 flags; }; */
export const xfrmUserOffload = struct('xfrm_user_offload', 8, {
  ifindex: [0, i32],
  flags: [4, u8],
});

/*
 * struct xfrm_aevent_id {
 *         struct xfrm_usersa_id   sa_id;
 *         xfrm_address_t          saddr;
 *         __u32                   flags;
 *         __u32                   reqid;
 * };
 */
export const xfrmAeventId = struct('xfrm_aevent_id', 48, {
  saId: [0, xfrmUsersaId],
  saddr: [24, xfrmAddress],
  flags: [40, u32],
  reqid: [44, u32],
});

/* struct xfrmu_sadhinfo { __u32 sadhcnt, sadhmcnt; };   hash buckets: now, at most */
export const xfrmuSadhinfo = struct('xfrmu_sadhinfo', 8, {
  buckets: [0, u32],
  maxBuckets: [4, u32],
});

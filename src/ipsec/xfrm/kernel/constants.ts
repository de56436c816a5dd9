/** Numbers of linux/xfrm.h and linux/socket.h; their names are the kernel's. */

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_INET6 = 10;

export const IPPROTO_COMP = 108;
export const IPPROTO_ESP = 50;
export const IPPROTO_AH = 51;
/** In GETSA dumps and flushes: any of the IPsec protocols. */
export const IPSEC_PROTO_ANY = 255;

/** XFRM_MSG_*: types of messages. */
export const XFRM_MSG = {
  NEWSA: 0x10,
  DELSA: 0x11,
  GETSA: 0x12,
  NEWPOLICY: 0x13,
  DELPOLICY: 0x14,
  GETPOLICY: 0x15,
  ALLOCSPI: 0x16,
  ACQUIRE: 0x17,
  EXPIRE: 0x18,
  UPDPOLICY: 0x19,
  UPDSA: 0x1a,
  POLEXPIRE: 0x1b,
  FLUSHSA: 0x1c,
  FLUSHPOLICY: 0x1d,
  NEWAE: 0x1e,
  GETAE: 0x1f,
  REPORT: 0x20,
  MIGRATE: 0x21,
  NEWSADINFO: 0x22,
  GETSADINFO: 0x23,
  NEWSPDINFO: 0x24,
  GETSPDINFO: 0x25,
  MAPPING: 0x26,
  SETDEFAULT: 0x27,
  GETDEFAULT: 0x28,
} as const;

/** XFRMA_*: types of attributes. Those from SA_DIR on need Linux 6.10 and newer. */
export const XFRMA = {
  ALG_AUTH: 1,
  ALG_CRYPT: 2,
  ALG_COMP: 3,
  ENCAP: 4,
  TMPL: 5,
  SA: 6,
  POLICY: 7,
  SEC_CTX: 8,
  LTIME_VAL: 9,
  REPLAY_VAL: 10,
  REPLAY_THRESH: 11,
  ETIMER_THRESH: 12,
  SRCADDR: 13,
  COADDR: 14,
  LASTUSED: 15,
  POLICY_TYPE: 16,
  MIGRATE: 17,
  ALG_AEAD: 18,
  KMADDRESS: 19,
  ALG_AUTH_TRUNC: 20,
  MARK: 21,
  TFCPAD: 22,
  REPLAY_ESN_VAL: 23,
  SA_EXTRA_FLAGS: 24,
  PROTO: 25,
  ADDRESS_FILTER: 26,
  PAD: 27,
  OFFLOAD_DEV: 28,
  SET_MARK: 29,
  SET_MARK_MASK: 30,
  IF_ID: 31,
  MTIMER_THRESH: 32,
  SA_DIR: 33,
  NAT_KEEPALIVE_INTERVAL: 34,
  SA_PCPU: 35,
  IPTFS_DROP_TIME: 36,
  IPTFS_REORDER_WINDOW: 37,
  IPTFS_DONT_FRAG: 38,
  IPTFS_INIT_DELAY: 39,
  IPTFS_MAX_QSIZE: 40,
  IPTFS_PKT_SIZE: 41,
} as const;

/** XFRMA_SAD_* and XFRMA_SPD_*: attributes of NEWSADINFO and NEWSPDINFO. */
export const XFRMA_SAD = { CNT: 1, HINFO: 2 } as const;
export const XFRMA_SPD = { INFO: 1, HINFO: 2, IPV4_HTHRESH: 3, IPV6_HTHRESH: 4 } as const;

/** XFRMNLGRP_*: multicast groups. */
export const XFRMNLGRP = {
  ACQUIRE: 1,
  EXPIRE: 2,
  SA: 3,
  POLICY: 4,
  AEVENTS: 5,
  REPORT: 6,
  MIGRATE: 7,
  MAPPING: 8,
} as const;

export const XFRM_INF = 0xffff_ffff_ffff_ffffn;
/** Largest replay window in packets. */
export const XFRMA_REPLAY_ESN_MAX = 4096;

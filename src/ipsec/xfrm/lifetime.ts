/** Lifetimes of states and policies. */
import type { ValueOf } from '../netlink/struct.ts';
import { XFRM_INF } from './kernel/constants.ts';
import type { xfrmLifetimeCfg, xfrmLifetimeCur } from './kernel/state.ts';

/** One limit: at `soft` an EXPIRE event tells that a successor is due, at `hard` the state is gone. */
export interface Limit {
  readonly soft?: bigint | undefined;
  readonly hard?: bigint | undefined;
}

/** Limits; what is left out is unlimited. */
export interface Lifetime {
  readonly bytes?: Limit | undefined;
  readonly packets?: Limit | undefined;
  /** Seconds since it was added. */
  readonly seconds?: Limit | undefined;
  /** Seconds since it was first used. */
  readonly useSeconds?: Limit | undefined;
}

/** What has passed so far. */
export interface Usage {
  readonly bytes: bigint;
  readonly packets: bigint;
  /** Seconds since 1970. */
  readonly addedAt: number;
  /** Seconds since 1970 of the first use; 0 if never. */
  readonly usedAt: number;
}

/** In the kernel 0 seconds mean no limit of time, and 2^64-1 no limit of bytes and packets. */
export function encodeLifetime(lifetime: Lifetime = {}): ValueOf<typeof xfrmLifetimeCfg> {
  const { bytes, packets, seconds, useSeconds } = lifetime;
  return {
    softByteLimit: bytes?.soft ?? XFRM_INF,
    hardByteLimit: bytes?.hard ?? XFRM_INF,
    softPacketLimit: packets?.soft ?? XFRM_INF,
    hardPacketLimit: packets?.hard ?? XFRM_INF,
    softAddExpiresSeconds: seconds?.soft ?? 0n,
    hardAddExpiresSeconds: seconds?.hard ?? 0n,
    softUseExpiresSeconds: useSeconds?.soft ?? 0n,
    hardUseExpiresSeconds: useSeconds?.hard ?? 0n,
  };
}

export function decodeLifetime(raw: ValueOf<typeof xfrmLifetimeCfg>): Lifetime {
  const bytes = limit(raw.softByteLimit, raw.hardByteLimit, XFRM_INF);
  const packets = limit(raw.softPacketLimit, raw.hardPacketLimit, XFRM_INF);
  const seconds = limit(raw.softAddExpiresSeconds, raw.hardAddExpiresSeconds, 0n);
  const useSeconds = limit(raw.softUseExpiresSeconds, raw.hardUseExpiresSeconds, 0n);
  return {
    ...(bytes && { bytes }),
    ...(packets && { packets }),
    ...(seconds && { seconds }),
    ...(useSeconds && { useSeconds }),
  };
}

function limit(soft: bigint, hard: bigint, none: bigint): Limit | undefined {
  if (soft === none && hard === none) return undefined;
  return { ...(soft !== none && { soft }), ...(hard !== none && { hard }) };
}

export function decodeUsage(raw: ValueOf<typeof xfrmLifetimeCur>): Usage {
  return {
    bytes: raw.bytes,
    packets: raw.packets,
    addedAt: Number(raw.addTime),
    usedAt: Number(raw.useTime),
  };
}

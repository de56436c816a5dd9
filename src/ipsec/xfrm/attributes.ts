/** Attributes with one number or one small structure in them. */
import { attribute } from '../netlink/framing.ts';
import { struct, u8, u16, u32, u64 } from '../netlink/struct.ts';
import { XFRMA } from './kernel/constants.ts';
import { xfrmMark } from './kernel/identity.ts';

const numbers = {
  u8: struct('__u8', 1, { value: [0, u8] }),
  u16: struct('__u16', 2, { value: [0, u16] }),
  u32: struct('__u32', 4, { value: [0, u32] }),
};
const u64Attribute = struct('__u64', 8, { value: [0, u64] });

type Attributes = ReadonlyMap<number, Uint8Array>;
type Width = keyof typeof numbers;

/** The attribute, or nothing if there is no value. */
export function put(type: number, width: Width, value: number | undefined): Uint8Array[] {
  return value === undefined ? [] : [attribute(type, numbers[width].encode({ value }))];
}

/** @throws MalformedError if the payload is too short. */
export function get(attributes: Attributes, type: number, width: Width): number | undefined {
  const payload = attributes.get(type);
  return payload === undefined ? undefined : numbers[width].decode(payload).value;
}

export function getU64(attributes: Attributes, type: number): bigint | undefined {
  const payload = attributes.get(type);
  return payload === undefined ? undefined : u64Attribute.decode(payload).value;
}

/** A value and which of its bits count. */
export interface Mark {
  readonly value: number;
  readonly mask: number;
}

export function putMark(mark: Mark | undefined): Uint8Array[] {
  return mark === undefined ? [] : [attribute(XFRMA.MARK, xfrmMark.encode(mark))];
}

/** Undefined if there is none, or one that matches everything. */
export function getMark(attributes: Attributes): Mark | undefined {
  const payload = attributes.get(XFRMA.MARK);
  if (payload === undefined) return undefined;
  const mark = xfrmMark.decode(payload);
  return mark.value === 0 && mark.mask === 0 ? undefined : mark;
}

/**
 * The frame of netlink (linux/netlink.h): a datagram holds messages, a message holds a fixed
 * structure followed by attributes, each aligned to 4 bytes.
 *
 *      0               4       6       8              12              16
 *     +---------------+-------+-------+---------------+---------------+---------
 *     | length        | type  | flags | seq           | port          | body ...
 *     +---------------+-------+-------+---------------+---------------+---------
 *      0       2       4
 *     +-------+-------+---------
 *     | len   | type  | payload ...   one attribute; len counts its own 4 bytes
 *     +-------+-------+---------
 */
import { MalformedError, ValueError } from './errors.ts';
import { cString, i32, struct, u16, u32, type ValueOf } from './struct.ts';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
export const NLM_F_ACK = 0x4;
/** The table changed while it was dumped: entries may be missing or twice. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;
/** Of an NLMSG_ERROR: the request's payload is not repeated. */
export const NLM_F_CAPPED = 0x100;
/** Of an NLMSG_ERROR or NLMSG_DONE: attributes of extended acknowledgement follow. */
export const NLM_F_ACK_TLVS = 0x200;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const NLMSG_OVERRUN = 4;

/** Top two bits of an attribute's type: nested, and payload in network byte order. */
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** More attributes than any xfrm or rtnetlink message has; a bound against hostile input. */
const MAX_ATTRIBUTES = 512;

/* struct nlmsghdr { __u32 nlmsg_len; __u16 nlmsg_type; __u16 nlmsg_flags; __u32 nlmsg_seq; __u32 nlmsg_pid; } */
export const nlmsghdr = struct('nlmsghdr', 16, {
  length: [0, u32],
  type: [4, u16],
  flags: [6, u16],
  seq: [8, u32],
  port: [12, u32],
});

/* struct nlattr { __u16 nla_len; __u16 nla_type; } */
const nlattr = struct('nlattr', 4, { length: [0, u16], type: [2, u16] });

export interface Message extends Omit<ValueOf<typeof nlmsghdr>, 'length'> {
  readonly body: Uint8Array;
}

const align = (length: number): number => (length + 3) & ~3;

/** @throws MalformedError */
export function decodeMessages(datagram: Uint8Array): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at < datagram.length; ) {
    const { length, ...header } = nlmsghdr.decode(datagram.subarray(at));
    if (length < nlmsghdr.size || at + length > datagram.length) {
      throw new MalformedError(`length ${length} with ${datagram.length - at} bytes left`);
    }
    messages.push({ ...header, body: datagram.subarray(at + nlmsghdr.size, at + length) });
    at += align(length);
  }
  return messages;
}

export function encodeMessage(message: Message): Uint8Array {
  const length = nlmsghdr.size + message.body.length;
  const out = new Uint8Array(align(length));
  const { body, ...header } = message;
  out.set(nlmsghdr.encode({ length, ...header }));
  out.set(body, nlmsghdr.size);
  return out;
}

/** One attribute, padded to 4 bytes. @throws ValueError if the payload is over 65,531 bytes. */
export function attribute(type: number, payload: Uint8Array): Uint8Array {
  const length = nlattr.size + payload.length;
  if (length > 0xffff) throw new ValueError('attribute payload', 'at most 65,531 bytes');
  const out = new Uint8Array(align(length));
  out.set(nlattr.encode({ length, type }));
  out.set(payload, nlattr.size);
  return out;
}

export function nested(type: number, attributes: readonly Uint8Array[]): Uint8Array {
  return attribute(type | NLA_F_NESTED, concat(attributes));
}

/**
 * The attributes in `data` by type; those of a type given in `repeatable` may come more than once and are skipped.
 *
 * @throws MalformedError on a wrong length, on a type that comes twice, on more than 512.
 */
export function decodeAttributes(data: Uint8Array, repeatable?: number): Map<number, Uint8Array> {
  const found = new Map<number, Uint8Array>();
  for (let at = 0, count = 0; at < data.length; count++) {
    const { length, type: flagged } = nlattr.decode(data.subarray(at));
    if (length < nlattr.size || at + length > data.length) {
      throw new MalformedError(`attribute of ${length} bytes with ${data.length - at} left`);
    }
    if (count >= MAX_ATTRIBUTES) throw new MalformedError('too many attributes');
    const type = flagged & NLA_TYPE_MASK;
    if (type !== repeatable) {
      if (found.has(type)) throw new MalformedError(`attribute ${type} comes twice`);
      found.set(type, data.subarray(at + nlattr.size, at + length));
    }
    at += align(length);
  }
  return found;
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** The outcome in an NLMSG_ERROR or NLMSG_DONE. */
export interface Acknowledgement {
  /** 0 for success, else the positive errno. */
  readonly errno: number;
  readonly detail: string | undefined;
}

const errorCode = struct('nlmsgerr.error', 4, { error: [0, i32] });
const NLMSGERR_ATTR_MSG = 1;

/**
 * struct nlmsgerr { int error; struct nlmsghdr msg; } then, by flags, the rest of the request and
 * attributes (NLMSGERR_ATTR_*). A DONE has the int, then attributes.
 *
 * @throws MalformedError
 */
export function decodeAcknowledgement(message: Message): Acknowledgement {
  const { type, flags, body } = message;
  // A DONE of an old kernel may be empty.
  if (type === NLMSG_DONE && body.length === 0) return { errno: 0, detail: undefined };
  const { error } = errorCode.decode(body);
  if (error > 0) throw new MalformedError(`error code ${error}`);
  let detail: string | undefined;
  if (flags & NLM_F_ACK_TLVS) {
    let tail = errorCode.size;
    if (type === NLMSG_ERROR) {
      const request = nlmsghdr.decode(body.subarray(tail));
      tail += flags & NLM_F_CAPPED ? nlmsghdr.size : align(request.length);
    }
    const text = decodeAttributes(body.subarray(tail)).get(NLMSGERR_ATTR_MSG);
    if (text !== undefined) detail = decodeText(text);
  }
  return { errno: Math.abs(error), detail };
}

/** A NUL-terminated string from the kernel, fit for a terminal. */
export function decodeText(data: Uint8Array): string {
  if (data.length > 4096) throw new MalformedError('a text over 4,096 bytes');
  const field = cString(data.length);
  const text = field.read(new DataView(data.buffer, data.byteOffset, data.length), 0);
  return text.replace(/[^\x20-\x7e]/g, '?');
}

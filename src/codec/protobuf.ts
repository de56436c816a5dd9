/**
 * Protocol Buffers with exactly one encoding per value.
 *
 * Signed bytes must mean one thing and one thing must have one spelling, or two nodes can disagree
 * about a record that both find well signed. Ordinary protobuf decoders accept unknown fields,
 * repeated scalars, any field order and over-long varints. This one refuses all of them: it reads
 * only what `encode` would have written. Every length is bounded by the schema, so that what a
 * stranger sends is limited before it is stored.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/ , wire types 0 (varint) and 2
 * (length-delimited) only. A field that is neither optional nor repeated is always written, also
 * when it is zero or empty.
 *
 * @example
 * ```ts
 * const Point = message({ x: required(1, uint32()), label: optional(2, string({ max: 20 })) });
 * type Point = Infer<typeof Point>; // { x: number; label: string | undefined }
 * Point.decode(Point.encode({ x: 7, label: undefined }));
 * ```
 */
import { IcvpnError } from '../errors.ts';
import { ByteReader, ByteWriter } from './bytes.ts';

/** Bytes from outside that are not what the schema says. `path` names the field. */
export class DecodeError extends IcvpnError {
  readonly path: string;

  constructor(path: string, reason: string, options?: ErrorOptions) {
    super(
      'ERR_DECODE',
      `${path === '' ? 'message' : path}: ${reason}`,
      'the sender runs another version or the bytes were altered: update both ends',
      options,
    );
    this.path = path;
  }
}

/** How one value stands on the wire: as a varint or as length-delimited bytes. */
export interface Codec<T> {
  readonly wire: 0 | 2;
  write(value: T, out: ByteWriter): void;
  read(input: ByteReader): T;
}

/** A codec of whole messages, with the two calls that programs use. */
export interface MessageCodec<T> extends Codec<T> {
  /** @returns the one canonical encoding of `value`. @throws RangeError when `value` breaks the schema */
  encode(value: T): Uint8Array;
  /** @throws DecodeError for anything that `encode` would not have written */
  decode(bytes: Uint8Array): T;
}

type Rule = 'required' | 'optional' | 'repeated';

export interface Field<T> {
  readonly number: number;
  readonly rule: Rule;
  writeAll(value: T, tag: (wire: 0 | 2) => void, out: ByteWriter): void;
  /** Reads one occurrence; `previous` is what earlier occurrences gave. */
  readOne(previous: T | undefined, wire: number, input: ByteReader): T;
  absent(): T;
}

/** The value type of a message codec. */
export type Infer<C> = C extends Codec<infer T> ? T : never;

export function required<T>(number: number, codec: Codec<T>): Field<T> {
  return {
    number,
    rule: 'required',
    writeAll(value, tag, out) {
      tag(codec.wire);
      codec.write(value, out);
    },
    readOne(previous, wire, input) {
      if (previous !== undefined) throw new DecodeError('', 'field appears twice');
      return readAs(codec, wire, input);
    },
    absent() {
      throw new DecodeError('', 'field is missing');
    },
  };
}

export function optional<T>(number: number, codec: Codec<T>): Field<T | undefined> {
  const one = required(number, codec);
  return {
    number,
    rule: 'optional',
    writeAll(value, tag, out) {
      if (value !== undefined) one.writeAll(value, tag, out);
    },
    readOne: (previous, wire, input) => one.readOne(previous, wire, input),
    absent: () => undefined,
  };
}

/** @param limits.max the most entries that a decoder accepts */
export function repeated<T>(number: number, codec: Codec<T>, limits: { max: number }): Field<T[]> {
  return {
    number,
    rule: 'repeated',
    writeAll(values, tag, out) {
      if (values.length > limits.max) throw new RangeError(`more than ${limits.max} entries`);
      for (const value of values) {
        tag(codec.wire);
        codec.write(value, out);
      }
    },
    readOne(previous, wire, input) {
      const list = previous ?? [];
      if (list.length === limits.max) {
        throw new DecodeError('', `more than ${limits.max} entries`);
      }
      list.push(readAs(codec, wire, input));
      return list;
    },
    absent: () => [],
  };
}

/**
 * As `repeated`, for lists in which each entry is about another node: a decoder leaves out an entry that it cannot
 * read, so that one bad entry costs that entry. It still counts towards `max`. Signed bytes stay what they are:
 * such a list is read, never written again from what was read.
 */
export function repeatedValid<T>(
  number: number,
  codec: Codec<T>,
  limits: { max: number },
): Field<T[]> {
  const strict = repeated(number, codec, limits);
  const seen = new WeakMap<T[], number>();
  return {
    ...strict,
    readOne(previous, wire, input) {
      const list = previous ?? [];
      const count = seen.get(list) ?? 0;
      if (count === limits.max) throw new DecodeError('', `more than ${limits.max} entries`);
      seen.set(list, count + 1);
      if (wire !== 2) throw new DecodeError('', `wire type ${wire} instead of 2`);
      const entry = input.fork();
      input.peek(input.varint());
      try {
        list.push(codec.read(entry));
      } catch (error) {
        if (!(error instanceof DecodeError)) throw error;
      }
      return list;
    },
  };
}

function readAs<T>(codec: Codec<T>, wire: number, input: ByteReader): T {
  if (wire !== codec.wire) throw new DecodeError('', `wire type ${wire} instead of ${codec.wire}`);
  return codec.read(input);
}

/** An unsigned integer of at most 32 bits. */
export function uint32(limits: { max?: number } = {}): Codec<number> {
  return uint53({ max: Math.min(limits.max ?? 0xffff_ffff, 0xffff_ffff) });
}

/** An unsigned integer that a JavaScript number holds exactly. */
export function uint53(limits: { max?: number } = {}): Codec<number> {
  const max = limits.max ?? Number.MAX_SAFE_INTEGER;
  return {
    wire: 0,
    write(value, out) {
      if (!Number.isSafeInteger(value) || value < 0 || value > max) {
        throw new RangeError(`${value} is not a whole number from 0 to ${max}`);
      }
      out.varint(value);
    },
    read(input) {
      const value = input.varint();
      if (value > max) throw new DecodeError('', `${value} is above ${max}`);
      return value;
    },
  };
}

/** Raw bytes: of exactly `length`, or of `min` (0 when absent) to `max`. */
export function bytes(
  limits: { length: number } | { min?: number; max: number },
): Codec<Uint8Array> {
  return delimited(limits, (input, length) => input.take(length));
}

/** As `bytes`, but a view of what is being read, which goes with it: for those who keep no part of it. */
export function view(limits: { min?: number; max: number }): Codec<Uint8Array> {
  return delimited(limits, (input, length) => input.peek(length));
}

/** Bytes as `read` hands them out, which is given a length within the limits. */
function delimited(
  limits: { length: number } | { min?: number; max: number },
  read: (input: ByteReader, length: number) => Uint8Array,
): Codec<Uint8Array> {
  const min = 'length' in limits ? limits.length : (limits.min ?? 0);
  const max = 'length' in limits ? limits.length : limits.max;
  const fits = (n: number): boolean => n >= min && n <= max;
  return {
    wire: 2,
    write(value, out) {
      if (!fits(value.length)) throw new RangeError(`${value.length} bytes, not ${min} to ${max}`);
      out.varint(value.length);
      out.bytes(value);
    },
    read(input) {
      const length = input.varint();
      if (!fits(length)) throw new DecodeError('', `${length} bytes, not ${min} to ${max}`);
      return read(input, length);
    },
  };
}

const utf8 = {
  decoder: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }),
  encoder: new TextEncoder(),
};

/** UTF-8 text of at most `max` bytes. */
export function string(limits: { min?: number; max: number }): Codec<string> {
  return refine(view(limits), {
    parse: (raw) => utf8.decoder.decode(raw),
    format: (text) => utf8.encoder.encode(text),
  });
}

/**
 * A codec for a richer type over a simpler one. `parse` throws when the simple value has no
 * counterpart; its message becomes part of the DecodeError.
 */
export function refine<S, T>(
  simple: Codec<S>,
  as: { parse: (value: S) => T; format: (value: T) => S },
): Codec<T> {
  return {
    wire: simple.wire,
    write: (value, out) => simple.write(as.format(value), out),
    read(input) {
      const value = simple.read(input);
      try {
        return as.parse(value);
      } catch (cause) {
        throw new DecodeError('', cause instanceof Error ? cause.message : 'not valid', { cause });
      }
    },
  };
}

type Fields<T> = { readonly [K in keyof T]: Field<T[K]> };

/** A message with the given fields; also usable as a field's codec. */
export function message<T extends object>(fields: Fields<T>): MessageCodec<T> {
  const names = Object.keys(fields).filter((name): name is keyof T & string => name in fields);
  const ordered = names
    .map((name) => ({ name, field: fields[name] }))
    .sort((a, b) => a.field.number - b.field.number);

  function writeBody(value: T, out: ByteWriter): void {
    for (const { name, field } of ordered) {
      try {
        field.writeAll(value[name], (wire) => out.varint(field.number * 8 + wire), out);
      } catch (cause) {
        throw new RangeError(`${name}: ${cause instanceof Error ? cause.message : cause}`, {
          cause,
        });
      }
    }
  }

  function readBody(input: ByteReader): T {
    const found: Partial<T> = {};
    let at = 0;
    let reading: string | undefined;
    try {
      while (!input.done) {
        reading = undefined;
        const tag = input.varint();
        const number = Math.floor(tag / 8);
        while (at < ordered.length && (ordered[at]?.field.number ?? 0) < number) at++;
        const entry = ordered[at];
        if (entry?.field.number !== number) {
          throw new DecodeError('', `field ${number} is unknown or out of order`);
        }
        const { name, field } = entry;
        reading = name;
        found[name] = field.readOne(found[name], tag % 8, input);
      }
      for (const { name, field } of ordered) {
        if (name in found) continue;
        reading = name;
        found[name] = field.absent();
      }
    } catch (error) {
      if (!(error instanceof DecodeError) || reading === undefined) throw error;
      throw within(reading, error);
    }
    return complete(found, names);
  }

  return {
    wire: 2,
    write(value, out) {
      const body = new ByteWriter();
      writeBody(value, body);
      const finished = body.finish();
      out.varint(finished.length);
      out.bytes(finished);
    },
    read: (input) => readBody(input.part(input.varint())),
    encode(value) {
      const out = new ByteWriter();
      writeBody(value, out);
      return out.finish();
    },
    decode: (raw) => readBody(new ByteReader(raw, fail)),
  };
}

function complete<T extends object>(found: Partial<T>, names: (keyof T)[]): T {
  const isWhole = (value: Partial<T>): value is T => names.every((name) => name in value);
  if (!isWhole(found)) throw new DecodeError('', 'field is missing');
  return found;
}

const fail = (reason: string): DecodeError => new DecodeError('', reason);

/** The same error, with the field it happened in before its path. */
function within(name: string, error: DecodeError): DecodeError {
  const path = error.path === '' ? name : `${name}.${error.path}`;
  return new DecodeError(path, error.message.slice(error.message.indexOf(': ') + 2), {
    cause: error.cause,
  });
}

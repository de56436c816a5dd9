/**
 * C structures as data: each is a size and a table of fields at offsets, and its codec and its
 * TypeScript type follow from that table, so that a structure can be checked against the C
 * declaration above it line by line.
 */
import { endianness } from 'node:os';
import { MalformedError, ValueError } from './errors.ts';

const LITTLE = endianness() === 'LE';

/** How one field of a structure is read and written. Methods, so that tables of unlike fields type-check. */
export interface Field<T> {
  readonly size: number;
  read(view: DataView, offset: number): T;
  write(view: DataView, offset: number, value: T, name: string): void;
}

function integer(
  size: number,
  min: number,
  max: number,
  read: (view: DataView, offset: number) => number,
  write: (view: DataView, offset: number, value: number) => void,
): Field<number> {
  return {
    size,
    read,
    write(view, offset, value, name) {
      if (!Number.isInteger(value) || value < min || value > max) {
        throw new ValueError(name, `an integer from ${min} to ${max}`);
      }
      write(view, offset, value);
    },
  };
}

export const u8 = integer(
  1,
  0,
  0xff,
  (v, o) => v.getUint8(o),
  (v, o, x) => v.setUint8(o, x),
);
export const u16 = integer(
  2,
  0,
  0xffff,
  (v, o) => v.getUint16(o, LITTLE),
  (v, o, x) => v.setUint16(o, x, LITTLE),
);
export const u32 = integer(
  4,
  0,
  0xffffffff,
  (v, o) => v.getUint32(o, LITTLE),
  (v, o, x) => v.setUint32(o, x, LITTLE),
);
export const i32 = integer(
  4,
  -0x80000000,
  0x7fffffff,
  (v, o) => v.getInt32(o, LITTLE),
  (v, o, x) => v.setInt32(o, x, LITTLE),
);
/** Network byte order, whatever the host: ports, SPIs. */
export const be16 = integer(
  2,
  0,
  0xffff,
  (v, o) => v.getUint16(o),
  (v, o, x) => v.setUint16(o, x),
);
export const be32 = integer(
  4,
  0,
  0xffffffff,
  (v, o) => v.getUint32(o),
  (v, o, x) => v.setUint32(o, x),
);

export const u64: Field<bigint> = {
  size: 8,
  read: (v, o) => v.getBigUint64(o, LITTLE),
  write(v, o, x, name) {
    if (typeof x !== 'bigint' || x < 0n || x >= 1n << 64n) {
      throw new ValueError(name, 'a bigint from 0 to 2^64-1');
    }
    v.setBigUint64(o, x, LITTLE);
  },
};

/** A fixed run of bytes, copied on read. */
export function bytes(size: number): Field<Uint8Array> {
  return {
    size,
    read: (v, o) => new Uint8Array(v.buffer, v.byteOffset + o, size).slice(),
    write(v, o, x, name) {
      if (x.length !== size) throw new ValueError(name, `${size} bytes`);
      new Uint8Array(v.buffer, v.byteOffset + o, size).set(x);
    },
  };
}

/** A NUL-terminated string of at most `size` - 1 bytes of ASCII, as in `char alg_name[64]`. */
export function cString(size: number): Field<string> {
  return {
    size,
    read(v, o) {
      const raw = new Uint8Array(v.buffer, v.byteOffset + o, size);
      const end = raw.indexOf(0);
      if (end < 0) throw new MalformedError('a name without end');
      return Buffer.from(raw.subarray(0, end)).toString('latin1');
    },
    write(v, o, x, name) {
      if (!/^[\x20-\x7e]*$/.test(x) || x.length >= size) {
        throw new ValueError(name, `at most ${size - 1} printable ASCII characters`);
      }
      new Uint8Array(v.buffer, v.byteOffset + o, size).set(Buffer.from(x, 'latin1'));
    },
  };
}

type Fields = Readonly<Record<string, readonly [offset: number, field: Field<unknown>]>>;
type ValueOfFields<F extends Fields> = {
  [K in keyof F]: F[K][1] extends Field<infer T> ? T : never;
};

/** A C structure. As a {@link Field} it nests in others. Padding is written as zero and not looked at. */
export interface Struct<T> extends Field<T> {
  readonly name: string;
  encode(value: T): Uint8Array;
  /** Reads the structure at the start of `data`, which may be longer. @throws MalformedError if shorter. */
  decode(data: Uint8Array): T;
}

/** The TypeScript type of what a {@link Struct} holds. */
export type ValueOf<S> = S extends Struct<infer T> ? T : never;

export function struct<const F extends Fields>(
  name: string,
  size: number,
  fields: F,
): Struct<ValueOfFields<F>> {
  const table = Object.entries(fields);
  const self: Struct<ValueOfFields<F>> = {
    name,
    size,
    read(view, offset) {
      const value = Object.fromEntries(
        table.map(([key, [at, field]]) => [key, field.read(view, offset + at)]),
      );
      // The table has exactly the keys of F, and each field read its own type.
      return value as ValueOfFields<F>;
    },
    write(view, offset, value) {
      for (const [key, [at, field]] of table) {
        field.write(view, offset + at, value[key], `${name}.${key}`);
      }
    },
    encode(value) {
      const out = new Uint8Array(size);
      self.write(new DataView(out.buffer), 0, value, name);
      return out;
    },
    decode(data) {
      if (data.length < size) {
        throw new MalformedError(`${name} needs ${size} bytes, there are ${data.length}`);
      }
      return self.read(new DataView(data.buffer, data.byteOffset, data.length), 0);
    },
  };
  return self;
}

/** Readers of JSON values that name what they refuse, and where it stands. */
import { fieldError, quoted } from './errors.ts';

/** @param path of the value, for the error. @throws PolicyError ERR_POLICY_FIELD */
export type Reader<T> = (value: unknown, path: string) => T;

/** How to read a field, and what stands for one that is left out. */
export interface Field<T> {
  readonly read: Reader<T>;
  absent(path: string): T;
}

export function required<T>(read: Reader<T>): Field<T> {
  return {
    read,
    absent: (path) => {
      throw fieldError(path, 'is missing', 'add it; docs/policy.md shows the shape');
    },
  };
}

export function optional<T>(read: Reader<T>): Field<T | undefined> {
  return { read, absent: () => undefined };
}

/** A list that is empty when it is left out. */
export function optionalList<T>(read: Reader<readonly T[]>): Field<readonly T[]> {
  return { read, absent: () => [] };
}

type Fields<T> = { readonly [K in keyof T]: Field<T[K]> };

/** An object with these fields and no others. */
export function object<T extends object>(fields: Fields<T>): Reader<T> {
  const names = Object.keys(fields).filter((name): name is keyof T & string => name in fields);
  const isWhole = (value: Partial<T>): value is T => names.every((name) => name in value);
  return (value, path) => {
    const given = entriesOf(value, path, names);
    const read: Partial<T> = {};
    for (const name of names) {
      const at = path === '' ? name : `${path}.${name}`;
      const field = fields[name];
      read[name] = given.has(name) ? field.read(given.get(name), at) : field.absent(at);
    }
    if (isWhole(read)) return read;
    throw new TypeError('a field was not read');
  };
}

function entriesOf(
  value: unknown,
  path: string,
  known: readonly string[],
): ReadonlyMap<string, unknown> {
  const names = known.join(', ');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw fieldError(path, `${quoted(value)} is not an object`, `give one with ${names}`);
  }
  const given = new Map<string, unknown>(Object.entries(value));
  for (const name of given.keys()) {
    if (known.includes(name)) continue;
    throw fieldError(path, `unknown field ${quoted(name)}`, `known here are ${names}`);
  }
  return given;
}

/** A list of `min` to `max` entries. */
export function list<T>(read: Reader<T>, limits: { min: number; max: number }): Reader<T[]> {
  const { min, max } = limits;
  return (value, path) => {
    if (!Array.isArray(value)) {
      throw fieldError(path, `${quoted(value)} is not a list`, 'put it into [ ]');
    }
    if (value.length < min)
      throw fieldError(path, 'is empty', 'name at least one, or leave it out');
    if (value.length > max) {
      throw fieldError(
        path,
        `${value.length} entries are too many`,
        `at most ${max} may stand here`,
      );
    }
    return value.map((each, i) => read(each, `${path}[${i}]`));
  };
}

/** One of a few words or numbers. */
export function choice<T extends string | number>(...allowed: readonly T[]): Reader<T> {
  const words = allowed.map((each) => JSON.stringify(each)).join(', ');
  return (value, path) => {
    const found = allowed.find((each) => each === value);
    if (found !== undefined) return found;
    throw fieldError(path, `${quoted(value)} is not known`, `known here: ${words}`);
  };
}

/** Text of at most `max` characters. */
export function text(max: number): Reader<string> {
  return (value, path) => {
    if (typeof value === 'string' && value.length <= max) return value;
    throw fieldError(
      path,
      `${quoted(value)} is not text of ${max} characters at most`,
      'shorten it',
    );
  };
}

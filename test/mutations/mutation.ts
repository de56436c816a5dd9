/**
 * A change to the source that breaks one promise. Some test must fail with it: otherwise nothing holds
 * the promise, whatever the titles of the tests say.
 */
export interface Mutation {
  /** The promise that the change breaks, such as `P6`; see docs/promises.md. */
  readonly promise: `P${number}`;
  /** What the changed code no longer does. */
  readonly title: string;
  /** The file to change, from the root of the project. */
  readonly file: string;
  /** Text that stands in the file exactly once. */
  readonly find: string;
  /** What takes its place. */
  readonly replace: string;
  /** Test files, from the root of the project, one of which must fail. */
  readonly tests: readonly string[];
  /** Runs only tests whose title matches. Default: all of `tests`. */
  readonly grep?: string;
  /** Where the tests run. `lab`: in a kernel with ESP; `e2e`: there, from a build. Default: `unit`. */
  readonly where?: Place;
}

export type Place = 'unit' | 'lab' | 'e2e';

/** @throws RangeError when `mutation.find` does not stand in `source` exactly once */
export function mutated(source: string, mutation: Mutation): string {
  const parts = source.split(mutation.find);
  if (parts.length !== 2) {
    const times = parts.length - 1;
    throw new RangeError(`${mutation.file} has ${times} times, not once: ${mutation.find}`);
  }
  return parts.join(mutation.replace);
}

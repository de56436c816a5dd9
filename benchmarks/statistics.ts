/** What the benchmarks make of the values that they measured. */

export const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

/** Of an even number of values the greater of the two in the middle; of none, NaN. */
export const median = (values: readonly number[]): number => percentile(values, 50);

export const percentile = (values: readonly number[], p: number): number =>
  values.toSorted((a, b) => a - b)[Math.floor((values.length * p) / 100)] ?? Number.NaN;

export const round = (value: number, digits = 1): number => Number(value.toFixed(digits));

/** An order of this VM's own, so that not all VMs of a service ask the same super-peer first. */
import { randomInt } from 'node:crypto';

/** @returns the same elements in a random order (Fisher and Yates) */
export function shuffled<T>(elements: readonly T[]): T[] {
  const rest = [...elements];
  return elements.flatMap(() => rest.splice(randomInt(rest.length), 1));
}

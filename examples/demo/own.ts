/**
 * Gives a resource to its owner. The owner may have been disposed of while the resource was being
 * made (Ctrl-C): then the resource goes at once, and the caller learns that there is no going on.
 */
export async function own<T extends AsyncDisposable>(
  owner: AsyncDisposableStack,
  making: T | Promise<T>,
): Promise<T> {
  const resource = await making;
  if (!owner.disposed) return owner.use(resource);
  await resource[Symbol.asyncDispose]();
  throw new Error('stopped');
}

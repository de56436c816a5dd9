/**
 * Events whose listeners do not reach each other, nor what tells them: a listener that throws, or whose promise is
 * rejected, fails alone, and that is published on the channel `icvpn:listener-failed`, which the daemon logs.
 *
 * ```
 *  emit ─┬─▶ listener 1
 *        ├─▶ listener 2 ✗ ──▶ icvpn:listener-failed ──▶ log
 *        └─▶ listener 3
 * ```
 *
 * Node's own emitter ends at the first listener that throws, in whatever called `emit`; libp2p's event targets
 * end the process.
 */
import { channel } from 'node:diagnostics_channel';
import { EventEmitter } from 'node:events';

/** What is published when a listener fails. */
export interface ListenerFailure {
  readonly event: string;
  readonly error: unknown;
}

const failures = channel('icvpn:listener-failed');

/** Calls `report` whenever a listener fails, anywhere in this process. @returns how to stop */
export function onListenerFailure(report: (failure: ListenerFailure) => void): () => void {
  const take = (message: unknown): void => {
    if (isFailure(message)) report(message);
  };
  failures.subscribe(take);
  return () => void failures.unsubscribe(take);
}

const isFailure = (message: unknown): message is ListenerFailure =>
  typeof message === 'object' && message !== null && 'event' in message && 'error' in message;

function failed(event: string, error: unknown): void {
  const failure: ListenerFailure = { event, error };
  if (failures.hasSubscribers) failures.publish(failure);
  else process.emitWarning(`a listener of "${event}" failed: ${detail(error)}`, 'ListenerFailure');
}

const detail = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/** Runs a listener, whose failure is its own. @param event names it in the report */
export function contained(event: string, listener: () => unknown): void {
  try {
    const result = listener();
    if (result instanceof Promise) result.catch((error: unknown) => failed(event, error));
  } catch (error) {
    failed(event, error);
  }
}

/** An EventEmitter that contains the failures of its listeners. */
export class Emitter<T extends Record<keyof T, unknown[]>> extends EventEmitter<T> {
  /** `emit` for the emitter's own use, with its types. @returns whether anybody listens */
  protected tell<K extends keyof T & string>(name: K, ...args: T[K]): boolean {
    return this.emit(name, ...args);
  }

  /** @param name of an event of `T` */
  override emit(name: unknown, ...args: unknown[]): boolean {
    if (typeof name !== 'string') return false;
    const listeners = EventEmitter.prototype.rawListeners.call(this, name);
    for (const listener of listeners) {
      contained(name, () => Reflect.apply(listener, this, args));
    }
    return listeners.length > 0;
  }
}

/** @returns `listener` for an event target such as libp2p's, contained */
export function containing<E>(event: string, listener: (event: E) => unknown): (event: E) => void {
  return (happened) => contained(event, () => listener(happened));
}

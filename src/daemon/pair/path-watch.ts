/**
 * Looks after the path to one peer while there are SAs: whether what is sent arrives, and that a NAT
 * before this end remembers.
 */
import type { SaPair, SaUsage } from '../../ipsec/lifecycle/events.ts';
import type { Log } from '../log.ts';
import type { PeerPath } from './path.ts';
import { checkPath } from './path-check.ts';
import type { PairPlane } from './runs.ts';

export interface PathWatchOptions {
  readonly id: string;
  readonly path: PeerPath;
  readonly dataPlane: Pick<PairPlane, 'packets' | 'keepalive'>;
  /** The SAs in use. */
  readonly current: () => SaPair | undefined;
  /** Sends a packet through them. */
  readonly touch: () => void;
  /** What the peer has received under an SPI; undefined if it has no such SA. */
  readonly received: (spi: number) => Promise<number | undefined>;
  /** Another way may pass: the two ends are to agree anew. */
  readonly onBlocked: () => void;
  readonly log: Log;
  /** Milliseconds between the looks; those of {@link checkPath} if left out. */
  readonly pauses: readonly number[] | undefined;
}

export class PathWatch {
  readonly #options: PathWatchOptions;
  #checking: AbortController | undefined;

  constructor(options: PathWatchOptions) {
    this.#options = options;
  }

  /**
   * Takes the place of a check that is under way.
   *
   * @param spi of the outbound SA in use
   * @param before what the peer had received under it when all was well, where that is known
   */
  async check(spi: number, before: number | undefined): Promise<void> {
    this.#checking?.abort();
    const checking = new AbortController();
    this.#checking = checking;
    const { signal } = checking;
    const { id, path, dataPlane, current, touch, received, pauses, onBlocked, log } = this.#options;
    const inUse = (): boolean => !signal.aborted && current()?.outboundSpi === spi;
    const probe = {
      touch: () => (inUse() ? touch() : undefined),
      received: () => received(spi),
      sent: () => dataPlane.packets(id, spi, 'out'),
    };
    // Who cannot be asked is found out about by the life cycle.
    const found = await checkPath(probe, before, signal, pauses).catch(() => undefined);
    if (found === undefined || !inUse()) return;
    const elsewise = path.found(found === 'passes');
    if (found === 'passes') return;
    const { encapsulation = '', why = '' } = path.view ?? {};
    const next = elsewise ? 'ESP in UDP' : 'nothing else';
    log('path-blocked', { peer: id, encapsulation, why, next });
    if (elsewise) onBlocked();
  }

  /** Counters were read: a NAT is told when nothing was sent for a while. */
  counted(usage: readonly SaUsage[]): void {
    const { id, path, dataPlane, current } = this.#options;
    const spi = current()?.outboundSpi;
    const sent = usage.find((each) => each.direction === 'out' && each.spi === spi);
    if (sent === undefined) return;
    const port = path.keepalive(sent.packets, performance.now());
    if (port !== undefined) dataPlane.keepalive(id, port);
  }

  close(): void {
    this.#checking?.abort();
  }
}

/** Time as it passes and work for later: the process's own, or one that a test drives. */
export interface Timers {
  /** Milliseconds since some moment; never set back. */
  now(): number;
  /** @returns how to call the work off */
  after(ms: number, work: () => void): () => void;
}

export const TIMERS: Timers = {
  now: () => performance.now(),
  after(ms, work) {
    const timer = setTimeout(work, ms);
    return () => clearTimeout(timer);
  },
};

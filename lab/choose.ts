/** What is known of this machine when a kernel has to be chosen. */
export interface Situation {
  /** Already in a lab. */
  inLab: boolean;
  isRoot: boolean;
  /** What this machine's kernel lacks, as far as it could be tried (see {@link isRoot}). */
  missing: readonly string[];
  /** `$ICVPN_LAB_KERNEL`, if set and not empty. */
  configured: string | undefined;
  /** File of the cached build, whether it is there or not. */
  cached: string;
  isCached: boolean;
  /** Parameters for the kernel were given, which this machine's has had its own of. */
  boot: boolean;
}

/** Where to run, and why, in words for the one line that says so. */
export type Choice =
  | { where: 'here'; why: string }
  | { where: 'guest'; why: string; kernel: string; source: string }
  | { where: 'guest after build'; why: string; kernel: string; source: string };

/**
 * The order of choice: this machine's kernel if it can do everything, else a User Mode Linux
 * kernel: `$ICVPN_LAB_KERNEL`, else the cached build, else a new build.
 */
export function chooseKernel(situation: Situation): Choice {
  const { inLab, isRoot, missing, configured, cached, isCached, boot } = situation;
  if (inLab) return { where: 'here', why: 'already inside the lab' };
  if (isRoot && missing.length === 0 && !boot)
    return { where: 'here', why: 'this kernel has all it takes' };
  const why = boot
    ? 'asked for'
    : isRoot
      ? `this kernel has no ${missing.join(', no ')}`
      : 'not root';
  if (configured !== undefined) {
    return { where: 'guest', why, kernel: configured, source: '$ICVPN_LAB_KERNEL' };
  }
  return {
    where: isCached ? 'guest' : 'guest after build',
    why,
    kernel: cached,
    source: isCached ? 'the cache' : 'a build made now',
  };
}

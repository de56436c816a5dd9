/**
 * The firewall of one service on one machine: one nftables table, replaced as a whole whenever
 * something changes. Tables of others are not looked at.
 *
 * ```
 *  open: the table ──▶ data plane ──▶ apply: other grants, other subnets ──▶ … ──▶ close: no table
 * ```
 *
 * Open it before the data plane and close it after that: then nothing passes unfiltered. A crash
 * leaves the table; the next `open` replaces it.
 */
import { FirewallError } from './errors.ts';
import { nft } from './nft.ts';
import { type FirewallInput, isNeeded, removal, ruleSet, ZONE_PROBE } from './rules.ts';

export type { FirewallInput };

/** What may change while it is open. */
export type FirewallChange = Partial<Pick<FirewallInput, 'grants' | 'remotes' | 'subnets'>>;

interface Call {
  readonly signal?: AbortSignal | undefined;
}

export class Firewall implements AsyncDisposable {
  #input: FirewallInput;
  /** Whether the kernel has connection tracking zones; undefined until that matters. */
  #zones: boolean | undefined;
  /** Whether there may be a table. */
  #present = true;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(input: FirewallInput) {
    this.#input = input;
  }

  /**
   * Puts the rules in force; those of an earlier run go in the same transaction. Without anything to
   * enforce they are only taken away, and nft need not be there.
   *
   * @throws FirewallError `ERR_NFT_MISSING`, `ERR_NFT_REFUSED`, `ERR_FIREWALL_INPUT`; AddressError
   */
  static async open(input: FirewallInput, call: Call = {}): Promise<Firewall> {
    const firewall = new Firewall(input);
    await firewall.#enforce(call);
    return firewall;
  }

  /**
   * Other rules take the place of those in force, with no moment between. If that fails these stay, and
   * the next `apply` tries both changes.
   *
   * @throws as {@link open}
   */
  apply(change: FirewallChange, call: Call = {}): Promise<void> {
    this.#input = { ...this.#input, ...change };
    return this.#serially(() => this.#enforce(call));
  }

  /** Takes the table away. */
  close(): Promise<void> {
    return this.#serially(() => this.#remove({}));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #enforce(call: Call): Promise<void> {
    const input = this.#input;
    if (!isNeeded(input)) return this.#remove(call);
    this.#zones ??= await hasZones(call);
    await nft(ruleSet(input, this.#zones), call);
    this.#present = true;
  }

  async #remove(call: Call): Promise<void> {
    if (!this.#present) return;
    try {
      await nft(removal(this.#input.ifId), call);
    } catch (error) {
      // Without nft, or a kernel for it, there is no table either.
      if (!(error instanceof FirewallError)) throw error;
    }
    this.#present = false;
  }

  #serially(work: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }
}

async function hasZones(call: Call): Promise<boolean> {
  try {
    await nft(ZONE_PROBE, { ...call, check: true });
    return true;
  } catch (error) {
    if (error instanceof FirewallError && error.code === 'ERR_NFT_REFUSED') return false;
    throw error;
  }
}

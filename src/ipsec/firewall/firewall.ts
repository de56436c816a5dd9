/**
 * The firewall of one service on one machine: one nftables table, replaced as a whole whenever
 * something changes. Tables of others are not looked at. Who else changes this one is heard of.
 *
 * ```
 *  open: the table ──▶ data plane ──▶ apply: other grants, other subnets ──▶ … ──▶ close: no table
 * ```
 *
 * Open it before the data plane and close it after that: then nothing passes unfiltered. A crash
 * leaves the table; the next `open` replaces it.
 */
import { Emitter } from '../../events.ts';
import { FirewallError } from './errors.ts';
import { nft } from './nft.ts';
import { OwnTable } from './own-table.ts';
import { type FirewallInput, isNeeded, removal, ruleSet, tableName, ZONE_PROBE } from './rules.ts';

export type { FirewallInput };

/** What may change while it is open. */
export type FirewallChange = Partial<Pick<FirewallInput, 'grants' | 'remotes' | 'subnets'>>;

interface Call {
  readonly signal?: AbortSignal | undefined;
}

interface FirewallEvents {
  /** Somebody else has changed the table, or removed it: {@link Firewall.repair} puts it back. */
  disturbed: [];
  /** Changes by others are not heard of any more; what is in force stays. */
  error: [error: Error];
}

export class Firewall extends Emitter<FirewallEvents> implements AsyncDisposable {
  #input: FirewallInput;
  /** Whether the kernel has connection tracking zones; undefined until that matters. */
  #zones: boolean | undefined;
  /** Whether there may be a table. */
  #present = true;
  /** Whether nobody else has changed it, as far as was heard. */
  #intact = true;
  #tail: Promise<unknown> = Promise.resolve();
  #table: OwnTable | undefined;

  private constructor(input: FirewallInput) {
    super();
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

  /** Puts the rules back if another program has changed them. @returns whether it had to. @throws as {@link open} */
  repair(): Promise<boolean> {
    return this.#serially(async () => {
      if (this.#intact) return false;
      await this.#enforce({});
      return true;
    });
  }

  /** Takes the table away. */
  close(): Promise<void> {
    this.#table?.[Symbol.dispose]();
    this.removeAllListeners();
    return this.#serially(() => this.#remove({}));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #enforce(call: Call): Promise<void> {
    const input = this.#input;
    if (!isNeeded(input)) return this.#remove(call);
    this.#zones ??= await hasZones(call);
    this.#table ??= new OwnTable({
      table: tableName(input.ifId),
      onDisturbed: () => {
        this.#intact = false;
        this.tell('disturbed');
      },
      onError: (error) => this.tell('error', error),
    });
    const wasIntact = this.#intact;
    this.#intact = true; // whoever changes it from now on makes it uncertain again
    try {
      await this.#table.replace(ruleSet(input, this.#zones), call);
    } catch (error) {
      this.#intact &&= wasIntact;
      throw error;
    }
    this.#present = true;
  }

  async #remove(call: Call): Promise<void> {
    this.#intact = true;
    if (!this.#present) return;
    try {
      const rules = removal(tableName(this.#input.ifId));
      await (this.#table ? this.#table.replace(rules, call) : nft(rules, call));
    } catch (error) {
      // Without nft, or a kernel for it, there is no table either.
      if (!(error instanceof FirewallError)) throw error;
    }
    this.#present = false;
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
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

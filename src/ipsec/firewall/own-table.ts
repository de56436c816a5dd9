/**
 * One nftables table that this process owns: replaced as a whole, and watched for whoever else changes it.
 *
 * ```
 *  replace(text) ── nft, one transaction ──▶ kernel ── news ──▶ by an own transaction: nothing
 *                                                               by another: onDisturbed
 * ```
 */
import { TableMonitor } from './monitor.ts';
import { type NftOptions, nft, type RunNft } from './nft.ts';

export interface OwnTableOptions {
  readonly table: string;
  /** The program of this machine, in the network namespace of the process, if left out. */
  readonly run?: RunNft | undefined;
  /** Another program has changed or removed the table, or may have. */
  readonly onDisturbed: () => void;
  /** Changes by others are not heard of any more. */
  readonly onError: (error: Error) => void;
}

/** Transactions of which the kernel may still have to tell. */
const MAX_OWN = 8;

export class OwnTable implements Disposable {
  readonly #options: OwnTableOptions;
  readonly #monitor: TableMonitor;
  #tail: Promise<unknown> = Promise.resolve();
  /** The ports that own transactions went by, newest last. */
  #own: readonly number[] = [];
  #closed = false;

  /** Of the network namespace that the process is in. @throws NetlinkError as {@link TableMonitor} */
  constructor(options: OwnTableOptions) {
    this.#options = options;
    const { table, onError } = options;
    this.#monitor = new TableMonitor({ table, onChange: (port) => this.#changed(port), onError });
  }

  /**
   * @param rules what replaces the table, in one transaction
   * @throws FirewallError `ERR_NFT_MISSING`, `ERR_NFT_REFUSED`; nothing has changed then
   */
  replace(rules: string, call: Omit<NftOptions, 'check'> = {}): Promise<void> {
    const { run = nft } = this.#options;
    return this.#serially(async () => {
      this.#own = [...this.#own.slice(1 - MAX_OWN), await run(rules, call)];
    });
  }

  /** A transaction of our own that is under way is known by its port only when it is over. */
  #changed(port: number): void {
    const { onDisturbed, onError } = this.#options;
    this.#serially(async () => {
      if (!this.#closed && !this.#own.includes(port)) onDisturbed();
    }).catch(onError);
  }

  #serially(work: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }

  [Symbol.dispose](): void {
    this.#closed = true;
    this.#monitor[Symbol.dispose]();
  }
}

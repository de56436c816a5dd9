/**
 * The guard of one service in this machine's kernel: an nftables table of its own (`rules.ts` says what it holds).
 *
 * ```
 *  install ──▶ in force ── another program changes it ──▶ disturbed ──▶ install ──▶ … ──▶ remove
 * ```
 */
import { FirewallError } from '../firewall/errors.ts';
import { nft, type RunNft } from '../firewall/nft.ts';
import { OwnTable } from '../firewall/own-table.ts';
import { removal } from '../firewall/rules.ts';
import { noGuard } from './errors.ts';
import { type GuardInput, guardRules, guardTable } from './rules.ts';

interface Call {
  readonly signal?: AbortSignal | undefined;
}

export interface GuardOptions extends GuardInput {
  readonly run?: RunNft | undefined;
  /** Another program has changed the table: {@link Guard.repair} puts it back. */
  readonly onDisturbed: () => void;
  /** Changes by others are not heard of any more. */
  readonly onError: (error: Error) => void;
}

export class Guard implements Disposable {
  readonly #rules: string;
  readonly #ifId: number;
  readonly #table: OwnTable;
  #intact = false;

  /** Of the network namespace that the process is in. @throws FirewallError; NetlinkError */
  constructor({ run, onDisturbed, onError, ...input }: GuardOptions) {
    this.#rules = guardRules(input);
    this.#ifId = input.ifId;
    this.#table = new OwnTable({
      table: guardTable(input.ifId),
      run,
      onError,
      onDisturbed: () => {
        this.#intact = false;
        onDisturbed();
      },
    });
  }

  /**
   * Tries whether the kernel takes such a guard; changes nothing.
   *
   * @throws GuardError `ERR_NFT_MISSING`, `ERR_NFT_REFUSED`; the signal's reason
   */
  static async probe(input: GuardInput, call: Call = {}): Promise<void> {
    try {
      await nft(guardRules(input), { ...call, check: true });
    } catch (error) {
      throw error instanceof FirewallError ? noGuard(error) : error;
    }
  }

  /** In the place of one that an earlier run left. @throws as {@link probe} */
  async install(call: Call = {}): Promise<void> {
    this.#intact = true; // whoever changes it from now on makes it uncertain again
    try {
      await this.#table.replace(this.#rules, call);
    } catch (error) {
      this.#intact = false;
      throw error instanceof FirewallError ? noGuard(error) : error;
    }
  }

  /** Puts it back if another program has changed it. @returns whether it had to */
  async repair(): Promise<boolean> {
    if (this.#intact) return false;
    await this.install();
    return true;
  }

  /** @throws FirewallError; it stays then */
  async remove(): Promise<void> {
    await this.#table.replace(removal(guardTable(this.#ifId)));
  }

  [Symbol.dispose](): void {
    this.#table[Symbol.dispose]();
  }
}

/** Runs nft(8), which hands a whole rule set to the kernel in one transaction: all of it holds, or none. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { nftMissing, nftRefused } from './errors.ts';

const TIMEOUT_MS = 10_000;
/** Characters of what nft says that are shown. */
const MAX_SAID = 300;

export interface NftOptions {
  /** Only tries whether the kernel would take it. */
  readonly check?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** Hands rules to the kernel, as {@link nft} does. */
export type RunNft = (rules: string, options: NftOptions) => Promise<number>;

/**
 * @param rules in nft's own language
 * @returns the port of the netlink socket that they went by: the kernel gives a process its id
 * @throws FirewallError `ERR_NFT_MISSING`, `ERR_NFT_REFUSED`; nothing has changed then. The signal's reason, or a timeout after 10 s
 */
export async function nft(rules: string, { check = false, signal }: NftOptions): Promise<number> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  const child = spawn('nft', [...(check ? ['--check'] : []), '--file', '-'], {
    env: { LC_ALL: 'C', PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin` },
    stdio: ['pipe', 'ignore', 'pipe'],
    signal: signal ? AbortSignal.any([signal, limit]) : limit,
    killSignal: 'SIGKILL',
  });
  child.stdin.on('error', () => {}); // it ended before it had read all; its exit code tells
  child.stdin.end(rules);
  try {
    const [said] = await Promise.all([text(child.stderr), once(child, 'close')]);
    if (child.exitCode !== 0) throw nftRefused(said.trim().slice(0, MAX_SAID));
    return child.pid ?? 0;
  } catch (error) {
    signal?.throwIfAborted(); // with its own reason
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      throw nftMissing(error);
    }
    throw error;
  }
}

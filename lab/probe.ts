import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** What the product and its tests need of a kernel, and the command that only works if it is there. */
const FEATURES = {
  veth: 'ip link add veth0 type veth peer name veth1',
  'xfrm interfaces': 'ip link add xfrm0 type xfrm if_id 1',
  'ESP with AES-GCM':
    'ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 0x100 mode tunnel' +
    ` aead "rfc4106(gcm(aes))" 0x${'00'.repeat(36)} 128`,
  netem: 'tc qdisc add dev lo root netem delay 1ms',
  nftables: 'nft add table inet probe',
};

/** Prints the missing features, one a line, and leaves nothing behind. Needs root. */
export const PROBE: readonly string[] = [
  ...['unshare', '--net', 'sh', '-c'],
  Object.entries(FEATURES)
    .map(([feature, command]) => `${command} >&2 || echo '${feature}'`)
    .join('\n'),
];

/**
 * Finds out by trying, in a network namespace that goes with the process that made it, what this
 * machine's kernel lacks. Needs root.
 *
 * @returns the missing features; empty if the kernel is capable
 */
export async function missingKernelFeatures(signal: AbortSignal): Promise<string[]> {
  const [program = '', ...args] = PROBE;
  try {
    const { stdout } = await promisify(execFile)(program, args, { signal, timeout: 20_000 });
    return stdout.split('\n').filter(Boolean);
  } catch {
    signal.throwIfAborted();
    return ['network namespaces']; // or not the right to make them, as in most containers
  }
}

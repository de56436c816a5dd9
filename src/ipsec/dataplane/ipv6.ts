/** Whether a new interface can have an IPv6 address. */
import { readFileSync } from 'node:fs';
import { ipv6Off } from './errors.ts';

const SWITCH = 'net.ipv6.conf.default.disable_ipv6';
const PATH = `/proc/sys/${SWITCH.replaceAll('.', '/')}`;

/**
 * Not asynchronously: it is of the network namespace of the thread that reads.
 *
 * @throws DataPlaneError `ERR_IPV6_OFF`
 */
export function checkIpv6(): void {
  let text: string;
  try {
    text = readFileSync(PATH, 'utf8');
  } catch {
    const remedy = 'Boot without ipv6.disable=1, with a kernel that has IPv6.';
    throw ipv6Off('the kernel was started with ipv6.disable=1, or has none', remedy);
  }
  if (text.trim() === '0') return;
  throw ipv6Off(
    `${SWITCH} is ${text.trim()}`,
    `Run sysctl -w ${SWITCH}=0, in a container at its start (--sysctl ${SWITCH}=0); other interfaces stay as they are.`,
  );
}

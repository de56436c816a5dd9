/**
 * ESP and its key exchange beside strongSwan's, in the same kernel, run and namespaces.
 *
 *   node benchmarks/ipsec/main.ts [rounds]
 *
 * Runs `inside.ts` in the lab, where the kernel has ESP, after installing strongSwan and iperf3.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { ensurePackages, type SystemPackage } from '../../lab/packages.ts';

const PLUGINS = '/usr/lib/ipsec/plugins/libstrongswan';
const PACKAGES: readonly SystemPackage[] = [
  { name: 'iperf3', brings: 'iperf3', purpose: 'measures throughput' },
  { name: 'charon-systemd', brings: 'charon-systemd', purpose: 'the IKEv2 daemon to compare with' },
  { name: 'strongswan-swanctl', brings: 'swanctl', purpose: 'configures that daemon' },
  {
    name: 'libstrongswan-standard-plugins',
    brings: `${PLUGINS}-openssl.so`,
    purpose: 'its cryptography by OpenSSL',
  },
];

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

await ensurePackages(PACKAGES, (line) => console.error(line), AbortSignal.timeout(300_000));
const command = [process.execPath, path('inside.ts'), ...process.argv.slice(2)];
const lab = spawn(process.execPath, [path('../../lab/main.ts'), '--', ...command], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
const [code] = await once(lab, 'exit');
process.exitCode = code ?? 1;

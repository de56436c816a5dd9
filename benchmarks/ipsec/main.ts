/**
 * ESP and its key exchange beside strongSwan's, in the same kernel, run and namespaces.
 *
 *   node benchmarks/ipsec/main.ts [rounds]
 *
 * Runs `inside.ts` in the lab, where the kernel has ESP, after installing strongSwan and iperf3.
 */
import { ensurePackages, type SystemPackage } from '../../lab/packages.ts';
import { runInLab } from '../in-lab.ts';

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

await ensurePackages(PACKAGES, (line) => console.error(line), AbortSignal.timeout(300_000));
process.exitCode = await runInLab(new URL('inside.ts', import.meta.url), process.argv.slice(2));

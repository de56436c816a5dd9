/**
 * Makes cloud-init user data that brings a VM into a service at its first boot:
 *
 *     node examples/vm-bootstrap/user-data.ts shop.json --role web > user-data.yaml
 *
 * Give the result to your cloud as the VM's user data. It holds the bootstrap data, a secret; with a
 * ticket (`icvpn service ticket`) in place of the service's own, a copy of it is worth nothing once the
 * VM is up.
 *
 * ```
 * first boot  cloud-init writes the bootstrap data (0600, root) and a systemd unit
 *             icvpn is installed, the unit started: admitted, bootstrap data into the secure cache
 *             the file is removed; every later boot needs only the cache
 * ```
 *
 * JSON is YAML (YAML 1.2, section 1.3), so no library is needed to write it.
 */
import { parseArgs } from 'node:util';
import { readBootstrap } from '../../src/owner/files.ts';
import { formatBootstrap } from '../../src/records/bootstrap.ts';

const BOOTSTRAP = '/etc/icvpn/bootstrap.json';
const STATE = '/var/lib/icvpn/member';

/** @param bootstrap the text of the bootstrap data */
export function userData(bootstrap: string, roles: readonly string[]): string {
  const role = roles.map((each) => ` --role ${quote(each)}`).join('');
  const up = `icvpn up --foreground --state ${STATE} --vmid "$(cloud-init query instance_id)"${role}`;
  const unit = [
    '[Unit]',
    'Description=icvpn member',
    'Wants=network-online.target',
    'After=network-online.target',
    '[Service]',
    `ExecStart=/usr/local/sbin/icvpn-member`,
    'Restart=on-failure',
    'RestartSec=2',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ].join('\n');
  const script = [
    '#!/bin/sh',
    `if [ -e ${BOOTSTRAP} ]; then set -- --bootstrap ${BOOTSTRAP}; else set --; fi`,
    `exec ${up} "$@"`,
    '',
  ].join('\n');
  const files = [
    { path: BOOTSTRAP, permissions: '0600', owner: 'root:root', content: bootstrap },
    { path: '/etc/systemd/system/icvpn.service', permissions: '0644', content: unit },
    { path: '/usr/local/sbin/icvpn-member', permissions: '0755', content: script },
  ];
  const config = {
    packages: ['npm', 'iproute2', 'nftables'],
    write_files: files,
    runcmd: [
      ['npm', 'install', '--global', 'n', 'icvpn'],
      ['n', '24'],
      ['systemctl', 'enable', '--now', 'icvpn.service'],
      // Once it answers, the bootstrap data is in the secure cache.
      ['sh', '-c', `until icvpn status --state ${STATE}; do sleep 1; done && rm -f ${BOOTSTRAP}`],
    ],
  };
  return `#cloud-config\n${JSON.stringify(config, undefined, 2)}\n`;
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

if (import.meta.main) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { role: { type: 'string', multiple: true, default: [] } },
  });
  const [file] = positionals;
  if (file === undefined || positionals.length > 1) {
    process.stderr.write('usage: user-data.ts BOOTSTRAP.json [--role ROLE]...\n');
    process.exitCode = 2;
  } else {
    process.stdout.write(userData(formatBootstrap(await readBootstrap(file)), values.role));
  }
}

/**
 * Makes cloud-init user data that brings a VM into a service at its first boot:
 *
 *     node examples/vm-bootstrap/user-data.ts shop.json --role web \
 *       --package https://example.com/icvpn-0.1.0.tgz --sha256 HEX > user-data.yaml
 *
 * icvpn is in no package registry yet: whoever registers that name there first would get root and the secret on
 * every VM. So the package comes from a place of yours (`npm pack` makes it), and its hash is checked
 * before anything of it runs. A URL of `file:` takes it from the VM's image.
 *
 * Give the result to your cloud as the VM's user data. It holds the bootstrap data, a secret; with a
 * ticket (`icvpn service ticket`) in place of the service's own, a copy of it is worth nothing once the
 * VM is up.
 *
 * ```
 * first boot  cloud-init writes the bootstrap data (0600, root) and a systemd unit
 *             icvpn is fetched, its hash checked, installed; the unit is started: admitted, bootstrap
 *             data into the secure cache
 *             the file is removed; every later boot needs only the cache
 *             whatever fails, also no admission within two minutes, fails cloud-init's last stage
 * ```
 *
 * JSON is YAML (YAML 1.2, section 1.3), so no library is needed to write it.
 */
import { parseArgs } from 'node:util';
import { readBootstrap } from '../../src/owner/files.ts';
import { formatBootstrap } from '../../src/records/bootstrap.ts';

const BOOTSTRAP = '/etc/icvpn/bootstrap.json';
const STATE = '/var/lib/icvpn/member';

/** Where a VM gets icvpn from. */
export interface PackageSource {
  /** Of a tar archive as `npm pack` makes it; `https:` or `file:`. */
  readonly url: string;
  /** 64 hexadecimal digits, of the archive. */
  readonly sha256: string;
}

/**
 * @param bootstrap the text of the bootstrap data
 * @throws RangeError for a URL that is not `https:` or `file:`, or for what is no SHA-256
 */
export function userData(
  bootstrap: string,
  roles: readonly string[],
  { url, sha256 }: PackageSource,
): string {
  if (!/^(https|file):/.test(url))
    throw new RangeError(`the package's URL begins with https: or file:, not ${url}`);
  if (!/^[0-9a-f]{64}$/.test(sha256))
    throw new RangeError('a SHA-256 has 64 hexadecimal digits, a to f small');
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
  const install = [
    '#!/bin/sh',
    'set -e',
    'package=$(mktemp --suffix=.tgz)',
    `trap 'rm -f "$package"' EXIT`,
    `curl --fail --silent --show-error --location --retry 10 --output "$package" ${quote(url)}`,
    `echo "${sha256}  $package" | sha256sum --check --quiet -`,
    'npm install --global n',
    'n 24',
    'hash -r',
    'npm install --global "$package"',
    'systemctl enable --now icvpn.service',
    '# A member answers as one once it is admitted: then the bootstrap data is in the secure cache.',
    `timeout 120 sh -c 'until icvpn status --state ${STATE} --json | grep -q "\\"member\\""; do sleep 1; done'`,
    `rm -f ${BOOTSTRAP}`,
    '',
  ].join('\n');
  const files = [
    { path: BOOTSTRAP, permissions: '0600', owner: 'root:root', content: bootstrap },
    { path: '/etc/systemd/system/icvpn.service', permissions: '0644', content: unit },
    { path: '/usr/local/sbin/icvpn-member', permissions: '0755', content: script },
    { path: '/usr/local/sbin/icvpn-install', permissions: '0755', content: install },
  ];
  const config = {
    packages: ['curl', 'npm', 'iproute2', 'nftables'],
    write_files: files,
    runcmd: [['/usr/local/sbin/icvpn-install']],
  };
  return `#cloud-config\n${JSON.stringify(config, undefined, 2)}\n`;
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;

if (import.meta.main) {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: {
      role: { type: 'string', multiple: true, default: [] },
      package: { type: 'string' },
      sha256: { type: 'string' },
    },
  });
  const [file] = positionals;
  const { role, package: url, sha256 } = values;
  if (file === undefined || positionals.length > 1 || url === undefined || sha256 === undefined) {
    process.stderr.write(
      'usage: user-data.ts BOOTSTRAP.json --package URL --sha256 HEX [--role ROLE]...\n',
    );
    process.exitCode = 2;
  } else {
    const text = formatBootstrap(await readBootstrap(file));
    process.stdout.write(userData(text, role, { url, sha256 }));
  }
}

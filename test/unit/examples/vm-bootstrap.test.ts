import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { userData } from '../../../examples/vm-bootstrap/user-data.ts';
import { formatBootstrap, parseBootstrap } from '../../../src/records/bootstrap.ts';

const run = promisify(execFile);
const id = peerIdFromPrivateKey(await generateKeyPair('Ed25519')).toString();
const bootstrap = formatBootstrap(
  parseBootstrap(
    JSON.stringify({
      icvpn: 1,
      serviceId: id,
      name: "owner's shop",
      superPeers: [`/ip4/192.0.2.1/tcp/4242/p2p/${id}`],
      secret: 'a secret of people, with "quotes"',
    }),
  ),
);

const source = { url: 'https://example.com/icvpn.tgz', sha256: 'ab'.repeat(32) };

describe('VM bootstrap example', () => {
  it('hands the bootstrap data on unchanged, for root alone', () => {
    const [head, ...rest] = userData(bootstrap, ['web'], source).split('\n');
    assert.equal(head, '#cloud-config');
    const { write_files: files } = JSON.parse(rest.join('\n'));
    const file = files.find(({ path }: { path: string }) => path.endsWith('bootstrap.json'));
    assert.equal(file.content, bootstrap);
    assert.equal(file.permissions, '0600');
  });

  it('writes a start script that a shell parses, whatever the roles are called', async () => {
    const { write_files: files } = JSON.parse(
      userData(bootstrap, ["d'b", '$(reboot)'], source).slice(14),
    );
    const script = files.find(({ path }: { path: string }) => path.endsWith('icvpn-member'));
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-example-'));
    try {
      const file = join(dir, 'script');
      const shown = 'icvpn() { for each; do echo "<$each>"; done; }; cloud-init() { echo i-1; }\n';
      await writeFile(file, shown + script.content.replace('exec icvpn', 'icvpn'));
      const { stdout } = await run('bash', [file]);
      assert.match(stdout, /<--role>\n<d'b>\n<--role>\n<\$\(reboot\)>/);
      assert.match(stdout, /<--vmid>\n<i-1>/);
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('installs nothing whose hash is not the one that was given', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-example-'));
    try {
      const archive = join(dir, 'icvpn.tgz');
      await writeFile(archive, 'not what was meant');
      const url = `file://${archive}`;
      const script = async (sha256: string): Promise<string> => {
        const data = JSON.parse(userData(bootstrap, [], { url, sha256 }).slice(14));
        assert.deepEqual(data.runcmd, [['/usr/local/sbin/icvpn-install']]);
        const install = data.write_files.find(({ path }: { path: string }) =>
          path.endsWith('icvpn-install'),
        );
        // What the VM has and this machine need not have says that it was called.
        const stubs = ['npm', 'n', 'systemctl', 'icvpn', 'timeout', 'rm']
          .map((name) => `${name}() { echo "${name} $*"; }`)
          .join('\n');
        const file = join(dir, 'install');
        await writeFile(file, install.content.replace('set -e', `set -e\n${stubs}`));
        return (await run('bash', [file])).stdout;
      };
      const right = createHash('sha256').update('not what was meant').digest('hex');
      assert.match(await script(right), /npm install --global .*\.tgz/);
      await assert.rejects(script(source.sha256), (error: Error & { stdout?: string }) => {
        assert.doesNotMatch(error.stdout ?? '', /npm install/);
        return true;
      });
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('takes no package without a hash, nor one that comes in clear', () => {
    assert.throws(() => userData(bootstrap, [], { ...source, sha256: 'ab' }), RangeError);
    assert.throws(() => userData(bootstrap, [], { ...source, url: 'http://x/y' }), RangeError);
    const named = userData(bootstrap, [], source).match(/npm install --global \S+?(?=\\n)/g);
    assert.deepEqual(named, ['npm install --global n', 'npm install --global \\"$package\\"']);
  });
});

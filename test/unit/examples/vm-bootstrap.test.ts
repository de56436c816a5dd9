import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
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

describe('VM bootstrap example', () => {
  it('hands the bootstrap data on unchanged, for root alone', () => {
    const [head, ...rest] = userData(bootstrap, ['web']).split('\n');
    assert.equal(head, '#cloud-config');
    const { write_files: files } = JSON.parse(rest.join('\n'));
    const file = files.find(({ path }: { path: string }) => path.endsWith('bootstrap.json'));
    assert.equal(file.content, bootstrap);
    assert.equal(file.permissions, '0600');
  });

  it('writes a start script that a shell parses, whatever the roles are called', async () => {
    const { write_files: files } = JSON.parse(userData(bootstrap, ["d'b", '$(reboot)']).slice(14));
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
});

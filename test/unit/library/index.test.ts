import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as icvpn from '../../../src/index.ts';

const packageFile = new URL('../../../package.json', import.meta.url);

describe('library', () => {
  it('exports, for every entry of the package, a source file that loads', async () => {
    const { exports } = JSON.parse(await readFile(packageFile, 'utf8'));
    for (const { types, import: entry } of Object.values<{ types: string; import: string }>(
      exports,
    )) {
      assert.equal(types.replace(/\.d\.ts$/, '.js'), entry);
      const source = entry.replace('./dist/', './src/').replace(/\.js$/, '.ts');
      const loaded = await import(new URL(source, packageFile).href);
      assert.ok(Object.keys(loaded).length > 0, entry);
    }
  });

  it('makes a service from a super-peer’s card', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'icvpn-library-'));
    try {
      await using state = await icvpn.NodeState.open(join(dir, 'sp'), {});
      const card = await icvpn.openCard(
        await icvpn.makeCard(state, [icvpn.parseTcpMultiaddr('/ip4/127.0.0.1/tcp/4242')]),
      );
      const { descriptor, bootstrap } = await icvpn.createService({
        dir: join(dir, 'shop'),
        name: 'shop',
        superPeers: [card],
        ipv4Prefix: { network: '100.64.0.0', length: 16 },
        credentialLifetime: 3600,
        signal: AbortSignal.timeout(30_000),
      });
      assert.ok(descriptor.signer.equals(bootstrap.serviceId));
      const read = icvpn.parseBootstrap(icvpn.formatBootstrap(bootstrap));
      assert.ok(read.superPeers[0]?.peerId.equals(state.peerId));
      const kept = await icvpn.readDescriptor(join(dir, 'shop'));
      assert.ok(Buffer.from(kept.bytes).equals(descriptor.bytes));
    } finally {
      await rm(dir, { recursive: true });
    }
  });

  it('is what its documentation shows', async () => {
    const text = await readFile(new URL('../../../src/index.ts', import.meta.url), 'utf8');
    const names = /import \{ (.*) \} from 'icvpn'/.exec(text)?.[1]?.split(', ') ?? [];
    assert.ok(names.length > 0);
    for (const name of names) assert.ok(name in icvpn, `${name}`);
  });
});

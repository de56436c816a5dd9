import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

// The package as npm packs it, installed in a program that is not ours. Needs `npm run build`.

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('../../', import.meta.url));

const PROGRAM = `
import { type AttributeKey, decrypt, encrypt, generateKey, initAbe, satisfies, setup } from 'icvpn/abe';

await initAbe();
const { publicKey, masterKey } = setup();
const policy: string = 'ServiceID: shop and not role: guest';
const ciphertext: Uint8Array = encrypt(publicKey, policy, new TextEncoder().encode('10.0.0.7'));
const read = (key: AttributeKey): string => {
  try {
    return new TextDecoder().decode(decrypt(key, ciphertext));
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'another error';
  }
};
for (const role of ['db', 'guest']) {
  const attributes = { ServiceID: 'shop', role };
  console.log(role, satisfies(policy, attributes), read(generateKey(masterKey, attributes)));
}
`;

const CONFIGURATION = {
  compilerOptions: {
    ...{ module: 'nodenext', target: 'es2024', strict: true, exactOptionalPropertyTypes: true },
    ...{ skipLibCheck: false, types: [], lib: ['es2024', 'dom'] },
  },
  files: ['main.ts'],
};

describe('the packed package', () => {
  let dir: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-package-'));
    const { dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8'));
    const modules = join(dir, 'node_modules');
    for (const name of Object.keys(dependencies)) {
      await mkdir(dirname(join(modules, name)), { recursive: true });
      await symlink(join(ROOT, 'node_modules', name), join(modules, name));
    }
    const pack = ['pack', '--ignore-scripts', '--json', '--pack-destination', dir];
    const [{ filename }] = JSON.parse((await run('npm', pack, { cwd: ROOT })).stdout);
    const target = join(modules, 'icvpn');
    await mkdir(target);
    const unpack = ['-xzf', join(dir, filename), '-C', target, '--strip-components=1'];
    await run('tar', unpack);
    await writeFile(join(dir, 'package.json'), JSON.stringify({ type: 'module' }));
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(CONFIGURATION));
    await writeFile(join(dir, 'main.ts'), PROGRAM);
  });
  after(() => rm(dir, { recursive: true }));

  it('icvpn/abe has types that a strict program compiles against', async () => {
    const tsc = join(ROOT, 'node_modules/typescript/bin/tsc');
    await run(process.execPath, [tsc, '-p', dir]).catch(({ stdout }) => assert.fail(stdout));
    const compiled = await readFile(join(dir, 'main.js'), 'utf8');
    assert.match(compiled, /from 'icvpn\/abe'/);
  });

  it('icvpn/abe works in it: who satisfies the policy reads, who does not gets an error with a code', async () => {
    const { stdout } = await run(process.execPath, [join(dir, 'main.ts')]);
    assert.equal(stdout, 'db true 10.0.0.7\nguest false ERR_ABE_UNSATISFIED\n');
  });

  it('what must not be imported cannot be', async () => {
    const file = join(dir, 'inside.mjs');
    await writeFile(file, "await import('icvpn/dist/keymgmt/abe/kem.js');");
    await assert.rejects(run(process.execPath, [file]), /ERR_PACKAGE_PATH_NOT_EXPORTED/);
  });
});

/**
 * From `icvpn revoke` until the kernel of the last member has no SA with the revoked one: every member a daemon
 * in a network of its own, as `xfrm monitor` of each sees it. Prints JSON.
 *
 *     node benchmarks/overlay/revoke-sas.ts [members=50] [times=3]
 *
 * Builds the command line and runs `revoke-sas-inside.ts` in the lab, where the kernel has ESP.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/** For 50 daemons. */
const GUEST_MEMORY = '12G';

async function run(command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) process.exit(code ?? 1);
}

const path = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));
await run('npm', ['--prefix', path('../..'), 'run', '--silent', 'build']);
const inside = [process.execPath, path('revoke-sas-inside.ts'), ...process.argv.slice(2)];
await run(process.execPath, [path('../../lab/main.ts'), '--memory', GUEST_MEMORY, '--', ...inside]);

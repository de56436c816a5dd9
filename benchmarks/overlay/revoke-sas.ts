/**
 * From `icvpn revoke` until the kernel of the last member has no SA with the revoked one: every member a daemon
 * in a network of its own, as `xfrm monitor` of each sees it. Prints JSON.
 *
 *     node benchmarks/overlay/revoke-sas.ts [members=50] [times=3]
 *
 * Builds the command line and runs `revoke-sas-inside.ts` in the lab, where the kernel has ESP.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { runInLab } from '../in-lab.ts';

/** For 50 daemons. */
const MEMORY = ['--memory', '12G'];

const project = fileURLToPath(new URL('../..', import.meta.url));
execFileSync('npm', ['run', '--silent', 'build'], { cwd: project, stdio: 'inherit' });
const inside = new URL('revoke-sas-inside.ts', import.meta.url);
process.exitCode = await runInLab(inside, process.argv.slice(2), MEMORY);

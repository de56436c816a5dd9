/** Benchmarks that need a kernel with ESP: a second program of theirs runs where there is one. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const LAB = fileURLToPath(new URL('../lab/main.ts', import.meta.url));

/**
 * Hands on what the program prints.
 *
 * @param args of the program
 * @param options of the lab
 * @returns the program's exit code
 */
export async function runInLab(
  program: URL,
  args: readonly string[],
  options: readonly string[] = [],
): Promise<number> {
  const command = [...options, '--', process.execPath, fileURLToPath(program), ...args];
  const lab = spawn(process.execPath, [LAB, ...command], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  const [code] = await once(lab, 'exit');
  return code ?? 1;
}

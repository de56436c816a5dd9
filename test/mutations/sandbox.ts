/** A copy of the project in a temporary directory, where a mutation can do no harm. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { type Mutation, mutated, type Place } from './mutation.ts';

const run = promisify(execFile);
/** A mutation may make a test wait for what never comes; mocha's own limits end most of them. */
const LIMIT_MS = 10 * 60_000;

/** What a run of mocha told. */
export interface Outcome {
  readonly passed: number;
  /** Titles of the tests that failed. */
  readonly failed: readonly string[];
  /** The end of what was printed, to be shown where no test ran. */
  readonly output: string;
}

/** The tests of several files, in one place. */
export interface TestRun {
  readonly place: Place;
  readonly tests: readonly string[];
  readonly grep?: string | undefined;
  readonly bail: boolean;
}

export class Sandbox implements AsyncDisposable {
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** @param project the directory to copy: what git tracks or would track */
  static async create(project: string): Promise<Sandbox> {
    const root = await mkdtemp(join(tmpdir(), 'icvpn-mutate-'));
    const list = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
    const { stdout } = await run('git', list, { cwd: project, maxBuffer: 2 ** 26 });
    for (const file of stdout.split('\0').filter((each) => each !== '')) {
      await mkdir(dirname(join(root, file)), { recursive: true });
      await cp(join(project, file), join(root, file)).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error; // deleted, and not committed yet
      });
    }
    await symlink(join(project, 'node_modules'), join(root, 'node_modules'));
    return new Sandbox(root);
  }

  /** Runs `work` with the mutation in place. @throws RangeError when its text is not there once */
  async with<T>(mutation: Mutation, work: () => Promise<T>): Promise<T> {
    const path = join(this.#root, mutation.file);
    const source = await readFile(path, 'utf8');
    await writeFile(path, mutated(source, mutation));
    try {
      return await work();
    } finally {
      await writeFile(path, source);
    }
  }

  async test({ place, tests, grep, bail }: TestRun): Promise<Outcome> {
    if (place === 'e2e') await this.#node(['node_modules/.bin/tsc', '-p', 'tsconfig.build.json']);
    const report = join(this.#root, 'report.json');
    await rm(report, { force: true });
    const mocha = [
      ...['node_modules/mocha/bin/mocha.js', '--reporter', 'json'],
      ...['--reporter-option', `output=${report}`, ...(bail ? ['--bail'] : [])],
      ...(grep === undefined ? [] : ['--grep', grep]),
    ];
    const lab = ['lab/main.ts', '--rw', this.#root, '--', 'node', ...mocha];
    const output = await this.#node(
      place === 'unit' ? [...mocha, ...tests] : [...lab, '--config', '.mocharc.lab.json', ...tests],
    );
    const text = await readFile(report, 'utf8').catch(() => '');
    return text === '' ? { passed: 0, failed: [], output } : { ...parse(text), output };
  }

  /** @returns the end of what it printed, whatever its exit code */
  async #node(args: readonly string[]): Promise<string> {
    const options = { cwd: this.#root, timeout: LIMIT_MS, maxBuffer: 2 ** 26 };
    const said = await run(process.execPath, args, options).catch((error: unknown) => {
      if (error instanceof Error && 'stdout' in error && 'stderr' in error) return error;
      throw error;
    });
    return `${said.stdout}${said.stderr}`.slice(-2_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }
}

function parse(text: string): { passed: number; failed: string[] } {
  const report: unknown = JSON.parse(text);
  const list = (name: 'passes' | 'failures'): string[] => {
    if (typeof report !== 'object' || report === null || !(name in report)) return [];
    const tests: unknown = Reflect.get(report, name);
    return Array.isArray(tests)
      ? tests.map((each: { fullTitle?: unknown }) => `${each.fullTitle}`)
      : [];
  };
  return { passed: list('passes').length, failed: list('failures') };
}

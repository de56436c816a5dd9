import { deepEqual, doesNotThrow, equal, match } from 'node:assert/strict';
import type { Command, Option } from 'commander';
import { makeProgram } from '../../../src/cli/program.ts';
import { PAGES, read } from './pages.ts';

/** Options of other programs that the pages name. */
const FOREIGN = new Set([
  ...['--help', '--version', '--package', '--sha256'],
  ...['--expose-gc', '--global', '--silent', '--sysctl'],
]);
/** Pages about the project's own programs. */
const OF_PROJECT = ['docs/testing.md', 'docs/benchmarks.md'];
/** What pages say of an option that is left out, and where the code has it. */
const STATED: readonly [page: string, command: string, option: string, sentence: RegExp][] = [
  ['docs/operations.md', 'super-peer run', '--listen', /TCP (\d+) \(`--listen`\)/g],
  ['docs/operations.md', 'up', '--listen', /TCP (\d+) \(`--listen`\)/g],
  ['docs/operations.md', 'up', '--interface', /`(icvpn\d+)`/g],
  ['docs/operations.md', 'up', '--state', /member: `([^`]+)`/g],
  ['docs/operations.md', 'super-peer run', '--state', /super-peer: `([^`]+)`/g],
  ['docs/addresses.md', 'service create', '--ipv4', /The default is \*\*([^*]+)\*\*/g],
];

interface Leaf {
  readonly command: string;
  readonly options: ReadonlyMap<string, Option>;
}

function leaves(command: Command, words: readonly string[] = []): Leaf[] {
  if (command.commands.length > 0) {
    return command.commands.flatMap((each) => leaves(each, [...words, each.name()]));
  }
  const options = new Map(command.options.map((each) => [each.long ?? '', each]));
  return [{ command: words.join(' '), options }];
}

/** Each command line of icvpn in a page: in a block of code, or in backquotes. */
function commandLines(text: string): string[] {
  const joined = text.replaceAll(/\\\n\s*/g, ' ');
  const blocks = [...joined.matchAll(/^```[^\n]*\n([\s\S]*?)^```/gm)].flatMap(([, code = '']) =>
    code.split('\n'),
  );
  const inline = [...joined.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/`([^`]+)`/g)];
  const all = [...blocks, ...inline.map(([, code = '']) => code)];
  // Behind several blanks is what the line does.
  return all.flatMap((line) => /^(?:sudo )?(icvpn [a-z].*)$/.exec(line.trim())?.[1] ?? []);
}

describe('options', () => {
  let all: readonly Leaf[];
  let help: (words: string) => Promise<string>;

  before(async () => {
    let printed = '';
    const take = (text: string): void => {
      printed += text;
    };
    const output = { out: take, err: () => {} };
    const program = await makeProgram({ output, signal: AbortSignal.timeout(60_000) });
    all = leaves(program);
    help = async (words) => {
      printed = '';
      const args = [...words.split(' '), '--help'];
      await program.parseAsync(args, { from: 'user' }).catch(() => {});
      return printed.replaceAll(/\s+/g, ' ');
    };
  });

  const commandOf = (line: string): Leaf | undefined =>
    all.find(({ command }) => `${line} `.startsWith(`icvpn ${command} `));

  for (const page of PAGES) {
    it(`of commands in ${page} are there`, () => {
      for (const line of commandLines(read(page))) {
        const found = commandOf(line);
        const named = line.match(/(?<![\w-])--[a-z][a-z0-9-]*/g) ?? [];
        if (found === undefined) {
          // A group of commands, such as `icvpn service`, has no options.
          deepEqual(named, [], `${page}: ${line}`);
          continue;
        }
        for (const each of named) {
          equal(found.options.has(each) || each === '--help', true, `${page}: ${each} in ${line}`);
        }
      }
    });

    if (OF_PROJECT.includes(page)) continue;
    it(`that ${page} names by themselves are some command's`, () => {
      for (const [each] of read(page).matchAll(/(?<![\w-])--[a-z][a-z0-9-]*/g)) {
        const known = FOREIGN.has(each) || all.some(({ options }) => options.has(each));
        equal(known, true, `${page}: ${each}`);
      }
    });
  }

  it('have the defaults that pages state', () => {
    for (const [page, command, option, sentence] of STATED) {
      const found = all.find((each) => each.command === command)?.options.get(option);
      const values = [found?.defaultValueDescription ?? found?.defaultValue].flat().map(String);
      const stated = [...read(page).matchAll(sentence)].map((each) => each[1] ?? '');
      equal(stated.length > 0, true, `${page} says nothing of ${option}`);
      for (const each of stated) {
        const own = values.map((value) =>
          option === '--listen' ? value.split('/').at(-1) : value,
        );
        equal(own.includes(each), true, `${page}: ${option} is ${values}, not ${each}`);
      }
    }
  });

  it('take each default that their help prints', async () => {
    let count = 0;
    for (const { command, options } of all) {
      const text = await help(command);
      for (const [, printed = ''] of text.matchAll(/default: ([^;)]+)/g)) {
        const owner = [...options.values()].find((each) =>
          text.includes(`${each.description} (default: ${printed})`),
        );
        match(printed, /^[^[{"]/, `${command}: ${printed}`);
        for (const value of printed.split(' and ')) {
          doesNotThrow(() => owner?.parseArg?.(value, undefined), `${command}: ${value}`);
          count++;
        }
        equal(
          owner?.required,
          true,
          `${command}: (default: ${printed}) of an option without value`,
        );
      }
    }
    equal(count > 15, true, String(count));
  });

  it('have no page that a person cannot find: every command is in one', () => {
    const lines = PAGES.flatMap((page) => commandLines(read(page)));
    const named = new Set(lines.map((line) => commandOf(line)?.command));
    const missing = all.map(({ command }) => command).filter((each) => !named.has(each));
    deepEqual(missing, []);
  });
});

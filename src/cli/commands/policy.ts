/** `icvpn policy`: what a service's members may send each other. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { parsePolicy } from '../../policy/document.ts';
import { failingTests, readPolicy } from '../../policy/embedded-tests.ts';
import { askDaemon } from '../ask.ts';
import { DEFAULT_MEMBER_STATE, jsonOption, serviceDirOption, stateOption } from '../options.ts';
import { print } from '../output.ts';
import type { CliContext } from '../program.ts';
import { policyText } from '../status.ts';
import { publicationsText } from './service.ts';

const TIMEOUT_MS = 10_000;

export function addPolicyCommands(program: Command, context: CliContext): void {
  const policy = program.command('policy').description('what members may send each other');
  policy
    .command('check')
    .description('read a policy and run the tests in it, without publishing it')
    .argument('<file>', 'JSON; docs/policy.md shows its shape')
    .addOption(jsonOption())
    .action((file: string, { json }: { json: boolean }) => check(file, json, context));
  policy
    .command('publish')
    .description('sign a policy whose tests hold and hand it to the super-peers; members follow')
    .argument('<file>', 'JSON; docs/policy.md shows its shape')
    .addOption(serviceDirOption())
    .addOption(jsonOption())
    .action((file: string, options: { dir: string; json: boolean }) =>
      publish(file, options, context),
    );
  policy
    .command('show')
    .description('the policy that the member of a state directory applies')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(jsonOption())
    .action((options: { state: string; json: boolean }) => show(options, context));
}

async function check(file: string, json: boolean, { output }: CliContext): Promise<void> {
  const raw = Uint8Array.from(await readFile(file));
  const document = parsePolicy(raw);
  const failures = failingTests(document);
  const { rules, routes, tests } = document;
  const counts = { rules: rules?.length ?? null, routes: routes.length, tests: tests.length };
  print(output, json, { ...counts, failures }, () =>
    [
      `${rules === undefined ? 'no' : rules.length} rules, ${routes.length} routes, ${tests.length} tests`,
      ...failures.map(({ test, reason }) => `tests[${test}] fails: ${reason}`),
    ].join('\n'),
  );
  readPolicy(raw);
}

async function publish(
  file: string,
  { dir, json }: { dir: string; json: boolean },
  { output, signal }: CliContext,
): Promise<void> {
  const { readDescriptor } = await import('../../owner/directory.ts');
  const { signPolicy } = await import('../../owner/policy.ts');
  const { publishAtAll } = await import('../../daemon/publish.ts');
  const { POLICY_RECORD } = await import('../../overlay/stored-kinds.ts');
  const service = (await readDescriptor(dir)).value;
  const { value, bytes } = await signPolicy(dir, Uint8Array.from(await readFile(file)));
  const published = await publishAtAll(service, POLICY_RECORD, bytes, { signal });
  const { sequence } = value;
  print(output, json, { sequence, published }, () =>
    [`policy ${sequence}`, publicationsText(published)].join('\n'),
  );
}

async function show(
  { state, json }: { state: string; json: boolean },
  context: CliContext,
): Promise<void> {
  const question = { state, command: 'policy', timeoutMs: TIMEOUT_MS };
  const status = await askDaemon(question, context);
  print(context.output, json, status, policyText);
}

/** `icvpn policy`: what a service's members may send each other. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { type PolicyDocument, parsePolicy } from '../../policy/document.ts';
import { failingTests, readPolicy } from '../../policy/embedded-tests.ts';
import { checkRoutes } from '../../policy/routes.ts';
import { askDaemon } from '../ask.ts';
import { DEFAULT_MEMBER_STATE, jsonOption, serviceDirOption, stateOption } from '../options.ts';
import { print, sequenceText } from '../output.ts';
import {
  asking,
  assertWhole,
  offlineOption,
  type PublishOptions,
  publish,
  publishedOr,
  waitOption,
} from '../owner.ts';
import type { CliContext } from '../program.ts';
import { policyText } from '../status.ts';

const TIMEOUT_MS = 10_000;

interface CheckOptions {
  readonly dir?: string;
  readonly json: boolean;
}

interface SignOptions extends PublishOptions {
  readonly offline: boolean;
}

export function addPolicyCommands(program: Command, context: CliContext): void {
  const policy = program.command('policy').description('what members may send each other');
  policy
    .command('check')
    .description('read a policy and run the tests in it, without publishing it')
    .argument('<file>', 'JSON; docs/policy.md shows its shape')
    .option(
      '--dir <dir>',
      "directory of the service's owner: routes are held against its addresses",
    )
    .addOption(jsonOption())
    .action((file: string, options: CheckOptions) => check(file, options, context));
  policy
    .command('publish')
    .description('sign a policy whose tests hold and hand it to the super-peers; members follow')
    .argument('<file>', 'JSON; docs/policy.md shows its shape')
    .addOption(serviceDirOption())
    .addOption(offlineOption())
    .addOption(waitOption())
    .addOption(jsonOption())
    .action((file: string, options: SignOptions) => signAndPublish(file, options, context));
  policy
    .command('show')
    .description('the policy that the member of a state directory applies')
    .addOption(stateOption(DEFAULT_MEMBER_STATE))
    .addOption(jsonOption())
    .action((options: { state: string; json: boolean }) => show(options, context));
}

async function check(
  file: string,
  { dir, json }: CheckOptions,
  { output }: CliContext,
): Promise<void> {
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
  if (dir !== undefined) await checkAgainst(dir, document);
}

/** @throws PolicyError when it routes addresses of the service */
async function checkAgainst(dir: string, document: PolicyDocument): Promise<void> {
  const { readDescriptor } = await import('../../owner/directory.ts');
  const { virtualPrefixes } = await import('../../records/virtual-address.ts');
  const { serviceId, ipv4Prefix } = (await readDescriptor(dir)).value;
  checkRoutes(document, virtualPrefixes(serviceId, ipv4Prefix));
}

async function signAndPublish(
  file: string,
  options: SignOptions,
  context: CliContext,
): Promise<void> {
  const { dir, offline, json } = options;
  const { signPolicy } = await import('../../owner/policy.ts');
  const { signal, output } = context;
  const document = Uint8Array.from(await readFile(file));
  const policy = await asking(options, context, (ask) =>
    signPolicy({ dir, document, ask, signal }),
  );
  const { sequence } = policy.value;
  const delivery = offline ? undefined : await publish(options, context);
  const published = delivery?.of('policy') ?? null;
  print(output, json, { sequence, published }, () =>
    [`policy ${sequenceText(sequence)}`, publishedOr(published, dir)].join('\n'),
  );
  if (delivery) assertWhole(delivery, dir);
}

async function show(
  { state, json }: { state: string; json: boolean },
  context: CliContext,
): Promise<void> {
  const question = { state, command: 'policy', timeoutMs: TIMEOUT_MS };
  const status = await askDaemon(question, context);
  print(context.output, json, status, policyText);
}

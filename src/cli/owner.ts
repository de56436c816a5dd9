/** What the owner's commands share: asking super-peers first, publishing afterwards, telling what came of it. */
import { Option } from 'commander';
import type { Delivery } from '../daemon/delivery.ts';
import type { OwnerLink } from '../daemon/owner-link.ts';
import type { Publication } from '../daemon/publish.ts';
import { IcvpnError } from '../errors.ts';
import type { AskPublished } from '../owner/act.ts';
import { argument } from './options.ts';
import type { CliContext } from './program.ts';

/** Seconds that a command goes on where a super-peer does not take something. */
const WAIT_SECONDS = 30;

/** What was signed is kept, and some super-peer has not taken it. Exit code 3. */
export class NotWholeError extends IcvpnError {}

export interface PublishOptions {
  readonly dir: string;
  /** Seconds. */
  readonly wait: number;
  readonly json: boolean;
}

export const waitOption = (): Option =>
  new Option('--wait <seconds>', 'how long to go on where a super-peer does not take it')
    .argParser(
      argument((text: string): number => {
        if (!/^(0|[1-9]\d{0,5})$/.test(text)) throw new Error('not a number of seconds');
        return Number(text);
      }),
    )
    .default(WAIT_SECONDS);

export const offlineOption = (): Option =>
  new Option(
    '--offline',
    'sign without asking super-peers what is published, and keep it for icvpn service publish',
  ).default(false);

/** Milliseconds after which a command says what it is doing, and says it again. */
const PATIENCE_MS = 5_000;

/** Says on standard error what is waited for, where that takes long. */
export async function patiently<T>(
  { output }: CliContext,
  { json, what }: { readonly json: boolean; readonly what: string },
  run: () => Promise<T>,
): Promise<T> {
  const tell = json ? () => undefined : () => output.err(`icvpn: waiting for ${what}\n`);
  const timer = setInterval(tell, PATIENCE_MS);
  try {
    return await run();
  } finally {
    clearInterval(timer);
  }
}

/** Runs an act that asks what is published first, unless it is to go without. */
export async function asking<T>(
  {
    offline,
    dir,
    json,
  }: { readonly offline: boolean; readonly dir: string; readonly json: boolean },
  context: CliContext,
  run: (ask: AskPublished | undefined) => Promise<T>,
): Promise<T> {
  const what = `${dir}, or for super-peers to say what is published`;
  return await patiently(context, { json, what }, async () => {
    if (offline) return await run(undefined);
    await using link = await ownerLink(dir);
    return await run((state, signal) => link.ask(state, signal));
  });
}

async function ownerLink(dir: string): Promise<OwnerLink> {
  const { OwnerLink } = await import('../daemon/owner-link.ts');
  const { readOwner } = await import('../owner/directory.ts');
  return await OwnerLink.open((await readOwner(dir)).key);
}

/** Says what an act on an old copy has changed besides. */
export function tellRecovered(dir: string, { output }: CliContext): void {
  output.err(
    `icvpn: ${dir} was an old copy: the service secret that it held may have been replaced since, so this epoch ` +
      'has a new one. Members renew; new VMs need new bootstrap data (icvpn service update --bootstrap)\n',
  );
}

/** Hands over what is missing anywhere, and tells on standard error what it waits for. */
export async function publish(
  { dir, wait, json }: PublishOptions,
  context: CliContext,
  everything = false,
): Promise<Delivery> {
  const { deliver } = await import('../daemon/delivery.ts');
  const { output, signal } = context;
  await using link = await ownerLink(dir);
  const onWaiting = (missing: readonly Publication[]): void => {
    if (!json) output.err(`icvpn: still trying: ${publicationsText(missing)}\n`);
  };
  const what = 'super-peers to take what is signed';
  return await patiently(context, { json, what }, () =>
    deliver({ dir, link, waitMs: wait * 1000, everything, onWaiting, signal }),
  );
}

export const publicationsText = (all: readonly Publication[]): string =>
  all
    .map(({ superPeer, failure }) =>
      failure === null ? `published at ${superPeer}` : `not published at ${superPeer}: ${failure}`,
    )
    .join('\n');

/** @param published null where it was only kept */
export const publishedOr = (published: readonly Publication[] | null, dir: string): string =>
  published === null
    ? `kept; hand it over with icvpn service publish --dir ${dir}`
    : publicationsText(published);

/** To be called when all is told. @throws NotWholeError, or why the directory cannot publish */
export function assertWhole(delivery: Delivery, dir: string): void {
  if (delivery.whole) return;
  if (delivery.behind !== undefined)
    throw notWhole(delivery.behind.message, delivery.behind.remedy);
  const missing = delivery.all.filter(({ failure }) => failure !== null).length;
  throw notWhole(
    `${missing} of ${delivery.all.length} super-peers have not taken what is signed; it is kept`,
    `see to them, then go on with icvpn service publish --dir ${dir}`,
  );
}

const notWhole = (message: string, remedy: string): NotWholeError =>
  new NotWholeError('ERR_NOT_WHOLE', message, remedy);

/**
 * `icvpn revoke`: throw a member out, as the service's owner or at the super-peer that admitted it.
 *
 * ```
 *  owner: revocation list ─▶ every super-peer: out at once
 *         new epoch ───────▶ every super-peer: members renew, and have a PSK and attribute keys that it never had
 * ```
 *
 * A super-peer can sign no new epoch: that is the owner's.
 */
import type { Ed25519PeerId } from '@libp2p/interface';
import { type Command, Option } from 'commander';
import { parsePeerIdText } from '../address-options.ts';
import { askDaemon } from '../ask.ts';
import { jsonOption } from '../options.ts';
import { print } from '../output.ts';
import {
  asking,
  assertWhole,
  offlineOption,
  publicationsText,
  publish,
  publishedOr,
  tellRecovered,
  waitOption,
} from '../owner.ts';
import type { CliContext } from '../program.ts';

const TIMEOUT_MS = 30_000;

/** A key is cheap to make anew; the secret is what admits. */
const comeAgain =
  'Its key is out for good, and so is a ticket that it came with. If it knows the service secret it can ' +
  'be admitted with a new key until the secret is changed:';

interface RevokeOptions {
  readonly dir?: string;
  readonly state?: string;
  readonly keepEpoch: boolean;
  readonly offline: boolean;
  /** Seconds. */
  readonly wait: number;
  readonly json: boolean;
}

export function addRevokeCommand(program: Command, context: CliContext): void {
  program
    .command('revoke')
    .description('throw a member out, at once and for good')
    .argument('<PeerID>', 'of the member, as icvpn members shows it', parsePeerIdText)
    .addOption(new Option('--dir <dir>', "as the service's owner: its directory"))
    .addOption(
      new Option('--state <dir>', 'at the super-peer that admitted it: its state').conflicts('dir'),
    )
    .addOption(
      new Option(
        '--keep-epoch',
        'leave the keys of the service as they are, as when more are to follow',
      )
        .default(false)
        .conflicts('state'),
    )
    .addOption(offlineOption().conflicts('state'))
    .addOption(waitOption())
    .addOption(jsonOption())
    .action((member: Ed25519PeerId, options: RevokeOptions, command: Command) => {
      const { dir, state } = options;
      if (dir !== undefined) return asOwner(member, dir, options, context);
      if (state !== undefined) return atSuperPeer(member, state, options.json, context);
      return command.error('error: give --dir or --state');
    });
}

async function asOwner(
  member: Ed25519PeerId,
  dir: string,
  options: RevokeOptions,
  context: CliContext,
): Promise<void> {
  const { keepEpoch, offline, wait, json } = options;
  const { revokeMember } = await import('../../owner/revocation.ts');
  const { signal, output } = context;
  const { descriptor, recovered } = await asking({ ...options, dir }, context, (ask) =>
    revokeMember({ dir, member, newEpoch: !keepEpoch, ask, signal }),
  );
  if (recovered && !json) tellRecovered(dir, context);
  const delivery = offline ? undefined : await publish({ dir, wait, json }, context);
  const revoked = delivery?.of('revocations') ?? null;
  const { epoch, attributePublicKey } = descriptor.value;
  // Super-peers of an overlay share no keys that would have to change.
  const renews = !keepEpoch && attributePublicKey !== undefined;
  const renewed = (renews && delivery?.of('descriptor')) || null;
  const update = `icvpn service update --dir ${dir} --new-secret --bootstrap <file>`;
  const then = `icvpn service publish --dir ${dir}`;
  print(output, json, { revoked, epoch, renewed, recovered }, () =>
    [
      publishedOr(revoked, dir),
      ...(renewed
        ? [`epoch ${epoch}, in which everybody else renews:`, publicationsText(renewed)]
        : []),
      `${comeAgain} ${update}, then ${then}`,
    ].join('\n'),
  );
  if (delivery) assertWhole(delivery, dir);
}

async function atSuperPeer(
  member: Ed25519PeerId,
  state: string,
  json: boolean,
  context: CliContext,
): Promise<void> {
  const argument = member.toString();
  const question = { state, command: 'revoke', argument, timeoutMs: TIMEOUT_MS };
  const result = await askDaemon(question, context);
  print(
    context.output,
    json,
    result,
    () => `revoked ${member}\n${comeAgain} ask the owner for that`,
  );
}

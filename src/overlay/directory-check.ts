/** What a member checks of a directory update, and of each member in it, before it believes it. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { equals } from 'uint8arrays/equals';
import { IcvpnError } from '../errors.ts';
import {
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
} from '../records/credential.ts';
import { DIRECTORY, type DirectoryUpdate, type ListedMember } from '../records/directory.ts';
import { EnvelopeError, type Opened, open, openWithin } from '../records/envelope.ts';
import type { Member } from './claims.ts';
import type { DirectoryFrame, DirectorySeal } from './directory.ts';
import type { Trust } from './pass.ts';

export class DirectoryClientError extends IcvpnError {}

export interface UpdateContext {
  readonly serviceId: Ed25519PeerId;
  /** This member. */
  readonly self: Ed25519PeerId;
  readonly trust: () => Trust;
  readonly seal: Pick<DirectorySeal, 'open'>;
  /** Milliseconds since 1970. */
  readonly clock: () => number;
}

/** How far an attachment is in the feed of its super-peer. */
export interface Position {
  readonly feed: Uint8Array;
  readonly sequence: number;
}

/** What an attachment expects of its next update. */
export interface Expected {
  readonly nonce: Uint8Array;
  /** Undefined before the first update is whole. */
  readonly position: Position | undefined;
  /** The newest part of an update that is not whole yet. */
  readonly unfinished: DirectoryUpdate | undefined;
}

/**
 * @returns the update in a frame; undefined when the frame has none
 * @throws DirectoryClientError `ERR_DIRECTORY_UPDATE`, or what the seal throws
 */
export async function openUpdate(
  { update, news }: DirectoryFrame,
  expected: Expected,
  { seal, trust, serviceId, self }: UpdateContext,
): Promise<Opened<DirectoryUpdate> | undefined> {
  const sealed = update ?? news;
  if (sealed === undefined) return undefined;
  const nonce = update ? expected.nonce : undefined;
  const opened = await open(DIRECTORY, await seal.open(sealed, nonce));
  const { value, signer } = opened;
  if (!trust().admitters.some((id) => id.equals(signer))) {
    throw refused(`${signer} is no super-peer of this service`);
  }
  if (!value.serviceId.equals(serviceId)) throw refused('it is for another service');
  const { recipient } = value;
  if ((recipient === undefined) !== (nonce === undefined)) throw refused('it is not what it says');
  if (recipient && !recipient.peerId.equals(self)) throw refused('it is for somebody else');
  if (recipient && !equals(recipient.nonce, expected.nonce)) {
    throw refused('it is from another attachment');
  }
  checkPosition(value, expected);
  return opened;
}

/** @throws DirectoryClientError when an update does not go on from where the attachment is */
function checkPosition(value: DirectoryUpdate, { position: at, unfinished }: Expected): void {
  const { base, sequence, feed, recipient, part } = value;
  // Only the own nonce proves that a whole list is no old one.
  if (base === undefined && recipient === undefined)
    throw refused('anybody may have sent it again');
  if (unfinished !== undefined) {
    if (isNext(value, unfinished)) return;
    throw refused('a part is missing');
  }
  if (part !== 0) throw refused('its first part is missing');
  if (at === undefined) {
    if (base !== undefined) throw refused('the whole list must come first');
    return;
  }
  if (!equals(feed, at.feed)) throw refused('it is of another feed');
  if (base !== undefined && base !== at.sequence) throw refused('an update is missing');
  if (sequence <= at.sequence) throw refused('it is older than the last');
}

const isNext = (value: DirectoryUpdate, before: DirectoryUpdate): boolean =>
  value.part === before.part + 1 &&
  value.base === before.base &&
  value.sequence === before.sequence &&
  equals(value.feed, before.feed);

/** What a credential is held against: what is trusted now. */
type HoldContext = Pick<UpdateContext, 'serviceId' | 'trust' | 'clock'>;

/** @throws CredentialError when it does not hold. @returns whether it was not taken back */
function check(credential: Opened<Credential>, { serviceId, trust, clock }: HoldContext): boolean {
  const { revoked, ...grounds } = trust();
  const now = Math.floor(clock() / 1000);
  checkCredential(credential, { ...grounds, serviceId, now, bearer: credential.value.peerId });
  return revoked?.(credential) !== true;
}

/** Whether a member that was listed would still be taken from a list. */
export function stillHolds({ credential }: Member, context: HoldContext): boolean {
  try {
    return check(credential, context);
  } catch (error) {
    if (error instanceof CredentialError) return false;
    throw error;
  }
}

/**
 * A super-peer's word is good for the credentials that it signed itself; those of others must prove it. All
 * must hold: service, epoch, time, revocation.
 *
 * @param superPeer who signed the update
 */
export async function openListed(
  { credential: raw, multiaddrs }: ListedMember,
  superPeer: Ed25519PeerId,
  trusted: HoldContext,
): Promise<Member | undefined> {
  try {
    const credential = openWithin(CREDENTIAL, raw, superPeer) ?? (await open(CREDENTIAL, raw));
    const { peerId, vmid, roles, ipv4, ipv6, subnets, notAfter } = credential.value;
    if (!check(credential, trusted)) return undefined;
    const attributes = { peerId, vmid, roles, ipv4, ipv6, subnets };
    return { ...attributes, multiaddrs, notAfter, credential };
  } catch (error) {
    if (error instanceof EnvelopeError || error instanceof CredentialError) return undefined;
    throw error;
  }
}

function refused(why: string): DirectoryClientError {
  return new DirectoryClientError(
    'ERR_DIRECTORY_UPDATE',
    `a directory update was refused: ${why}`,
    'another super-peer is tried',
  );
}

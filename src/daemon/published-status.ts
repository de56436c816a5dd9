/** What `icvpn service status` shows: which super-peer holds which version of what the owner signed. */
import { equals } from 'uint8arrays/equals';
import {
  DESCRIPTOR_RECORD,
  POLICY_RECORD,
  REVOCATION_RECORD,
  type StoredKind,
} from '../overlay/stored-kinds.ts';
import { review } from '../owner/review.ts';
import type { OwnerState } from '../owner/state.ts';
import type { Opened } from '../records/envelope.ts';
import type { Answers } from './owner-link.ts';

/** `newest`: as signed; `other`: another version; `none`: not there, though one was signed. */
export type HeldVersion = 'newest' | 'other' | 'none';

export interface HeldStatus {
  readonly superPeer: string;
  readonly descriptor: HeldVersion | null;
  readonly policy: HeldVersion | null;
  readonly revocations: HeldVersion | null;
  /** Why it does not say; null when it does. */
  readonly failure: string | null;
}

export interface PublishedStatus {
  readonly serviceId: string;
  readonly name: string;
  readonly epoch: number;
  /** Sequences of the newest versions that are known. */
  readonly descriptor: number;
  readonly policy: number | null;
  readonly revocations: number | null;
  readonly revokedNodes: number;
  readonly revokedTickets: number;
  /** Whether every super-peer has everything that is signed. */
  readonly whole: boolean;
  /** The epoch that is published, where the directory is an old copy and lacks its secrets. */
  readonly behindEpoch: number | null;
  readonly superPeers: readonly HeldStatus[];
}

export function publishedStatus(own: OwnerState, answers: Answers): PublishedStatus {
  const { state, behind, revoked, incomplete } = review(own, answers);
  const descriptor = behind ?? state.descriptor;
  const { serviceId, name, epoch, sequence, admitters } = descriptor.value;
  const superPeers = admitters.map(({ peerId }): HeldStatus => {
    const superPeer = peerId.toString();
    const answer = answers.answers.get(superPeer);
    if (answer === undefined || 'failure' in answer) {
      const failure = answer?.failure ?? 'it was not asked';
      const why = failure instanceof Error ? failure.message : String(failure);
      return { superPeer, descriptor: null, policy: null, revocations: null, failure: why };
    }
    const { held } = answer;
    return {
      superPeer,
      descriptor: version(held, DESCRIPTOR_RECORD, descriptor),
      policy: version(held, POLICY_RECORD, state.policy),
      revocations: version(held, REVOCATION_RECORD, state.revocations),
      failure: null,
    };
  });
  return {
    ...{ serviceId: serviceId.toString(), name, epoch, superPeers },
    descriptor: sequence,
    policy: state.policy?.value.sequence ?? null,
    revocations: state.revocations?.value.sequence ?? null,
    revokedNodes: revoked.revocations.length,
    revokedTickets: revoked.tickets.length,
    whole: behind === undefined && !incomplete && superPeers.every(isWhole),
    behindEpoch: behind?.value.epoch ?? null,
  };
}

/** @returns null when none was signed */
function version<T>(
  held: ReadonlyMap<string, Uint8Array>,
  kind: StoredKind<T>,
  newest: Opened<T> | undefined,
): HeldVersion | null {
  if (newest === undefined) return null;
  const there = held.get(kind.namespace);
  if (there === undefined) return 'none';
  return equals(there, newest.bytes) ? 'newest' : 'other';
}

const isWhole = ({ descriptor, policy, revocations, failure }: HeldStatus): boolean =>
  failure === null &&
  [descriptor, policy, revocations].every((each) => each === null || each === 'newest');

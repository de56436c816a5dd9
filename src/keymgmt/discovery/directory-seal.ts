/**
 * Directory updates, which a super-peer sends to one member after another, as sealed member lists:
 * what the overlay's directory asks of its seal. Each member has a data key of its own, wrapped under
 * `PeerID and ServiceID` when the first update is for it.
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import type { Credential } from '../../records/credential.ts';
import type { DataKeyReader, DataKeys } from './data-key.ts';
import { openMemberList, policyFor, sealMemberList } from './member-list.ts';

/** Seconds for which an update may be on its way. */
export const UPDATE_LIFETIME_SECONDS = 300;

/** The super-peer's half. */
export interface UpdateSealer {
  seal(update: Uint8Array, recipient: Credential): Promise<Uint8Array>;
}

/** The member's half. */
export interface UpdateOpener {
  open(sealed: Uint8Array): Promise<Uint8Array>;
}

/**
 * @param key the super-peer's own
 * @param clock milliseconds since 1970
 */
export function updateSealer(
  dataKeys: DataKeys,
  key: PrivateKey,
  clock: () => number = Date.now,
): UpdateSealer {
  let last = 0;
  return {
    async seal(update, { serviceId, peerId, epoch }) {
      last = Math.max(last + 1, clock());
      const notAfter = Math.floor(clock() / 1000) + UPDATE_LIFETIME_SECONDS;
      const list = { serviceId, epoch, sequence: last, notAfter, requester: { peerId } };
      const dataKey = await dataKeys.get(policyFor(list));
      try {
        return await sealMemberList({ ...list, content: update }, dataKey, key);
      } finally {
        dataKey.key.fill(0);
      }
    },
  };
}

/** What the member takes as true at the time an update comes. */
export interface UpdateTrust {
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  readonly admitters: readonly Ed25519PeerId[];
}

/**
 * @param peerId the member's own
 * @param trust asked at each update
 * @param clock milliseconds since 1970
 */
export function updateOpener(
  reader: DataKeyReader,
  peerId: Ed25519PeerId,
  trust: () => UpdateTrust,
  clock: () => number = Date.now,
): UpdateOpener {
  /** The latest update of each super-peer; they are few, for only admitters get this far. */
  const latest = new Map<string, number>();
  return {
    async open(sealed) {
      const { content, superPeer, sequence } = await openMemberList(sealed, reader.unwrap, {
        ...trust(),
        now: Math.floor(clock() / 1000),
        requester: { peerId },
        lastSequence: (id) => latest.get(id.toString()),
      });
      latest.set(superPeer.toString(), sequence);
      return content;
    },
  };
}

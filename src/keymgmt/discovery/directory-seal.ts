/**
 * Directory updates, which a super-peer sends to one member after another, as sealed member lists:
 * what the overlay's directory asks of its seal.
 *
 *     few members at once    a data key for each, wrapped under `PeerID and ServiceID` at the first update
 *     many at once           one for all, under `ServiceID and epoch`, until there is time for their own
 *
 * The statement is the same for both: it names the recipient and the nonce of its attachment. Only the
 * policy over the data key differs, and all who satisfy either may read the list.
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import type { Credential } from '../../records/credential.ts';
import { epochPolicy, requesterPolicy } from './attributes.ts';
import type { DataKeyReader, DataKeys } from './data-key.ts';
import { openMemberList, sealMemberList } from './member-list.ts';

/** Seconds for which an update may be on its way. */
export const UPDATE_LIFETIME_SECONDS = 300;
/**
 * Data keys wrapped at once before members share one: 12 ms each, so that a member's first list waits
 * about 100 ms at most, and a thousand members that come back together do not wait for one another.
 */
const MOST_WRAPPING = 8;

/** The super-peer's half. */
export interface UpdateSealer {
  /** @param nonce 16 to 32 bytes that the member drew when it attached */
  seal(update: Uint8Array, recipient: Credential, nonce: Uint8Array): Promise<Uint8Array>;
}

/** The member's half. */
export interface UpdateOpener {
  open(sealed: Uint8Array, nonce: Uint8Array): Promise<Uint8Array>;
}

/**
 * @param key the super-peer's own
 * @param clock milliseconds since 1970
 * @param mayShare whether many members that come at once may share a data key
 */
export function updateSealer(
  dataKeys: DataKeys,
  key: PrivateKey,
  clock: () => number = Date.now,
  mayShare: () => boolean = () => true,
): UpdateSealer {
  let last = 0;
  return {
    async seal(update, { serviceId, peerId, epoch }, nonce) {
      last = Math.max(last + 1, clock());
      const notAfter = Math.floor(clock() / 1000) + UPDATE_LIFETIME_SECONDS;
      const list = { serviceId, epoch, sequence: last, notAfter, requester: { peerId, nonce } };
      const own = requesterPolicy(peerId, serviceId);
      const busy = !dataKeys.has(own) && dataKeys.wrapping >= MOST_WRAPPING;
      const dataKey = await dataKeys.get(busy && mayShare() ? epochPolicy(serviceId, epoch) : own);
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
    async open(sealed, nonce) {
      const { content, superPeer, sequence } = await openMemberList(sealed, reader.unwrap, {
        ...trust(),
        now: Math.floor(clock() / 1000),
        requester: { peerId, nonce },
        lastSequence: (id) => latest.get(id.toString()),
      });
      latest.set(superPeer.toString(), sequence);
      return content;
    },
  };
}

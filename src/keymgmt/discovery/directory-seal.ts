/**
 * Directory updates as sealed member lists: what the overlay's directory asks of its seal.
 *
 *     the first update to a member    under `PeerID and ServiceID`; its statement names the member and the nonce
 *                                     of its attachment. When many come at once the data key is one for all,
 *                                     under `ServiceID and epoch`: the statement is the same.
 *     news, the same for all          under `ServiceID and epoch`, sealed once
 */
import type { Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { CLOCK_SKEW_SECONDS, type Credential } from '../../records/credential.ts';
import { epochPolicy, requesterPolicy } from './attributes.ts';
import type { DataKeyReader, DataKeys } from './data-key.ts';
import { type MemberList, openMemberList, sealMemberList } from './member-list.ts';

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
  /** For all members of the epoch. */
  sealForAll(update: Uint8Array, of: Pick<Credential, 'serviceId' | 'epoch'>): Promise<Uint8Array>;
}

/** The member's half. */
export interface UpdateOpener {
  /** @param nonce of the member's attachment; undefined for what was sealed for all */
  open(sealed: Uint8Array, nonce: Uint8Array | undefined): Promise<Uint8Array>;
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
  const sealUnder = async (policy: string, list: Omit<MemberList, 'sequence' | 'notAfter'>) => {
    last = Math.max(last + 1, clock());
    const sequence = last;
    const notAfter = Math.floor(clock() / 1000) + UPDATE_LIFETIME_SECONDS;
    const dataKey = await dataKeys.get(policy);
    try {
      return await sealMemberList({ ...list, sequence, notAfter }, dataKey, key);
    } finally {
      dataKey.key.fill(0);
    }
  };
  return {
    seal(update, { serviceId, peerId, epoch }, nonce) {
      const list = { serviceId, epoch, requester: { peerId, nonce }, content: update };
      const own = requesterPolicy(peerId, serviceId);
      const busy = !dataKeys.has(own) && dataKeys.wrapping >= MOST_WRAPPING;
      return sealUnder(busy && mayShare() ? epochPolicy(serviceId, epoch) : own, list);
    },
    sealForAll: (update, { serviceId, epoch }) =>
      sealUnder(epochPolicy(serviceId, epoch), { serviceId, epoch, content: update }),
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
  /** The latest update of each super-peer and form; they are few, for only admitters get this far. */
  const latest = new Map<string, number>();
  const name = (superPeer: Ed25519PeerId, nonce: Uint8Array | undefined): string =>
    `${superPeer} ${nonce ? 'own' : 'all'}`;
  return {
    async open(sealed, nonce) {
      const { content, superPeer, sequence } = await openMemberList(sealed, reader.unwrap, {
        ...trust(),
        now: Math.floor(clock() / 1000),
        requester: nonce && { peerId, nonce },
        lastSequence: (id) => latest.get(name(id, nonce)),
      });
      // One of a super-peer whose clock was ahead must not outlast the correction of that clock.
      latest.set(name(superPeer, nonce), Math.min(sequence, clock() + CLOCK_SKEW_SECONDS * 1000));
      return content;
    },
  };
}

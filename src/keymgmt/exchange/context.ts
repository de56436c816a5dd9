import type { AbortOptions, Ed25519PeerId, PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { Credential } from '../../records/credential.ts';
import type { Opened } from '../../records/envelope.ts';
import { MIN_SPI } from './messages.ts';
import type { Path, PathOffer } from './path.ts';
import type { Randomness } from './primitives.ts';
import { type DirectionKeys, type FinalKeys, PSK_LENGTH, type Role, wipe } from './schedule.ts';
import { assertLifetimes, type Lifetimes, type Suite } from './suite.ts';

/** Who this node is. */
export interface ExchangeIdentity {
  /** The node's Ed25519 key, the one behind its PeerID. */
  readonly key: PrivateKey;
  /** Envelope of the node's credential. */
  readonly credential: Uint8Array;
}

/** All that a run needs to know before it begins. */
export interface ExchangeContext {
  readonly identity: ExchangeIdentity;
  readonly serviceId: Ed25519PeerId;
  readonly epoch: number;
  /** The epoch's pre-shared key, 32 bytes. It stays the caller's. */
  readonly psk: Uint8Array;
  /** The other end, as Noise proved it: never taken from a message. */
  readonly peer: Ed25519PeerId;
  /**
   * Opens a credential and checks it: signer, service, time, revocation. Rejects when it does not
   * hold. PeerID, ServiceID and epoch are compared by the exchange once more.
   */
  readonly verify: (envelope: Uint8Array, options?: AbortOptions) => Promise<Opened<Credential>>;
  /** Acceptable suites, best first. */
  readonly suites: readonly Suite[];
  /** The longest life that this node allows an SA; the lower of both ends' counts. */
  readonly lifetimes: Lifetimes;
  /** How this node would carry ESP to the peer, and where the two see each other. */
  readonly path: PathOffer;
  /** Default: the system's. */
  readonly random?: Randomness;
}

/** One direction of an SA pair. */
export interface SaKeys extends DirectionKeys {
  readonly spi: number;
}

/** What a finished exchange yields. Whoever gets it overwrites it with `wipeKeys`. */
export interface ExchangeKeys {
  readonly peerCredential: Opened<Credential>;
  /** Peer to this node, under the SPI that this node chose. */
  readonly inbound: SaKeys;
  /** This node to the peer, under the SPI that the peer chose. */
  readonly outbound: SaKeys;
  readonly suite: Suite;
  readonly lifetimes: Lifetimes;
  readonly path: Path;
  /** 32 bytes, equal at both ends and in no other run: a name for this run that is safe to log. */
  readonly transcriptHash: Uint8Array;
}

export function wipeKeys(keys: ExchangeKeys): void {
  wipe(keys.inbound.key, keys.inbound.salt, keys.outbound.key, keys.outbound.salt);
}

/** @throws RangeError or TypeError when the caller's values make no sense */
export function assertContext(context: ExchangeContext, inboundSpi: number): void {
  if (context.psk.length !== PSK_LENGTH) throw new RangeError(`a PSK has ${PSK_LENGTH} bytes`);
  if (context.suites.length === 0) throw new RangeError('no suite is allowed');
  if (!Number.isInteger(inboundSpi) || inboundSpi < MIN_SPI || inboundSpi > 0xffff_ffff) {
    throw new RangeError(`SPI ${inboundSpi} is not from ${MIN_SPI} to 2^32-1`);
  }
  if (localId(context).equals(context.peer)) throw new RangeError('a node cannot be its own peer');
  assertLifetimes(context.lifetimes);
}

const localIds = new WeakMap<PrivateKey, Ed25519PeerId>();

export function localId({ identity: { key } }: ExchangeContext): Ed25519PeerId {
  const known = localIds.get(key);
  if (known !== undefined) return known;
  const id = peerIdFromPrivateKey(key);
  if (id.type !== 'Ed25519') throw new TypeError('the node key must be an Ed25519 key');
  localIds.set(key, id);
  return id;
}

/** The two directions as the end in `role` sees them. */
export function orient(
  role: Role,
  keys: FinalKeys,
  spis: { inbound: number; outbound: number },
): { inbound: SaKeys; outbound: SaKeys } {
  const { initiatorToResponder, responderToInitiator } = keys;
  const [inbound, outbound] =
    role === 'initiator'
      ? [responderToInitiator, initiatorToResponder]
      : [initiatorToResponder, responderToInitiator];
  return {
    inbound: { spi: spis.inbound, ...inbound },
    outbound: { spi: spis.outbound, ...outbound },
  };
}

/**
 * A super-peer's card: what a service's owner needs to name it in a descriptor. The super-peer
 * signs it; the owner gets it from the super-peer's operator as a file.
 */
import { ownMultiaddrs } from '../codec/multiaddr.ts';
import { bytes, type Infer, message, required } from '../codec/protobuf.ts';
import { EnvelopeError, type Opened, open, type RecordKind } from './envelope.ts';
import { peerId } from './peer-id.ts';

const codec = message({
  peerId: required(1, peerId()),
  /** X25519 public key to which owners encrypt a service's admission secrets. */
  sealingKey: required(2, bytes({ length: 32 })),
  multiaddrs: ownMultiaddrs(3),
});

export type SuperPeerCard = Infer<typeof codec>;

export const SUPER_PEER_CARD: RecordKind<SuperPeerCard> = {
  name: 'super-peer-card',
  codec,
  maxLength: 4096,
};

/** @throws EnvelopeError also when somebody else signed it */
export async function openCard(raw: Uint8Array): Promise<Opened<SuperPeerCard>> {
  const opened = await open(SUPER_PEER_CARD, raw);
  if (!opened.signer.equals(opened.value.peerId)) {
    throw new EnvelopeError(
      SUPER_PEER_CARD.name,
      'it is not signed by the super-peer that it names',
    );
  }
  return opened;
}

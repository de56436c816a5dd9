/** Identities on their way to a process of the same benchmark: the private key's protobuf in base64. */
import { privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import type { Identity } from '../../test/unit/overlay/harness.ts';

export const identityText = ({ key }: Pick<Identity, 'key'>): string =>
  Buffer.from(privateKeyToProtobuf(key)).toString('base64');

/** @throws if it is none */
export function identityFrom(text: string): Identity {
  const key = privateKeyFromProtobuf(Buffer.from(text, 'base64'));
  if (key.type !== 'Ed25519') throw new Error('not an Ed25519 key');
  return { key, id: peerIdFromPrivateKey(key) };
}

/** The attribute authority of one epoch of a service, as its owner makes it. */
import {
  encodeMasterKey,
  encodePublicKey,
  initAbe,
  setup,
  wipeMasterKey,
} from '../keymgmt/abe/index.ts';

export interface NewAuthority {
  /** For the descriptor. */
  readonly publicKey: Uint8Array;
  /** For the service's super-peers alone; to be overwritten. */
  readonly masterKey: Uint8Array;
}

/** Takes about 20 ms of computing, and 90 ms the first time. */
export async function makeAuthority(): Promise<NewAuthority> {
  await initAbe();
  const { publicKey, masterKey } = setup();
  const made = { publicKey: encodePublicKey(publicKey), masterKey: encodeMasterKey(masterKey) };
  wipeMasterKey(masterKey);
  return made;
}

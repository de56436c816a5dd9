/** An SA in UDP whose peer is behind another port now. */
import { XfrmKey } from '../xfrm/key.ts';
import type { State, StateSpec } from '../xfrm/state.ts';
import { encapsulation, REPLAY_WINDOW, type SaDirection } from './peer.ts';

/**
 * The kernel takes encapsulation and lifetimes from an update and leaves the keys of a real state as
 * they are; but an update must name an algorithm and key, so it gets zeros.
 *
 * @returns what the state is to be updated with; undefined if it is not in UDP, or has that port
 */
export function remapped(
  state: State,
  direction: SaDirection,
  remotePort: number,
): StateSpec | undefined {
  const { source, destination, spi, protocol, mode, reqid, ifId, lifetime, aead } = state;
  const was = state.encapsulation;
  if (was === undefined || aead === undefined || state.larval) return undefined;
  const localPort = direction === 'out' ? was.sourcePort : was.destinationPort;
  const now = encapsulation({ localPort, remotePort }, direction);
  if (now.sourcePort === was.sourcePort && now.destinationPort === was.destinationPort) {
    return undefined;
  }
  const key = XfrmKey.of(new Uint8Array(aead.keyBits / 8));
  return {
    ...{ source, destination, spi, protocol, mode, reqid, ifId, lifetime },
    replay: { window: REPLAY_WINDOW, esn: true },
    encapsulation: now,
    aead: { name: aead.name, key, icvBits: 128 },
  };
}

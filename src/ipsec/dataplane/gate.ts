/** Opens and closes the gate before one peer in the kernel; its states are drawn in `gate-state.ts`. */
import type { XfrmClient } from '../xfrm/client.ts';
import { rethrow } from './ownership.ts';
import type { PeerRecord } from './peer-record.ts';
import { gatePolicies } from './policies.ts';

/** There is an SA to send by: what waited goes its way. */
export async function openGate(xfrm: XfrmClient, peer: PeerRecord): Promise<void> {
  if (peer.gate.phase !== 'closed') return;
  rethrow(await xfrm.updatePolicies(gatePolicies(peer.context, 'open')));
  peer.gate.opened(() => {
    // Where that fails the gate stays open, which costs time and nothing else.
    peer.serially(() => takeAway(xfrm, peer)).catch(() => undefined);
  });
}

async function takeAway(xfrm: XfrmClient, peer: PeerRecord): Promise<void> {
  if (!peer.gate.drained) return; // closed meanwhile
  peer.gate.takenAway();
  rethrow(await xfrm.deletePolicies(gatePolicies(peer.context, 'open')));
}

/** Without an SA to send by, packets are to wait again. */
export async function closeGate(xfrm: XfrmClient, peer: PeerRecord): Promise<void> {
  if (peer.canSend) return;
  peer.gate.closed();
  rethrow(await xfrm.updatePolicies(gatePolicies(peer.context, 'closed')));
}

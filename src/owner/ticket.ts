/** One-time tickets: bootstrap data that admits one VM, once. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { makeTicket } from '../admission/ticket.ts';
import { type Bootstrap, superPeerAddresses } from '../records/bootstrap.ts';
import { OwnerError, readDescriptor, readOwnerKey } from './directory.ts';

export interface NewTicket {
  /** The owner's directory of the service. */
  readonly dir: string;
  /** The one super-peer at which the ticket can be used; the first that the descriptor names when left out. */
  readonly superPeer?: Ed25519PeerId;
  /** Seconds from now. */
  readonly validFor: number;
  /** Only a VM of this name may use it. */
  readonly vmid?: string;
  /** Roles that the VM gets, whatever it asks for. */
  readonly roles: string[];
}

/** @returns bootstrap data with the ticket in place of the service's secret */
export async function createTicket(options: NewTicket): Promise<Bootstrap> {
  const { dir, validFor, vmid, roles } = options;
  const { value: service } = await readDescriptor(dir);
  const superPeer = options.superPeer ?? service.admitters[0]?.peerId;
  const named = service.admitters.filter((each) => superPeer && each.peerId.equals(superPeer));
  if (superPeer === undefined || named.length === 0) {
    throw new OwnerError(
      'ERR_NOT_ADMITTER',
      `${superPeer} is not a super-peer of ${service.name}`,
      'give one that the service was created with',
    );
  }
  const ownerKey = await readOwnerKey(dir);
  const notAfter = Math.floor(Date.now() / 1000) + validFor;
  const secret = await makeTicket({ ownerKey, superPeer, notAfter, roles, ...(vmid && { vmid }) });
  return {
    serviceId: service.serviceId,
    name: service.name,
    superPeers: superPeerAddresses({ admitters: named }),
    secret,
    descriptor: undefined,
  };
}

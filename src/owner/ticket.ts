/** One-time tickets: bootstrap data that admits one VM, once. */
import type { Ed25519PeerId } from '@libp2p/interface';
import { makeTicket, parseTicket } from '../admission/ticket.ts';
import { type Bootstrap, superPeerAddresses } from '../records/bootstrap.ts';
import { parseRole, parseVmid } from '../records/credential.ts';
import { type ActOptions, act } from './act.ts';
import { OwnerError } from './errors.ts';
import { newBootstrap } from './files.ts';
import { type IssuedTicket, MAX_TICKETS } from './state.ts';

export interface NewTicket extends Omit<ActOptions, 'ask'> {
  /** The one super-peer at which the ticket can be used; the first that the descriptor names when left out. */
  readonly superPeer?: Ed25519PeerId;
  /** Seconds from now. */
  readonly validFor: number;
  /** Only a VM of this name may use it. */
  readonly vmid?: string;
  /** Roles that the VM gets, whatever it asks for. */
  readonly roles: string[];
  /** File to write the bootstrap data to, which must not exist. */
  readonly bootstrapFile?: string;
}

export interface CreatedTicket {
  /** With the ticket in place of the service's secret. */
  readonly bootstrap: Bootstrap;
  /** 16 bytes, by which it can be taken back. */
  readonly id: Uint8Array;
}

/** @throws OwnerError `ERR_NOT_ADMITTER`, `ERR_FILE_EXISTS`; TextError for a VMID or role that no VM can have */
export function createTicket(options: NewTicket): Promise<CreatedTicket> {
  const { validFor, vmid, roles, bootstrapFile } = options;
  if (vmid !== undefined) parseVmid(vmid);
  roles.forEach(parseRole);
  return act('icvpn service ticket', options, async ({ state }) => {
    const { value: service } = state.descriptor;
    const superPeer = options.superPeer ?? service.admitters[0]?.peerId;
    const named = service.admitters.filter((each) => superPeer && each.peerId.equals(superPeer));
    if (superPeer === undefined || named.length === 0) {
      throw new OwnerError(
        'ERR_NOT_ADMITTER',
        `${superPeer} is not a super-peer of ${service.name}`,
        'give one that the service was created with',
      );
    }
    const issued = Math.floor(Date.now() / 1000);
    const notAfter = issued + validFor;
    const made = { ownerKey: state.key, superPeer, notAfter, roles, ...(vmid && { vmid }) };
    const secret = await makeTicket(made);
    const { ticket, password } = await parseTicket(secret);
    password.fill(0);
    const { id } = ticket.value;
    const { serviceId, name, ipv4Prefix } = service;
    const superPeers = superPeerAddresses({ admitters: named });
    const bootstrap = { serviceId, name, superPeers, secret, ipv4Prefix, descriptor: undefined };
    return {
      state: { ...state, tickets: kept(state.tickets, { id, superPeer, issued, notAfter, vmid }) },
      result: { bootstrap, id },
      file: bootstrapFile === undefined ? undefined : newBootstrap(bootstrapFile, bootstrap),
    };
  });
}

/** Those that are over are forgotten; where there are too many, those that end first. */
function kept(all: readonly IssuedTicket[], fresh: IssuedTicket): IssuedTicket[] {
  const now = Math.floor(Date.now() / 1000);
  return [...all.filter(({ notAfter }) => notAfter > now), fresh]
    .toSorted((a, b) => a.notAfter - b.notAfter)
    .slice(-MAX_TICKETS);
}

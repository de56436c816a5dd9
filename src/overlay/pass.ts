/** Who may pass the gate of an overlay, and what is said to who may not. */
import type { Ed25519PeerId, PeerId } from '@libp2p/interface';
import { IcvpnError } from '../errors.ts';
import type { AddressPlan } from '../records/address-plan.ts';
import {
  CREDENTIAL,
  type Credential,
  CredentialError,
  checkCredential,
  type EpochGrace,
} from '../records/credential.ts';
import { EnvelopeError, type Opened, open } from '../records/envelope.ts';

export type GateCode =
  /** This node refuses the other: no credential, or one that does not hold. */
  | 'ERR_NOT_ADMITTED'
  /** The other node refuses this one. */
  | 'ERR_REFUSED'
  /** The other node cannot be reached, or does not take part in this overlay. */
  | 'ERR_UNREACHABLE'
  /** The other node asks for more than its share. */
  | 'ERR_TOO_MUCH'
  | 'ERR_GATE_CLOSED';

const REMEDY: Record<GateCode, string> = {
  ERR_NOT_ADMITTED: 'the other node must be admitted by a super-peer, or renew its credential',
  ERR_REFUSED: 'renew this node’s credential at a super-peer, and check its clock',
  ERR_UNREACHABLE: 'check the address, the firewall, and that the other node runs this service',
  ERR_TOO_MUCH: 'the other node must ask more slowly; if it does not, revoke it',
  ERR_GATE_CLOSED: 'start it again',
};

export class GateError extends IcvpnError {
  declare readonly code: GateCode;

  constructor(code: GateCode, message: string, options?: ErrorOptions) {
    super(code, message, REMEDY[code], options);
  }
}

/** What credentials are held against; asked anew each time. */
export interface Trust {
  readonly epoch: number;
  /** See CredentialContext. */
  readonly grace?: readonly EpochGrace[];
  /** The super-peers that the newest descriptor names. */
  readonly admitters: readonly Ed25519PeerId[];
  /** Which virtual addresses it lets members have. */
  readonly addresses: AddressPlan;
  /** Super-peers that earlier descriptors named. What they signed holds no more, but once did. */
  readonly formerAdmitters?: readonly Ed25519PeerId[];
  /** Whether the owner, or the super-peer that signed it, has taken this credential back. */
  readonly revoked?: (credential: Opened<Credential>) => boolean;
}

/** A node that passed: by its credential, or by being a super-peer that the descriptor names. */
export type Pass = Opened<Credential> | 'admitter';

export function notAdmitted(peer: PeerId, why: string, cause?: Error): GateError {
  return new GateError('ERR_NOT_ADMITTED', `${peer} may not pass: ${why}`, { cause });
}

/** The rule of one overlay. */
export class PassRule {
  readonly #overlayId: Ed25519PeerId;
  readonly #trust: () => Trust;
  readonly #clock: () => number;

  constructor(overlayId: Ed25519PeerId, trust: () => Trust, clock: () => number) {
    this.#overlayId = overlayId;
    this.#trust = trust;
    this.#clock = clock;
  }

  /**
   * @param peer whom the connection proved
   * @param shown the credential envelope that it shows, if any
   * @throws GateError when it may not pass
   */
  async judge(peer: PeerId, shown: Uint8Array | undefined): Promise<Pass> {
    let pass: Pass = 'admitter';
    if (shown !== undefined) {
      try {
        pass = await open(CREDENTIAL, shown);
      } catch (cause) {
        if (cause instanceof EnvelopeError) throw notAdmitted(peer, cause.message, cause);
        throw cause;
      }
    }
    const fault = this.fault(peer, pass);
    if (fault !== undefined) throw fault;
    return pass;
  }

  /**
   * Whether a node that may not pass could have before, or is of an epoch that is yet to be learnt here. It could have:
   * its credential is of an epoch that is over, has ended, or
   * is signed by a super-peer that was named. So is a super-peer that was named itself. Not when it was revoked.
   */
  async onceHeld(
    peer: PeerId,
    shown: Uint8Array | undefined,
  ): Promise<'once-held' | 'ahead' | undefined> {
    const { epoch, admitters, formerAdmitters = [], addresses, revoked } = this.#trust();
    if (peer.type !== 'Ed25519') return undefined;
    if (shown === undefined) {
      return formerAdmitters.some((id) => id.equals(peer)) ? 'once-held' : undefined;
    }
    try {
      const opened = await open(CREDENTIAL, shown);
      const { value } = opened;
      const now = Math.min(Math.floor(this.#clock() / 1000), value.notAfter);
      checkCredential(opened, {
        ...{ serviceId: this.#overlayId, bearer: peer, addresses, now, epoch: value.epoch },
        admitters: [...admitters, ...formerAdmitters],
      });
      if (revoked?.(opened)) return undefined;
      return value.epoch <= epoch ? 'once-held' : 'ahead';
    } catch (error) {
      if (error instanceof EnvelopeError || error instanceof CredentialError) return undefined;
      throw error;
    }
  }

  /** @returns why somebody who passed may not any more; undefined when it still may */
  fault(peer: PeerId, pass: Pass): GateError | undefined {
    const { revoked, ...grounds } = this.#trust();
    const { admitters } = grounds;
    if (peer.type !== 'Ed25519') return notAdmitted(peer, 'its key is not Ed25519');
    if (pass === 'admitter') {
      if (admitters.some((id) => id.equals(peer))) return undefined;
      return notAdmitted(peer, 'it shows no credential and is no super-peer of this service');
    }
    try {
      const now = Math.floor(this.#clock() / 1000);
      checkCredential(pass, { ...grounds, serviceId: this.#overlayId, bearer: peer, now });
    } catch (cause) {
      if (cause instanceof CredentialError) return notAdmitted(peer, cause.message, cause);
      throw cause;
    }
    if (revoked?.(pass)) return notAdmitted(peer, 'its credential was revoked');
    return undefined;
  }
}

/** What `icvpn status` shows of a member. Plain data, the same as JSON. */
import type { NoSaStatus } from './no-sa.ts';
import type { SubnetConflict } from './subnets.ts';

export interface MemberStatus {
  readonly role: 'member';
  readonly service: { readonly id: string; readonly name: string };
  readonly peerId: string;
  readonly vmid: string;
  readonly ipv6: string;
  readonly ipv4: string;
  readonly interface: string;
  /** Of this member's credential. */
  readonly epoch: number;
  /** When the credential ends, RFC 3339. */
  readonly credentialEnds: string;
  /** Whether this member was thrown out of the service, as a super-peer or a list of revocations says. */
  readonly revoked: boolean;
  /** The super-peer whose directory this member is attached to. */
  readonly superPeer: string | null;
  /** What this member waits for, and why it has not come; null when it is attached and its credential holds. */
  readonly waiting: string | null;
  /** Where another machine is that uses this member's node key, as a super-peer saw it in the last minutes. */
  readonly duplicate: string | null;
  /** Why this member has no peers, since what has to be in the kernel does not stay there; null while it does. */
  readonly kernelProblem: string | null;
  /** Whether packets wait for an SA; otherwise the first ones to a peer are lost. */
  readonly packetsWait: boolean;
  /** Routing rules of other programs that come before the service's, as `ip rule` shows them: the guard drops what they lead away. */
  readonly rulesAbove: readonly string[];
  /** Where this member was admitted. */
  readonly admittedBy: string;
  /** The owner's newest policy that this member knows; null while it knows none. */
  readonly policy: PolicyStatus | null;
  /** Addresses and routes of this machine in the service's prefixes, for people. */
  readonly overlaps: readonly string[];
  /** Members that claim one virtual address. */
  readonly conflicts: readonly ConflictStatus[];
  /** Members that announce a subnet with addresses of another one's. */
  readonly subnetConflicts: readonly SubnetConflict[];
  /** All members of the service, this one among them. */
  readonly members: readonly PeerStatus[];
}

export interface ConflictStatus {
  readonly ipv4: string;
  /** PeerID of the member that has the address. */
  readonly holder: string;
  /** PeerID of the one that is no peer to anybody until it has another. */
  readonly refused: string;
}

export interface PolicyStatus {
  /** Of the newest policy. */
  readonly sequence: number;
  /** Since when this member enforces it, RFC 3339; null while it does not. */
  readonly applied: string | null;
  /** Why it does not; it talks to nobody then. */
  readonly problem: string | null;
}

/** What `icvpn policy show` shows. */
export interface PolicyView extends PolicyStatus {
  /** As the owner published it, parsed as JSON. */
  readonly document: unknown;
}

export interface PeerStatus {
  readonly peerId: string;
  readonly vmid: string;
  readonly roles: readonly string[];
  readonly ipv6: string;
  readonly ipv4: string;
  /** Behind it, as far as this member sends them there; CIDRs. */
  readonly subnets: readonly string[];
  readonly self: boolean;
  /** False for a member that super-peers list no more while its SAs move packets. */
  readonly listed: boolean;
  /** Underlay address that packets to it go to; null while unknown. */
  readonly underlay: string | null;
  /** How ESP gets to it; null before the first security associations. */
  readonly path: PathStatus | null;
  /** The pair of security associations in use; null while there is none. */
  readonly sa: SaStatus | null;
  /** Why there are none; null where there are, and for this member itself. */
  readonly noSa: NoSaStatus | null;
}

export interface PathStatus {
  /** ESP as it is, or ESP in UDP. */
  readonly encapsulation: 'esp' | 'udp';
  /** What decided: see docs/encapsulation.md. */
  readonly why: 'direct' | 'policy' | 'nat' | 'blocked' | 'no-udp';
  readonly behindNat: { readonly self: boolean; readonly peer: boolean };
  /** UDP port that packets to it go to; null for ESP as it is. */
  readonly remotePort: number | null;
  /** Whether what this member sent last was seen to arrive; null while that is not known. */
  readonly passes: boolean | null;
}

export interface SaStatus {
  readonly spiIn: string;
  readonly spiOut: string;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** What their keys were agreed with: X25519, alone or with ML-KEM-768. */
  readonly suite: 'x25519' | 'x25519-mlkem768' | null;
}

/**
 * What `icvpn members` shows: the service's VMIDs, and the public attributes of each. VMIDs are names
 * that clouds give; the same one may stand for several PeerIDs.
 */
export interface MemberView {
  readonly service: { readonly id: string; readonly name: string };
  readonly epoch: number;
  /** The super-peer that told it; null while this member is attached to none. */
  readonly superPeer: string | null;
  readonly members: readonly MemberAttributes[];
}

export interface MemberAttributes {
  readonly vmid: string;
  readonly peerId: string;
  readonly roles: readonly string[];
  readonly ipv6: string;
  readonly ipv4: string;
  /** CIDRs behind it, as its credential says. */
  readonly subnets: readonly string[];
  readonly multiaddrs: readonly string[];
  /** When its credential ends, RFC 3339. */
  readonly credentialEnds: string;
  readonly self: boolean;
}

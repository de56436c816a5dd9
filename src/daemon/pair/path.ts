/**
 * How ESP gets to one peer: what both ends agreed on, what a NAT has made of it since, and whether
 * it arrives.
 *
 * ```
 *   exchange ── agreed ──────────▶ ┌──────────┐ ── ports ─────▶ SAs in the kernel
 *   kernel ──── MAPPING ─────────▶ │ PeerPath │ ── blocked ───▶ what the next exchange offers
 *   check ───── passes or not ───▶ └──────────┘ ── view ──────▶ status
 * ```
 */
import type { UdpPorts } from '../../ipsec/dataplane.ts';
import type { Path } from '../../keymgmt/exchange/path.ts';
import type { PathStatus } from '../status.ts';

/** Milliseconds without a packet of our own after which a NAT might forget: RFC 3948, section 4, says 20 s. */
const KEEPALIVE = 18_000;

export class PeerPath {
  #agreed: Path | undefined;
  /** The peer's port as its newest authenticated packet showed it. */
  #mappedPort: number | undefined;
  #blocked = false;
  #passes: boolean | undefined;
  #sent: { readonly packets: bigint; readonly at: number } | undefined;
  #awaited: (() => void) | undefined;

  /** ESP as it is was found not to pass; holds until one of the ends moves. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** For `icvpn status`; undefined before the first exchange. */
  get view(): PathStatus | undefined {
    if (this.#agreed === undefined) return undefined;
    const { udp, why, localNatted, peerNatted } = this.#agreed;
    return {
      encapsulation: udp === undefined ? 'esp' : 'udp',
      why,
      behindNat: { self: localNatted, peer: peerNatted },
      remotePort: this.ports(this.#agreed)?.remotePort ?? null,
      passes: this.#passes ?? null,
    };
  }

  /** This end is behind a NAT, so that only its own packets show the peer where it is. */
  get showsItself(): boolean {
    return this.#agreed?.udp !== undefined && this.#agreed.localNatted;
  }

  /** Two ends have agreed, in the exchange that makes the next SAs. */
  agree(path: Path): void {
    this.#agreed = path;
    this.#passes = undefined;
  }

  /** The ports of SAs under `path`; undefined for ESP as it is. */
  ports({ udp, peerNatted }: Path): UdpPorts | undefined {
    if (udp === undefined) return undefined;
    const { localPort, peerPort } = udp;
    // Also without a NAT before the peer, what its packets show is nearer to the truth.
    const mapped = peerNatted || this.follows ? this.#mappedPort : undefined;
    return { localPort, remotePort: mapped ?? peerPort };
  }

  /**
   * A packet that the peer's SA has authenticated came from this port. Only who is not behind a NAT
   * itself follows (RFC 7296, section 2.23).
   *
   * @returns whether the SAs are to follow
   */
  mapped(port: number): boolean {
    if (!this.follows || port === this.#mappedPort) return false;
    this.#mappedPort = port;
    this.#awaited?.();
    return true;
  }

  /** Resolves when the peer's port is known, at the latest with the signal. */
  async portKnown(path: Path, limit: AbortSignal): Promise<void> {
    if (path.udp === undefined || !path.peerNatted || this.#mappedPort !== undefined) return;
    await new Promise<void>((resolve) => {
      this.#awaited = resolve;
      limit.addEventListener('abort', () => resolve(), { once: true });
    });
    this.#awaited = undefined;
  }

  /** @returns whether ESP in UDP may pass where ESP as it is does not, which is told once */
  found(passes: boolean): boolean {
    this.#passes = passes;
    if (passes || this.#blocked || this.#agreed?.why !== 'direct') return false;
    this.#blocked = true;
    return true;
  }

  /** One of the ends is somewhere else: what was found does not hold there. */
  moved(): void {
    this.#mappedPort = undefined;
    this.#blocked = false;
    this.#passes = undefined;
  }

  /**
   * @param packets that left by the SA in use
   * @returns the peer's port if a NAT before this end is to be told that its mapping is in use
   */
  keepalive(packets: bigint, now: number): number | undefined {
    if (this.#agreed === undefined || !this.showsItself) return undefined;
    if (packets !== this.#sent?.packets) this.#sent = { packets, at: now };
    if (now - this.#sent.at < KEEPALIVE) return undefined;
    this.#sent = { packets, at: now };
    return this.ports(this.#agreed)?.remotePort;
  }

  /** Whether the peer is where its packets come from, since no NAT is before this end alone. */
  get follows(): boolean {
    const { udp, localNatted = false, peerNatted = false } = this.#agreed ?? {};
    return udp !== undefined && (peerNatted || !localNatted);
  }
}

/** What the data plane remembers of a peer: its reqid, its SAs, and whether the kernel asked for keys. */
import { canonicalAddress } from '../xfrm/address.ts';
import { GateState } from './gate-state.ts';
import type { Acquired } from './ownership.ts';
import type { PeerAddresses, PeerContext, SaDirection, Side, Underlay } from './peer.ts';

export interface InstalledSa {
  readonly spi: number;
  readonly direction: SaDirection;
  /** Reserved by {@link DataPlane.allocateSpi}, keys to follow. */
  readonly larval: boolean;
}

/** What is the same for all peers. */
export type OwnEnd = Pick<PeerContext, 'ours' | 'ifId' | 'interfaceIndex'>;

export class PeerRecord {
  readonly id: string;
  readonly reqid: number;
  readonly #own: OwnEnd;
  #theirs: Side;
  readonly #sas = new Map<string, InstalledSa>();
  #tail: Promise<unknown> = Promise.resolve();
  #underlay: Underlay;
  readonly gate = new GateState();
  /** An ACQUIRE was told and not answered yet. */
  wanted = false;
  /** What the kernel's ACQUIREs for this peer left in it. */
  acquired: Acquired[] = [];

  constructor(
    addresses: PeerAddresses,
    underlay: Underlay,
    own: OwnEnd & { readonly reqid: number },
  ) {
    this.id = addresses.id;
    this.#underlay = underlay;
    this.underlay = underlay;
    this.reqid = own.reqid;
    this.#own = own;
    const { virtualAddresses, subnets = [] } = addresses;
    this.#theirs = { virtualAddresses, subnets };
  }

  get context(): PeerContext {
    const { underlay, reqid } = this;
    const { ours, ifId, interfaceIndex } = this.#own;
    return { ours, theirs: this.#theirs, underlay, reqid, ifId, interfaceIndex };
  }

  /** CIDRs behind it. */
  get subnets(): readonly string[] {
    return this.#theirs.subnets;
  }

  set subnets(subnets: readonly string[]) {
    this.#theirs = { ...this.#theirs, subnets };
  }

  get underlay(): Underlay {
    return this.#underlay;
  }

  /** Kept as the kernel prints addresses, so that they can be compared. @throws ValueError */
  set underlay({ local, remote }: Underlay) {
    this.#underlay = { local: canonicalAddress(local), remote: canonicalAddress(remote) };
  }

  /** Which way a state goes whose packets go to `destination`. */
  directionTo(destination: string): SaDirection {
    return destination === this.#underlay.local ? 'in' : 'out';
  }

  /** Whether there is an SA to send by. */
  get canSend(): boolean {
    return this.sas.some(({ direction }) => direction === 'out');
  }

  get sas(): readonly InstalledSa[] {
    return [...this.#sas.values()];
  }

  find(direction: SaDirection, spi: number): InstalledSa | undefined {
    return this.#sas.get(`${direction} ${spi}`);
  }

  put(sa: InstalledSa): void {
    this.#sas.set(`${sa.direction} ${sa.spi}`, sa);
  }

  /** @returns whether it was there. */
  drop(direction: SaDirection, spi: number): boolean {
    return this.#sas.delete(`${direction} ${spi}`);
  }

  /** Runs `work` after all earlier work on this peer, so that a removal cannot overtake an installation. */
  serially<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => undefined);
    return run;
  }
}

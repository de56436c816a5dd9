/** The kernel's end of a pair as two tables, with the keys that are in them. */
import assert from 'node:assert/strict';
import type { PairPlane } from '../../../src/daemon/pair/runs.ts';
import type { SaDirection, SaKeys, SaOptions, Underlay } from '../../../src/ipsec/dataplane.ts';

export class MemoryKernel implements PairPlane {
  readonly inbound = new Map<number, string>();
  readonly outbound = new Map<number, string>();
  readonly lifetimes: SaOptions[] = [];
  /** Every key that ever was installed. */
  readonly keys: string[] = [];
  readonly underlays: Underlay[] = [];
  rejected = 0;
  /** SPIs that were asked for. */
  allocated = 0;
  #spi: number;

  constructor(firstSpi: number) {
    this.#spi = firstSpi;
  }

  async allocateSpi(_: string): Promise<number> {
    this.allocated++;
    return this.#spi++;
  }

  async installInbound(_: string, spi: number, keys: SaKeys, options: SaOptions = {}) {
    this.#install(this.inbound, spi, keys, options);
  }

  async installOutbound(_: string, spi: number, keys: SaKeys, options: SaOptions = {}) {
    this.#install(this.outbound, spi, keys, options);
    this.inUdp.set(spi, options.udp !== undefined);
  }

  async removeSa(_: string, spi: number, direction: SaDirection): Promise<void> {
    (direction === 'in' ? this.inbound : this.outbound).delete(spi);
  }

  async rejectAcquire(_: string): Promise<void> {
    this.rejected++;
  }

  /** What the network has brought: packets under an SPI. */
  readonly received = new Map<number, bigint>();
  readonly sent = new Map<number, bigint>();
  /** Of outbound SAs. */
  readonly inUdp = new Map<number, boolean>();
  readonly ports: number[] = [];
  readonly kept: number[] = [];

  async packets(_: string, spi: number, direction: SaDirection): Promise<bigint | undefined> {
    if (!(direction === 'in' ? this.inbound : this.outbound).has(spi)) return undefined;
    return (direction === 'in' ? this.received : this.sent).get(spi) ?? 0n;
  }

  async remap(_: string, remotePort: number): Promise<void> {
    this.ports.push(remotePort);
  }

  keepalive(_: string, remotePort: number): void {
    this.kept.push(remotePort);
  }

  async updatePeerUnderlay(_: string, underlay: Underlay): Promise<void> {
    this.underlays.push(underlay);
    this.inbound.clear();
    this.outbound.clear();
  }

  #install(table: Map<number, string>, spi: number, { key }: SaKeys, options: SaOptions): void {
    const text = Buffer.from(key).toString('hex');
    assert.ok(!table.has(spi), 'P16 an SPI is used again');
    table.set(spi, text);
    this.keys.push(text);
    this.lifetimes.push(options);
  }
}

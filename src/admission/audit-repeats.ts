/**
 * What strangers, and members that renew over and over, may write into the audit log: ten lines a minute for a site,
 * sixty for all, and at the end of the minute a line with a count for each of the sixteen sites that had most of the
 * others, and one for all that remain. However many ask, that is less than 50 MB a day; one site alone, 6 MB.
 */

import { originOf } from '../shares/origin.ts';
import type { AuditEntry } from './audit-record.ts';

/** Milliseconds. */
export const WINDOW = 60_000;
const LINES_OF_ONE = 10;
const LINES_OF_ALL = 60;
const COUNTED = 16;
const MAX_SITES = 1000;
const OF_STRANGERS: readonly string[] = ['refused', 'guessing'];
const OF_MEMBERS: readonly string[] = ['renewed', 'duplicate'];

interface Site {
  readonly since: number;
  lines: number;
  /** Entries that got no line, and the last of them. */
  more: number;
  last: AuditEntry;
}

export class Repeats {
  readonly #clock: () => number;
  readonly #sites = new Map<string, Site>();
  #lines = 0;

  constructor(clock: () => number) {
    this.#clock = clock;
  }

  /** @returns true when the entry was counted and is not to be written now */
  absorb(entry: AuditEntry): boolean {
    // Beyond the bound all sites share one count, so that changing one's site is no way around it.
    const { event, address = '', peerId } = entry;
    const isMember = OF_MEMBERS.includes(event);
    if (!isMember && !OF_STRANGERS.includes(event)) return false;
    const from = isMember ? peerId : originOf(address).site;
    const key = this.#sites.size < MAX_SITES ? `${event} ${from}` : 'others';
    const site = this.#sites.get(key) ?? { since: this.#clock(), lines: 0, more: 0, last: entry };
    this.#sites.set(key, site);
    if (site.lines < LINES_OF_ONE && this.#lines < LINES_OF_ALL) {
      site.lines++;
      this.#lines++;
      return false;
    }
    site.more++;
    site.last = entry;
    return true;
  }

  /** @returns an entry for each of those that were counted most, and one for the rest; all windows when `everything` */
  drain(everything: boolean): AuditEntry[] {
    const over: Site[] = [];
    for (const [key, site] of this.#sites) {
      if (!everything && this.#clock() - site.since < WINDOW) continue;
      this.#sites.delete(key);
      this.#lines -= site.lines;
      if (site.more > 0) over.push(site);
    }
    over.sort((a, b) => b.more - a.more);
    const due = over.slice(0, COUNTED).map(({ more, last }) => ({ ...last, count: more }));
    const rest = over.slice(COUNTED).reduce((sum, { more }) => sum + more, 0);
    const others = { event: 'refused', serviceId: '-', cause: 'from many other sites' } as const;
    return rest === 0 ? due : [...due, { ...others, count: rest }];
  }
}

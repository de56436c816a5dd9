/** Address blocks as nft's sets take them: of one family, none inside another. */
import { covers, parseSubnet, type Subnet } from '../../policy/subnet.ts';

/** As nft names them, with the bits of an address. */
export const FAMILIES = { ip: 32, ip6: 128 } as const;
export type Family = keyof typeof FAMILIES;

/**
 * @param cidrs of both families
 * @returns those of one, sorted, each address covered once
 * @throws AddressError
 */
export function blocksOf(cidrs: readonly string[], family: Family): string[] {
  const sorted = cidrs
    .map(parseSubnet)
    .filter(({ bits }) => bits === FAMILIES[family])
    .sort((a, b) => compare(a.first, b.first) || compare(b.last, a.last));
  const kept: Subnet[] = [];
  for (const block of sorted) {
    const last = kept.at(-1);
    if (last === undefined || !covers(last, block)) kept.push(block);
  }
  return kept.map(({ text }) => text);
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : Number(a > b));

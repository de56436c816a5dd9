/** Which routing rules of other programs come before the service's. Pure. */
import { overlap, parseSubnet } from '../../policy/subnet.ts';
import { RT_TABLE_LOCAL } from '../link/kernel.ts';
import type { Rule } from '../link/rule-codec.ts';
import { canonicalPrefix } from '../xfrm/address.ts';
import type { InterfaceOptions } from './interface.ts';
import { PREFERENCE, ROUTE_PROTOCOL } from './routing.ts';

/**
 * Those that this machine's own packets to the service may follow. What only marked packets follow, or those that
 * come in by some interface, is left out: other programs' own business.
 *
 * @returns as `ip rule` would show them
 */
export function conflictingRules(
  rules: readonly Rule[],
  { prefixes }: Pick<InterfaceOptions, 'prefixes'>,
): string[] {
  const blocks = Object.values(prefixes).map((each) => parseSubnet(canonicalPrefix(each)));
  return rules.filter((rule) => concerns(rule, blocks)).map(show);
}

function concerns(rule: Rule, blocks: readonly ReturnType<typeof parseSubnet>[]): boolean {
  const { priority, protocol, table, mark, inputInterface, destination, family } = rule;
  if (priority > PREFERENCE.service || protocol === ROUTE_PROTOCOL) return false;
  if (table === RT_TABLE_LOCAL || mark !== undefined) return false;
  if (inputInterface !== undefined && inputInterface !== 'lo') return false;
  if (destination === undefined) return true;
  return blocks.some(
    (block) =>
      (block.bits === 128) === (family === 'ipv6') && overlap(block, parseSubnet(destination)),
  );
}

function show({ family, priority, source, destination, action, table }: Rule): string {
  const parts = [
    `${family === 'ipv6' ? '-6 ' : ''}${priority}: from ${source ?? 'all'}`,
    ...(destination === undefined ? [] : [`to ${destination}`]),
    action === 'lookup' ? `lookup ${table ?? 'none'}` : action,
  ];
  return parts.join(' ');
}

/** Routes that no policy may have: onto the addresses of the members themselves. */
import { formatPrefix, type Prefix } from '../codec/ip.ts';
import type { PolicyDocument } from './document.ts';
import { PolicyError } from './errors.ts';
import { overlap, parseSubnet } from './subnet.ts';

/**
 * A gateway that announced members' own addresses would take their packets.
 *
 * @param virtual the service's own prefixes
 * @throws PolicyError `ERR_POLICY_ROUTE`
 */
export function checkRoutes({ routes }: PolicyDocument, virtual: readonly Prefix[]): void {
  const own = virtual.map(formatPrefix);
  for (const [i, { subnets }] of routes.entries()) {
    for (const [j, subnet] of subnets.entries()) {
      const clash = own.find((each) => overlap(parseSubnet(each), subnet));
      if (clash === undefined) continue;
      throw new PolicyError(
        'ERR_POLICY_ROUTE',
        `routes[${i}].subnets[${j}]`,
        `${subnet.text} overlaps ${clash}, the service's own addresses`,
        'route other subnets, or make the service with another --ipv4',
      );
    }
  }
}

/** Finds the interfaces that subnets are behind, where nobody has named them. */
import { LinkClient } from '../link/client.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { ambiguousSubnet, noWayToSubnet } from './errors.ts';
import { ROUTE_PROTOCOL } from './routing.ts';
import type { Site } from './site.ts';
import { interfacesTo, lengthOf } from './site-routes.ts';

/**
 * @param wish interfaces may be empty: then they are those that the machine's routes to the subnets
 * lead to. A default route does not count
 * @throws DataPlaneError `ERR_SUBNET_NOT_HERE`, `ERR_SUBNET_AMBIGUOUS`; LinkError
 */
export async function findSite(wish: Site, call: CallOptions = {}): Promise<Site> {
  if (wish.subnets.length === 0 || wish.interfaces.length > 0) return wish;
  using links = new LinkClient();
  const routes = (await links.routes(call)).filter(
    (route) => route.type === 'unicast' && route.protocol !== ROUTE_PROTOCOL && lengthOf(route) > 0,
  );
  const indices = new Set<number>();
  for (const subnet of wish.subnets) {
    const found = interfacesTo(subnet, routes);
    if (found === undefined) throw ambiguousSubnet(subnet);
    if (found.length === 0) throw noWayToSubnet(subnet, []);
    for (const index of found) indices.add(index);
  }
  const all = await links.links(call);
  const interfaces = all.filter(({ index }) => indices.has(index)).map(({ name }) => name);
  return { ...wish, interfaces };
}

/** How subnets behind this machine are reached, as its own routes say. Pure. */
import { covers, parseSubnet } from '../../policy/subnet.ts';
import type { Route } from '../link/codec.ts';

/** The routes to parts of a subnet, and the nearest one to the whole of it as one to itself. */
export function waysTo(subnet: string, routes: readonly Route[]): Route[] {
  const { parts, whole } = routesFor(subnet, routes);
  const unique = new Map(parts.map((route) => [route.destination, route]));
  const [nearest] = whole;
  return [...unique.values(), ...(nearest ? [{ ...nearest, destination: subnet }] : [])];
}

/**
 * The interfaces by which the routes lead to a subnet: one for each destination, or the routes
 * contradict each other.
 *
 * @returns their indices; undefined for those to one destination by several interfaces
 */
export function interfacesTo(subnet: string, routes: readonly Route[]): number[] | undefined {
  const { parts, whole } = routesFor(subnet, routes);
  const nearest = whole.filter(({ destination }) => destination === whole[0]?.destination);
  const found = new Map<string, Set<number>>();
  for (const { destination, interfaceIndex = 0 } of [...parts, ...nearest]) {
    found.set(destination, (found.get(destination) ?? new Set()).add(interfaceIndex));
  }
  const sets = [...found.values()];
  return sets.every(({ size }) => size === 1)
    ? [...new Set(sets.flatMap((s) => [...s]))]
    : undefined;
}

function routesFor(subnet: string, routes: readonly Route[]): { parts: Route[]; whole: Route[] } {
  const block = parseSubnet(subnet);
  const parts = routes.filter(
    ({ destination }) => destination !== subnet && covers(block, parseSubnet(destination)),
  );
  const whole = routes
    .filter(({ destination }) => covers(parseSubnet(destination), block))
    .sort((a, b) => lengthOf(b) - lengthOf(a) || (a.metric ?? 0) - (b.metric ?? 0));
  return { parts, whole };
}

/** Of a route's destination, in bits. */
export const lengthOf = ({ destination }: Route): number => Number(destination.split('/')[1]);

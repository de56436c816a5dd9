/** `tcp/443`, `tcp/9000-9010`, `udp/53`, `icmp`, `any`. */
import { fieldError, quoted } from './errors.ts';
import type { Reader } from './fields.ts';
import type { Ports } from './grant.ts';

const SHAPE = /^(tcp|udp)\/(\d{1,5})(?:-(\d{1,5}))?$/;
const REMEDY = 'write tcp/443, tcp/9000-9010, udp/53, icmp or any';

export const readPorts: Reader<Ports> = (value, path) => {
  if (value === 'any' || value === 'icmp') return { protocol: value };
  const [, protocol, begin, end = begin] = (typeof value === 'string' && SHAPE.exec(value)) || [];
  if (protocol === 'tcp' || protocol === 'udp') {
    const [first, last] = [Number(begin), Number(end)];
    if (first >= 1 && first <= last && last <= 0xffff) return { protocol, first, last };
  }
  throw fieldError(path, `${quoted(value)} is no port`, REMEDY);
};

/** What one test asks for: one port, or ICMP. */
export const readPort: Reader<Ports> = (value, path) => {
  const ports = readPorts(value, path);
  const single = 'first' in ports ? ports.first === ports.last : ports.protocol === 'icmp';
  if (single) return ports;
  throw fieldError(path, `${quoted(value)} is more than one port`, 'test one, such as tcp/443');
};

/** Whether all of `inner` is among `outer`. */
export function includes(outer: Ports, inner: Ports): boolean {
  if (outer.protocol === 'any') return true;
  if (outer.protocol !== inner.protocol) return false;
  if (!('first' in outer && 'first' in inner)) return true;
  return outer.first <= inner.first && inner.last <= outer.last;
}

export function formatPorts(ports: Ports): string {
  if (!('first' in ports)) return ports.protocol;
  const { protocol, first, last } = ports;
  return first === last ? `${protocol}/${first}` : `${protocol}/${first}-${last}`;
}

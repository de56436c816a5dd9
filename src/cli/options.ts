/** Options that several commands share, and the parsers of their values. */

import type { Ed25519PeerId } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { InvalidArgumentError, Option } from 'commander';
import { formatPrefix, type Prefix, parsePrefix } from '../codec/ip.ts';
import { parsePeerId } from '../records/peer-id.ts';

/** Makes commander report a parser's error as a wrong argument. */
function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

/** The same for an option that may be given several times. */
function list<T>(parse: (text: string) => T): (text: string, before: T[]) => T[] {
  const one = argument(parse);
  return (text, before) => [...before, one(text)];
}

const parseMultiaddr = (text: string): string => multiaddr(text).toString();

export const jsonOption = (): Option => new Option('--json', 'print JSON').default(false);

export const DEFAULT_MEMBER_STATE = '/var/lib/icvpn/member';

export const stateOption = (fallback: string): Option =>
  new Option('--state <dir>', 'directory of this node: key, secure cache, socket').default(
    fallback,
  );

export const keyFileOption = (): Option =>
  new Option(
    '--cache-key <file>',
    'file with the key of the secure cache; made in the state directory when left out',
  );

export const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/4242', '/ip6/::/tcp/4242'];

/** The secure cache's options out of a command's. */
export const cacheKey = (options: { cacheKey?: string }): { keyFile?: string } =>
  options.cacheKey === undefined ? {} : { keyFile: options.cacheKey };

export const addressList = list(parseMultiaddr);

export const listenOption = (fallback: string[]): Option =>
  new Option('--listen <multiaddr>', 'where to listen; may be given again')
    .argParser((text: string, before: string[]) =>
      list(parseMultiaddr)(text, before === fallback ? [] : before),
    )
    .default(fallback);

export const announceOption = (): Option =>
  new Option('--announce <multiaddr>', 'address to tell others instead; may be given again')
    .argParser(list(parseMultiaddr))
    .default([]);

export const cardsOption = (): Option =>
  new Option('--super-peer <card>', 'card of a super-peer that may admit; may be given again')
    .argParser(list((text: string) => text))
    .default([])
    .makeOptionMandatory();

export const parseCount = argument((text: string): number => {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new Error('not a whole number above 0');
  return Number(text);
});

export const parsePort = argument((text: string): number => {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0;
  if (port < 1 || port > 0xffff) throw new Error('not a port from 1 to 65535');
  return port;
});

export const encapsulationOption = (): Option =>
  new Option(
    '--encapsulation <kind>',
    "ESP as it is, or in UDP, where the service's policy leaves it open; auto when left out",
  ).choices(['auto', 'esp', 'udp']);

export const parsePrefixArgument: (text: string) => Prefix = argument(parsePrefix);

export const subnetOption = (): Option =>
  new Option(
    '--subnet <cidr>',
    'network behind this VM that the others reach through it; may be given again',
  )
    .argParser(list((text: string): string => formatPrefix(parsePrefix(text))))
    .default([]);

export const parsePeerIdList: (text: string, before: Ed25519PeerId[]) => Ed25519PeerId[] =
  list(parsePeerId);

export const parsePeerIdText: (text: string) => Ed25519PeerId = argument(parsePeerId);

export const parseDate: (text: string) => Date = argument((text) => {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new Error('not a time such as 2030-01-31T12:00:00Z');
  return date;
});

export const serviceDirOption = (): Option =>
  new Option('--dir <dir>', 'directory that the service was created with').makeOptionMandatory();

export const parseTextList: (text: string, before: string[]) => string[] = list(
  (text: string): string => text,
);

/** Options that several commands share, and the parsers of their values. */

import { InvalidArgumentError, Option } from 'commander';

/** Makes commander report a parser's error as a wrong argument. */
export function argument<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      throw new InvalidArgumentError(error instanceof Error ? error.message : String(error));
    }
  };
}

/** The same for an option that may be given several times. */
export function list<T>(
  parse: (text: string) => T,
): (text: string, before: T[] | undefined) => T[] {
  const one = argument(parse);
  return (text, before = []) => [...before, one(text)];
}

export const jsonOption = (): Option => new Option('--json', 'print JSON').default(false);

export const DEFAULT_MEMBER_STATE = '/var/lib/icvpn/member';
export const DEFAULT_SUPER_PEER_STATE = '/var/lib/icvpn/super-peer';

export const stateOption = (fallback: string): Option =>
  new Option('--state <dir>', 'directory of this node: key, secure cache, socket').default(
    fallback,
  );

export const keyFileOption = (): Option =>
  new Option(
    '--cache-key <file>',
    'file with the key of the secure cache; made in the state directory when left out',
  );

/** The secure cache's options out of a command's. */
export const cacheKey = (options: { cacheKey?: string }): { keyFile?: string } =>
  options.cacheKey === undefined ? {} : { keyFile: options.cacheKey };

export const cardsOption = (): Option =>
  new Option('--super-peer <card>', 'card of a super-peer that may admit; may be given again')
    .argParser(list((text: string) => text))
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

export const parseDate: (text: string) => Date = argument((text) => {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) throw new Error('not a time such as 2030-01-31T12:00:00Z');
  return date;
});

export const serviceDirOption = (): Option =>
  new Option('--dir <dir>', 'directory that the service was created with').makeOptionMandatory();

export const parseTextList: (text: string, before: string[] | undefined) => string[] = list(
  (text: string): string => text,
);

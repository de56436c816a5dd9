/** Options whose values are addresses, networks or PeerIDs: their parsers load the libraries for these. */

import type { Ed25519PeerId } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import { Option } from 'commander';
import { formatPrefix, type Prefix, parsePrefix } from '../codec/ip.ts';
import { parseTcpMultiaddr } from '../codec/multiaddr.ts';
import { parsePeerId } from '../records/peer-id.ts';
import { argument, list } from './options.ts';

const parseMultiaddr = (text: string): string => multiaddr(text).toString();

export const DEFAULT_LISTEN = ['/ip4/0.0.0.0/tcp/4242', '/ip6/::/tcp/4242'];

/** Addresses that others dial. */
export const addressList = list(parseTcpMultiaddr);

export const listenOption = (fallback: string[]): Option =>
  new Option('--listen <multiaddr>', 'where to listen; may be given again')
    .argParser((text: string, before: string[]) =>
      list(parseMultiaddr)(text, before === fallback ? [] : before),
    )
    .default(fallback);

export const announceOption = (): Option =>
  new Option('--announce <multiaddr>', 'address to tell others instead; may be given again')
    .argParser(addressList)
    .default([]);

export const parsePrefixArgument: (text: string) => Prefix = argument(parsePrefix);

export const subnetOption = (): Option =>
  new Option(
    '--subnet <cidr>',
    'network behind this VM that the others reach through it; may be given again',
  )
    .argParser(list((text: string): string => formatPrefix(parsePrefix(text))))
    .default([]);

export const parsePeerIdList: (
  text: string,
  before: Ed25519PeerId[] | undefined,
) => Ed25519PeerId[] = list(parsePeerId);

export const parsePeerIdText: (text: string) => Ed25519PeerId = argument(parsePeerId);

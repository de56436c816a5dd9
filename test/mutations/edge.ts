/** What comes from outside is parsed once, and one bad entry costs that entry. */
import type { Mutation } from './mutation.ts';

const ENTRIES = ['test/unit/overlay/bad-entries.test.ts'];
const MEMBERSHIP = ['test/unit/overlay/membership.test.ts'];
const ADDRESSES = ['test/unit/daemon/addresses.test.ts'];

export const EDGE_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P27',
    title: 'an address is any text with a port',
    file: 'src/codec/multiaddr.ts',
    find: "if (kind === 'ip4') return isIP(host) === 4 && isDiallable(host);",
    replace: "if (kind === 'ip4') return isIP(host) === 4;",
    tests: ['test/unit/codec/multiaddr.test.ts'],
  },
  {
    promise: 'P27',
    title: 'a bad entry spoils the list that it is in',
    file: 'src/codec/protobuf.ts',
    find: '        if (!(error instanceof DecodeError)) throw error;\n      }\n      return list;',
    replace: '        throw error;\n      }\n      return list;',
    tests: ENTRIES,
  },
  {
    promise: 'P27',
    title: 'a record that its signer wrote wrongly ends the sync of the node that passes it on',
    file: 'src/overlay/spread-rule.ts',
    find: 'return error instanceof EnvelopeError && error.cause instanceof DecodeError;',
    replace: 'return false;',
    tests: ENTRIES,
  },
  {
    promise: 'P27',
    title: 'a name has characters that a terminal acts on',
    file: 'src/codec/text.ts',
    find: '!INVISIBLE.test(text) && text.trim() === text',
    replace: 'text.trim() === text',
    tests: ['test/unit/codec/text.test.ts'],
  },
  {
    promise: 'P27',
    title: 'a part of a long list may be missing',
    file: 'src/overlay/directory-check.ts',
    find: 'value.part === before.part + 1 &&',
    replace: 'value.part > before.part &&',
    tests: ['test/unit/overlay/directory-check.test.ts'],
  },
  {
    promise: 'P27',
    title: 'an attachment of a time to come counts as it says',
    file: 'src/overlay/membership.ts',
    find: 'if (session <= now) return session;',
    replace: 'if (session >= 0) return session;',
    tests: MEMBERSHIP,
  },
  {
    promise: 'P27',
    title: 'any super-peer delists another one’s member',
    file: 'src/overlay/membership.ts',
    find: 'if (this.#reclaim(place, trust)) continue;',
    replace: '',
    tests: MEMBERSHIP,
  },
  {
    promise: 'P20',
    title: 'a peer is looked for at this machine',
    file: 'src/daemon/pair/ways.ts',
    find: 'told.filter((each) => !own.includes(each))',
    replace: 'told.filter((each) => each !== own.join())',
    tests: ADDRESSES,
  },
  {
    promise: 'P20',
    title: 'the address at which a super-peer sees a member is told last',
    file: 'src/overlay/seen-address.ts',
    find: 'return [...found, ...rest].slice(0, MAX_MULTIADDRS);',
    replace: 'return [...rest, ...found].slice(0, MAX_MULTIADDRS);',
    tests: ADDRESSES,
  },
];

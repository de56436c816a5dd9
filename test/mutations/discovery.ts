/** Attribute-based encryption and what it protects. */
import type { Mutation } from './mutation.ts';

const CCA = 'src/keymgmt/abe/cca.ts';
const ABE = [
  'test/unit/abe/access.test.ts',
  'test/unit/abe/format.test.ts',
  'test/unit/abe/golden.test.ts',
  'test/unit/abe/sharing.test.ts',
];

const LIST = 'src/keymgmt/discovery/member-list.ts';
const LISTS = [
  'test/unit/discovery/member-list.test.ts',
  'test/unit/discovery/directory-seal.test.ts',
];

export const DISCOVERY_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P25',
    title: 'the tag of a ciphertext is not checked',
    file: CCA,
    find: 'if (sameId && sameTag) return plaintext;',
    replace: 'if (sameId || sameTag) return plaintext;',
    tests: ABE,
  },
  {
    promise: 'P24',
    title: 'bytes after a ciphertext are taken',
    file: CCA,
    find: '  const tag = outer.prefixed();\n  outer.end();\n',
    replace: '  const tag = outer.prefixed();\n',
    tests: ABE,
  },
  {
    promise: 'P9',
    title: 'a member list of any signer counts',
    file: LIST,
    find: 'if (!context.admitters.some((id) => id.equals(signer))) {',
    replace: 'if (!context.admitters.some((id) => id.type === signer.type)) {',
    tests: LISTS,
  },
  {
    promise: 'P9',
    title: 'a member list of another service counts',
    file: LIST,
    find: "if (!value.serviceId.equals(context.serviceId)) wrong('service', 'for another service');",
    replace: '',
    tests: LISTS,
  },
  {
    promise: 'P9',
    title: 'an answer to another request counts',
    file: LIST,
    find: 'if (!sameRequester(value.requester, context.requester)) {',
    replace: 'if (sameRequester(value.requester, context.requester) === undefined) {',
    tests: LISTS,
  },
  {
    promise: 'P9',
    title: 'an older member list counts',
    file: LIST,
    find: 'if (last !== undefined && value.sequence < last) {',
    replace: 'if (last !== undefined && value.sequence < 0) {',
    tests: LISTS,
  },
  {
    promise: 'P9',
    title: 'the statement may be about another list',
    file: LIST,
    find: 'if (!equals(value.ciphertextHash, sha256(sha256(header), body))) {',
    replace: 'if (value.ciphertextHash.length !== sha256(sha256(header), body).length) {',
    tests: LISTS,
  },
  {
    promise: 'P9',
    title: 'a member list that has ended counts',
    file: LIST,
    find: 'if (context.now >= value.notAfter + CLOCK_SKEW_SECONDS) ',
    replace: 'if (context.now < 0) ',
    tests: LISTS,
  },
];

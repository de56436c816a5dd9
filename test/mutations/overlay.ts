/** Records, gates, membership. */
import type { Mutation } from './mutation.ts';

const STORE = 'src/overlay/record-store.ts';
const STORE_TESTS = ['test/unit/overlay/record-store.test.ts', 'test/unit/overlay/records.test.ts'];
const CREDENTIAL = 'src/records/credential.ts';
const CREDENTIAL_TESTS = ['test/unit/records/credential.test.ts'];
const GATE_TESTS = ['test/unit/overlay/gate.test.ts', 'test/unit/overlay/isolation.test.ts'];

export const OVERLAY_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P8',
    title: 'endpoints of keys that nobody admitted are kept',
    file: 'src/overlay/record-store.ts',
    find: 'if (this.#isMember(peer)) return;',
    replace: 'if (this.#isMember(peer) || true) return;',
    tests: ['test/unit/overlay/record-store.test.ts'],
    grep: 'admitted only',
  },
  {
    promise: 'P28',
    title: 'a member of the service takes endpoints of any key',
    file: 'src/daemon/tier.ts',
    find: 'isMember: (peer) => listed.has(peer) || isConnected(gate, peer),',
    replace: '',
    tests: ['test/unit/daemon/way-back.test.ts'],
    grep: 'endpoints',
  },
  {
    promise: 'P7',
    title: 'a credential serves every peer that shows it',
    file: CREDENTIAL,
    find: 'if (!value.peerId.equals(context.bearer)) ',
    replace: 'if (value.peerId.type !== context.bearer.type) ',
    tests: CREDENTIAL_TESTS,
  },
  {
    promise: 'P8',
    title: 'a record of a lower sequence replaces a newer one',
    file: STORE,
    find: 'if (order < 0 || rank < 0) {',
    replace: 'if (order < 0) {',
    tests: STORE_TESTS,
  },
  {
    promise: 'P8',
    title: 'of two records of one sequence the last to come stays',
    file: STORE,
    find: 'const order = old && rank === 0 ? precedence(fresh, old) : 1;',
    replace:
      'const order = old && rank === 0 && compare(fresh.bytes, old.bytes) === 0 ? precedence(fresh, old) : 1;',
    tests: STORE_TESTS,
  },
  {
    promise: 'P8',
    title: 'anybody signs a record',
    file: STORE,
    find: 'if (!kind.signer(value).equals(signer)) {',
    replace: 'if (kind.signer(value).type !== signer.type) {',
    tests: STORE_TESTS,
  },
  {
    promise: 'P8',
    title: 'a record is kept under the key of another',
    file: STORE,
    find: 'if (recordKey(kind, ...kind.names(value)) !== key) {',
    replace: 'if (recordKey(kind, ...kind.names(value)) === "") {',
    tests: STORE_TESTS,
  },
  {
    promise: 'P8',
    title: 'anybody ends a record',
    file: STORE,
    find: 'if (signer.toString() !== names[kind.signerPart]) {',
    replace: 'if (signer.toString() === "") {',
    tests: STORE_TESTS,
  },
  {
    promise: 'P8',
    title: 'floors are forgotten with a restart',
    file: STORE,
    find: 'if (known === undefined || compareVersions(floor, known) > 0) this.#raise(key, floor);',
    replace:
      'if (known !== undefined && compareVersions(floor, known) > 0) this.#raise(key, floor);',
    tests: [...STORE_TESTS, 'test/unit/overlay/record-files.test.ts'],
  },
  {
    promise: 'P9',
    title: 'a lookup ends with the first answer',
    file: 'src/overlay/records.ts',
    find: 'if (++answers === MAX_ANSWERS) break;',
    replace: 'if (++answers === 1) break;',
    tests: [...STORE_TESTS, 'test/unit/overlay/isolation.test.ts'],
  },
  {
    promise: 'P10',
    title: 'kad-dht is served without the gate',
    file: 'src/overlay/kad-parts.ts',
    find: 'handle: (protocol, handler, options) => gate.handle(suffixOf(protocol), handler, options),',
    replace:
      'handle: (protocol, handler, options) => components.registrar.handle(protocol, handler, options),',
    tests: [...GATE_TESTS, 'test/unit/overlay/kad-parts.test.ts'],
  },
  {
    promise: 'P10',
    title: 'a stream is served before a credential was shown',
    file: 'src/overlay/gate.ts',
    find: 'const passage = this.#passages.of(connection);\n    if (passage === undefined) {',
    replace:
      "const passage = this.#passages.of(connection) ?? { pass: 'admitter' as const, shown: undefined };\n    if (passage === undefined) {",
    tests: GATE_TESTS,
  },
  {
    promise: 'P10',
    title: 'a credential of any service passes',
    file: CREDENTIAL,
    find: 'if (!value.serviceId.equals(context.serviceId)) ',
    replace: 'if (value.serviceId.type !== context.serviceId.type) ',
    tests: CREDENTIAL_TESTS,
  },
  {
    promise: 'P10',
    title: 'a credential of any signer passes',
    file: CREDENTIAL,
    find: 'if (!context.admitters.some((id) => id.equals(signer))) {',
    replace: 'if (!context.admitters.some((id) => id.type === signer.type)) {',
    tests: CREDENTIAL_TESTS,
  },
  {
    promise: 'P33',
    title: 'a credential that has ended passes',
    file: CREDENTIAL,
    find: 'if (context.now >= value.notAfter + CLOCK_SKEW_SECONDS) ',
    replace: 'if (context.now < 0) ',
    tests: CREDENTIAL_TESTS,
  },
  {
    promise: 'P11',
    title: 'a revoked member passes the gate',
    file: 'src/overlay/pass.ts',
    find: "if (revoked?.(pass)) return notAdmitted(peer, 'its credential was revoked');",
    replace: '',
    tests: GATE_TESTS,
  },
  {
    promise: 'P11',
    title: 'revoked members stay listed',
    file: 'src/daemon/served-service.ts',
    find: '      this.membership.recheck();\n',
    replace: '',
    tests: ['test/unit/daemon/late-super-peer.test.ts'],
  },
];

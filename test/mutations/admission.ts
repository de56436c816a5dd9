/** Admission: SRP, confirmation, tickets, limits. */
import type { Mutation } from './mutation.ts';

const ENGINE = 'src/admission/srp/engine.ts';
const SESSION = 'src/admission/server-session.ts';
const SRP_TESTS = [
  'test/unit/admission/srp/engine.test.ts',
  'test/unit/admission/srp/pool.test.ts',
];
const STRANGERS = ['test/unit/admission/strangers.test.ts'];
const SAME_WORK = ['test/unit/admission/same-work.test.ts'];
const TICKETS = ['test/unit/admission/ticket.test.ts', 'test/unit/admission/store.test.ts'];

export const ADMISSION_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P33',
    title: 'a ticket for any VM vouches for the VMID that the VM tells',
    file: SESSION,
    find: "(vmid === undefined ? 'roles' : 'vmid-and-roles')",
    replace: "(vmid === '' ? 'roles' : 'vmid-and-roles')",
    tests: TICKETS,
  },
  {
    promise: 'P33',
    title: 'the secret vouches as a ticket does',
    file: SESSION,
    find: 'const vouched = ticket && vouchedBy(ticket);',
    replace: "const vouched = ticket === undefined ? 'roles' : vouchedBy(ticket);",
    tests: TICKETS,
  },
  {
    promise: 'P33',
    title: 'a route by VMID counts for whoever takes that VMID',
    file: 'src/policy/selector.ts',
    find: "if (selector.kind === 'vmid' && vouched !== 'vmid-and-roles') return false;",
    replace: '',
    tests: ['test/unit/policy/evaluate.test.ts'],
  },
  {
    promise: 'P33',
    title: 'a route by role counts for whoever takes that role',
    file: 'src/policy/selector.ts',
    find: "if (selector.kind === 'role' && vouched === undefined) return false;",
    replace: '',
    tests: ['test/unit/policy/evaluate.test.ts'],
  },
  {
    promise: 'P26',
    title: 'of two gateways the lower PeerID has the subnet',
    file: 'src/daemon/subnets.ts',
    find: 'a.since - b.since || (a.id',
    replace: '(a.id',
    tests: ['test/unit/daemon/subnets.test.ts', 'test/unit/daemon/subnet-leads.test.ts'],
  },
  {
    promise: 'P1',
    title: 'a ticket is taken whoever signed it',
    file: 'src/admission/ticket.ts',
    find: 'if (!opened.signer.equals(opened.value.serviceId)) {',
    replace: 'if (opened.signer.type !== opened.value.serviceId.type) {',
    tests: TICKETS,
  },
  {
    promise: 'P1',
    title: 'a ticket that another node used is taken again',
    file: SESSION,
    find: "if (use === 'used') {",
    replace: 'if (use === undefined) {',
    tests: TICKETS,
  },
  {
    promise: 'P1',
    title: 'a ticket is taken by every super-peer of the service',
    file: SESSION,
    find: 'return value.superPeer.equals(self) ? value : undefined;',
    replace: 'return value.superPeer.type === self.type ? value : undefined;',
    tests: TICKETS,
  },
  {
    promise: 'P2',
    title: 'the super-peer computes with any A',
    file: ENGINE,
    find: "if (!inRange(this.#suite.group, A)) throw new SrpValueError('A');",
    replace: '',
    tests: SRP_TESTS,
  },
  {
    promise: 'P2',
    title: 'the member computes with any B',
    file: ENGINE,
    find: "checkExponent(own.a);\n    if (!inRange(this.#suite.group, B)) throw new SrpValueError('B');",
    replace: 'checkExponent(own.a);',
    tests: SRP_TESTS,
  },
  {
    promise: 'P2',
    title: 'the member goes on when u is zero',
    file: ENGINE,
    find: "if (u.every((byte) => byte === 0)) throw new SrpValueError('u');",
    replace: '',
    tests: SRP_TESTS,
  },
  {
    promise: 'P2',
    title: 'M2 follows a wrong M1',
    file: ENGINE,
    find: 'if (M1.length === session.M1.length && timingSafeEqual(M1, session.M1)) return session;',
    replace: 'if (M1.length === session.M1.length) return session;',
    tests: SRP_TESTS,
  },
  {
    promise: 'P3',
    title: 'no SRP runs for a service that is not served',
    file: SESSION,
    find: 'const B = await srp.start({ suite: hello.suite, verifier: record.verifier, b });',
    replace:
      'const B = service ? await srp.start({ suite: hello.suite, verifier: record.verifier, b }) : record.verifier;',
    tests: SAME_WORK,
  },
  {
    promise: 'P3',
    title: 'no proof is computed for a service that is not served',
    file: SESSION,
    find: 'const session = await this.#context.srp.finish({',
    replace: 'const session = missing ? undefined : await this.#context.srp.finish({',
    tests: SAME_WORK,
  },
  {
    promise: 'P3',
    title: 'an unknown service takes 20 ms longer',
    file: SESSION,
    find: "const missing = service === undefined ? 'unknown service'",
    replace:
      "if (!known) await new Promise((done) => setTimeout(done, 20));\n    const missing = service === undefined ? 'unknown service'",
    tests: SAME_WORK,
  },
  {
    promise: 'P4',
    title: 'exponentiation by BigInt',
    file: 'src/admission/srp/modexp.ts',
    find: 'dh.setPrivateKey(exponent);\n      return dh.computeSecret(base);',
    replace: `if (exponent.every((byte) => byte === 0)) return new Uint8Array();
      const n = BigInt('0x' + Buffer.from(group.N).toString('hex'));
      let [b, e, r] = [base, exponent, Uint8Array.of(1)].map((x) => BigInt('0x' + Buffer.from(x).toString('hex')));
      for (; e > 0n; e >>= 1n, b = (b * b) % n) if (e & 1n) r = (r * b) % n;
      if (r === 1n) return new Uint8Array();
      return Buffer.from(r.toString(16).padStart(group.N.length * 2, '0'), 'hex');`,
    tests: SRP_TESTS,
  },
  {
    promise: 'P4',
    title: 'a secret that a person chose is not stretched',
    file: 'src/admission/kdf.ts',
    find: 'if (parameters === undefined) return',
    replace: 'if (parameters === undefined || secret.kind === "human") return',
    tests: ['test/unit/admission/secret.test.ts'],
  },
  {
    promise: 'P6',
    title: 'the confirmation does not name the VM',
    file: 'src/admission/keys.ts',
    find: "return digest('icvpn admission 1', Transcript.encode(run));",
    replace:
      "return digest('icvpn admission 1', Transcript.encode({ ...run, vm: run.superPeer }));",
    tests: ['test/unit/admission/relay.test.ts'],
  },
  {
    promise: 'P6',
    title: 'the confirmation does not name the super-peer',
    file: 'src/admission/keys.ts',
    find: "return digest('icvpn admission 1', Transcript.encode(run));",
    replace:
      "return digest('icvpn admission 1', Transcript.encode({ ...run, superPeer: run.vm }));",
    tests: ['test/unit/admission/relay.test.ts'],
  },
  {
    promise: 'P6',
    title: 'the super-peer takes any confirmation',
    file: SESSION,
    find: "if (!keys.confirms('vm', proof.confirmation)) {",
    replace: "if (keys.confirms('vm', proof.confirmation) === undefined) {",
    tests: ['test/unit/admission/relay.test.ts', ...STRANGERS],
  },
];

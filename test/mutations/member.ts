/** A member's start, and its way back. */
import type { Mutation } from './mutation.ts';

const RENEWAL = 'src/admission/renewal-session.ts';
const RENEWAL_TESTS = ['test/unit/admission/renewal.test.ts'];
const ADMIT = 'src/daemon/admit.ts';
const ASK_TESTS = ['test/unit/daemon/ask-super-peers.test.ts'];
const KNOWN = 'src/daemon/member/known-members.ts';
const KNOWN_TESTS = ['test/unit/daemon/known-members.test.ts'];
const ROSTER = 'src/daemon/roster.ts';
const ROSTER_TESTS = ['test/unit/daemon/roster.test.ts'];
const STATUS_TESTS = ['test/unit/cli/status.test.ts'];
const STANDING = 'src/daemon/obtain-standing.ts';
const STANDING_TESTS = ['test/unit/daemon/obtain-standing.test.ts'];

export const MEMBER_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P34',
    title: 'status of a revoked member succeeds',
    file: 'src/cli/status.ts',
    find: 'if (status.revoked) throw new RevokedError();',
    replace: '',
    tests: STATUS_TESTS,
  },
  {
    promise: 'P34',
    title: 'status is silent about an ended credential',
    file: 'src/cli/status.ts',
    find: 'if (Date.parse(status.credentialEnds) <= Date.now()) throw',
    replace: 'if (Date.parse(status.credentialEnds) <= 0) throw',
    tests: STATUS_TESTS,
  },
  {
    promise: 'P34',
    title: 'a member does not notice that super-peers call it revoked',
    file: 'src/daemon/renewal.ts',
    find: 'this.#revoked = true;',
    replace: '',
    tests: ['test/unit/daemon/way-back.test.ts'],
    grep: 'a revoked one does not',
  },
  {
    promise: 'P34',
    title: 'a super-peer does not say that the VM was revoked',
    file: 'src/admission/verdict.ts',
    find: 'if (error instanceof RevokedError) return REVOKED;',
    replace: '',
    tests: ['test/unit/daemon/way-back.test.ts'],
    grep: 'a revoked one does not',
  },
  {
    promise: 'P36',
    title: 'a credential that has ended is not renewed',
    file: RENEWAL,
    find: 'const at = within ? Math.min(now, shown.value.notAfter) : now;',
    replace: 'const at = within ? now : now;',
    tests: RENEWAL_TESTS,
  },
  {
    promise: 'P36',
    title: 'the way back has no end',
    file: RENEWAL,
    find: 'const within = now < shown.value.notAfter + WAY_BACK_SECONDS;',
    replace: 'const within = now > 0 || WAY_BACK_SECONDS > 0;',
    tests: RENEWAL_TESTS,
  },
  {
    promise: 'P36',
    title: 'the way back is open to nodes that are barred',
    file: RENEWAL,
    find: '|| (ended && barred(service, peerId))',
    replace: '|| (ended && barred(service, peerId) && false)',
    tests: RENEWAL_TESTS,
  },
  {
    promise: 'P36',
    title: 'a member whose credential has ended goes on with it',
    file: STANDING,
    find: 'if (hasEnded(kept)) return wayBack(state, kept, wish);',
    replace: '',
    tests: STANDING_TESTS,
  },
  {
    promise: 'P34',
    title: 'another name than the credential’s is ignored',
    file: STANDING,
    find: 'if (was !== wanted) {',
    replace: "if (was !== wanted && was === '') {",
    tests: STANDING_TESTS,
  },
  {
    promise: 'P34',
    title: 'a start does not wait for its network',
    file: ADMIT,
    find: 'if (isFinal(error, elapsed, patience) || elapsed + wait > patience) throw error;',
    replace: 'if (isFinal(error, elapsed, patience) || elapsed < patience) throw error;',
    tests: ASK_TESTS,
  },
  {
    promise: 'P34',
    title: 'a super-peer that refuses ends the round',
    file: 'src/daemon/ask-super-peers.ts',
    find: 'log(event, { superPeer: at.peerId, why: causeOf(error) });',
    replace: 'log(event, { superPeer: at.peerId, why: causeOf(error) });\n      break;',
    tests: ASK_TESTS,
  },
  {
    promise: 'P34',
    title: 'a clock that differs is not noticed at admission',
    file: 'src/admission/accept.ts',
    find: 'if (Math.abs(ahead) > CLOCK_SKEW_SECONDS) throw',
    replace: 'if (Math.abs(ahead) > 1_000 * CLOCK_SKEW_SECONDS) throw',
    tests: ['test/unit/admission/admission.test.ts'],
    grep: 'clock',
  },
  {
    promise: 'P30',
    title: 'members from before a restart are taken without proof',
    file: 'src/overlay/directory-check.ts',
    find: 'if (!check(credential, trusted)) return undefined;',
    replace: '',
    tests: KNOWN_TESTS,
  },
  {
    promise: 'P30',
    title: 'members that left are forgotten at once',
    file: KNOWN,
    find: '    for (const each of members) {\n      const name',
    replace: '    this.#members.clear();\n    for (const each of members) {\n      const name',
    tests: KNOWN_TESTS,
  },
  {
    promise: 'P17',
    title: 'a restart does without the policy when it was never known',
    file: KNOWN,
    find: 'if (!this.#writable || !this.#stale) return this.#writing;',
    replace: 'if (!this.#stale) return this.#writing;',
    tests: KNOWN_TESTS,
  },
  {
    promise: 'P12',
    title: 'a member that super-peers drop is dropped',
    file: ROSTER,
    find: 'return this.#options.moves(member) && this.#options.holds(member);',
    replace: 'return this.#options.moves(member) && this.#options.holds(member) && false;',
    tests: ROSTER_TESTS,
  },
  {
    promise: 'P33',
    title: 'a member that is not listed stays for as long as it sends',
    file: ROSTER,
    find: 'return this.#options.moves(member) && this.#options.holds(member);',
    replace: 'return this.#options.moves(member);',
    tests: ROSTER_TESTS,
  },
  {
    promise: 'P33',
    title: 'a ticket without roles gives any role',
    file: 'src/admission/server-session.ts',
    find: 'if (!request.roles.every((role) => ticket.roles.includes(role))) {',
    replace:
      'if (ticket.roles.length > 0 && !request.roles.every((role) => ticket.roles.includes(role))) {',
    tests: ['test/unit/admission/ticket.test.ts'],
  },
  {
    promise: 'P5',
    title: 'a VM stretches its secret as far as a super-peer likes',
    file: 'src/admission/client-session.ts',
    find: 'if (stretching !== undefined && !isBearable(stretching)) {',
    replace: 'if (stretching !== undefined && !isBearable({ ...stretching, cost: 1, p: 1 })) {',
    tests: ['test/unit/admission/secret.test.ts'],
  },
  {
    promise: 'P34',
    title: 'two machines with one node key are not noticed',
    file: 'src/overlay/duplicates.ts',
    find: 'const inTurns = seen.turns.length > TURNS && places.size === 2;',
    replace: 'const inTurns = seen.turns.length > TURNS && places.size === 0;',
    tests: ['test/unit/overlay/duplicates.test.ts'],
    grep: 'in turns',
  },
];

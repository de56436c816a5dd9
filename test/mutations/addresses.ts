/** Virtual addresses, and what guards them in the kernel. */
import type { Mutation } from './mutation.ts';

const PLAN = 'src/records/address-plan.ts';
const PLAN_TESTS = ['test/unit/records/address-plan.test.ts'];
const LEASES = 'src/admission/lease-table.ts';
const LEASE_TESTS = ['test/unit/admission/lease-table.test.ts'];
const GUARD_TESTS = ['test/lab/ipsec/guard.test.ts'];

export const ADDRESS_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P26',
    title: 'a member may have any IPv6 address',
    file: PLAN,
    find: 'if (ipv6 !== ipv6Address(serviceId, peerId)) return',
    replace: 'if (ipv6 === ipv6Address(serviceId, peerId).slice(1)) return',
    tests: PLAN_TESTS,
  },
  {
    promise: 'P26',
    title: 'a super-peer gives addresses outside its range',
    file: PLAN,
    find: 'if (!this.covers(admittedBy, ipv4)) {',
    replace: 'if (this.covers(admittedBy, ipv4) === undefined) {',
    tests: PLAN_TESTS,
  },
  {
    promise: 'P26',
    title: 'a super-peer says for another that it gave an address',
    file: PLAN,
    find: 'if (admittedBy.equals(signer) || leaseHolds(value)) return undefined;',
    replace: 'if (admittedBy.equals(signer) || !leaseHolds(value)) return undefined;',
    tests: PLAN_TESTS,
  },
  {
    promise: 'P26',
    title: 'a full pool gives an address away whose lease has not ended',
    file: LEASES,
    find: '      if (!ended(row)) return undefined;\n',
    replace: '',
    tests: LEASE_TESTS,
  },
  {
    promise: 'P26',
    title: 'a newer claim takes the address of an older one',
    file: LEASES,
    find: 'if (!ended(other) && isOlder(other, claim)) return false;',
    replace: 'if (!ended(other) && !isOlder(other, claim)) return false;',
    tests: LEASE_TESTS,
  },
  {
    promise: 'P26',
    title: 'leases end while the super-peer hears no other',
    file: LEASES,
    find: 'const horizon = Math.min(now, this.heardAt(serviceId) ?? 0);',
    replace: 'const horizon = Math.max(now, this.heardAt(serviceId) ?? 0);',
    tests: LEASE_TESTS,
  },
  {
    promise: 'P26',
    title: 'two peers have one address in the data plane',
    file: 'src/ipsec/dataplane/peer-table.ts',
    find: 'if (holder !== undefined) throw addressTaken(address, holder);',
    replace: '',
    tests: ['test/lab/ipsec/dataplane.test.ts'],
    grep: 'P26',
    where: 'lab',
  },
  {
    promise: 'P26',
    title: 'of two claims of an address the newer one stands',
    file: 'src/daemon/address-claims.ts',
    find: 'if (since !== other) return since < other ? a : b;',
    replace: 'if (since !== other) return since > other ? a : b;',
    tests: ['test/unit/daemon/address-claims.test.ts'],
  },
  {
    promise: 'P32',
    title: 'packets leave by any way that a rule or a socket chooses',
    file: 'src/ipsec/guard/rules.ts',
    find: "      ...from,\n      ...to,\n    ]),\n    chain('before_nat'",
    replace: "    ]),\n    chain('before_nat'",
    tests: GUARD_TESTS,
    grep: 'P32 no route',
    where: 'lab',
  },
  {
    promise: 'P32',
    title: 'what claims to be a member comes in from anywhere',
    file: 'src/ipsec/guard/rules.ts',
    find: "      ...from,\n    ]),\n    chain('input'",
    replace: "    ]),\n    chain('input'",
    tests: GUARD_TESTS,
    grep: 'P32',
    where: 'lab',
  },
];

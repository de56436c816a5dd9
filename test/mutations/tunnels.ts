/** The SAs with a peer: the kernel's and the machine that decides on them. */
import type { Mutation } from './mutation.ts';

const PEER = 'src/ipsec/dataplane/peer.ts';
const POLICIES = 'src/ipsec/dataplane/policies.ts';
const MACHINE = 'src/ipsec/lifecycle/machine.ts';
const DATABASES = 'src/ipsec/dataplane/databases.ts';
const OTHERS = ['test/lab/ipsec/databases.test.ts'];
const PLANE = ['test/lab/ipsec/dataplane.test.ts'];
const LIFECYCLE = [
  'test/unit/lifecycle/machine.test.ts',
  'test/unit/lifecycle/interleavings.test.ts',
];

export const TUNNEL_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P16',
    title: 'sequence numbers of 32 bits',
    file: PEER,
    find: 'replay: { window: REPLAY_WINDOW, esn: true },',
    replace: 'replay: { window: 32, esn: false },',
    tests: PLANE,
    grep: 'P16',
    where: 'lab',
  },
  {
    promise: 'P16',
    title: 'a replay window of one packet',
    file: PEER,
    find: 'export const REPLAY_WINDOW = 1024;',
    replace: 'export const REPLAY_WINDOW = 1;',
    tests: PLANE,
    grep: 'P16',
    where: 'lab',
  },
  {
    promise: 'P18',
    title: 'no packet waits for its SA',
    file: POLICIES,
    find: "templates: gate === 'closed' ? [trap] : [],",
    replace: 'templates: gate === "open" ? [trap] : [],',
    tests: PLANE,
    grep: 'P18',
    where: 'lab',
  },
  {
    promise: 'P17',
    title: 'what one peer decrypts passes as another',
    file: POLICIES,
    find: 'templates: [{ ...tunnel, source: remote, destination: local }],',
    replace: 'templates: [],',
    tests: PLANE,
    where: 'lab',
  },
  {
    promise: 'P17',
    title: 'states are removed before policies',
    file: 'src/ipsec/dataplane/ownership.ts',
    find: '  rethrow(await xfrm.deletePolicies(ids, call));\n  await removeStates(xfrm, (state) => isOurState(state, owner), call);',
    replace:
      '  await removeStates(xfrm, (state) => isOurState(state, owner), call);\n  rethrow(await xfrm.deletePolicies(ids, call));',
    tests: PLANE,
    grep: 'P17 closing',
    where: 'lab',
  },
  {
    promise: 'P14',
    title: 'an inbound SA goes when it has a successor',
    file: MACHINE,
    find: 'if (now < until) continue;',
    replace: '',
    tests: LIFECYCLE,
  },
  {
    promise: 'P14',
    title: 'a pair whose peer has lost it stays in use',
    file: MACHINE,
    find: 'return known ? [] : [...this.#retire(now), ...this.#want()];',
    replace: 'return known ? [] : [];',
    tests: LIFECYCLE,
  },
  {
    promise: 'P31',
    title: 'policies that another program takes stay away',
    file: DATABASES,
    find: '    rethrow(await xfrm.updatePolicies(policies));',
    replace: '',
    tests: OTHERS,
    grep: 'policies that are flushed',
    where: 'lab',
  },
  {
    promise: 'P31',
    title: 'altered policies count as intended',
    file: DATABASES,
    find: 'templates.map((each) => [',
    replace: 'templates.slice(9).map((each) => [',
    tests: OTHERS,
    grep: 'policies that are flushed',
    where: 'lab',
  },
  {
    promise: 'P31',
    title: 'a lost SA is not replaced',
    file: MACHINE,
    find: 'return used ? [told, ...this.#want()] : [];',
    replace: 'return used ? [told] : [];',
    tests: LIFECYCLE,
  },
  {
    promise: 'P31',
    title: 'probes are answered from memory',
    file: 'src/daemon/pair/pair.ts',
    find: '    if (packets === undefined) return undefined;\n    // The peer hears',
    replace: '    if (packets === undefined) return 0;\n    // The peer hears',
    tests: ['test/unit/daemon/pair.test.ts'],
    grep: 'P31',
  },
  {
    promise: 'P20',
    title: 'after a move no keys are wanted',
    file: MACHINE,
    find: "return needed ? [{ do: 'move' }, ...this.#want()] : [{ do: 'move' }];",
    replace: "return needed ? [{ do: 'move' }] : [{ do: 'move' }];",
    tests: LIFECYCLE,
  },
];

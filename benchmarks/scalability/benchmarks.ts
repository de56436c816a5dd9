/** The benchmarks that `npm run benchmark` knows, in the order in which it runs them. */

export interface Benchmark {
  readonly name: string;
  /** One line for people. */
  readonly what: string;
  /** Below `benchmarks/`. Prints JSON whose `results`, or else the whole of it, make a table. */
  readonly program: string;
  readonly args: readonly string[];
}

export const BENCHMARKS: readonly Benchmark[] = [
  {
    name: 'admission-srp',
    what: 'the server’s half of SRP a second, beside other programs’',
    program: 'admission/srp.ts',
    args: [],
  },
  {
    name: 'admission-rate',
    what: 'whole admissions a second at 1, 2, 4 and 8 super-peers',
    program: 'admission/whole.ts',
    args: [],
  },
  {
    name: 'admission-memory',
    what: 'memory for each half-open admission and for each member',
    program: 'admission/whole-memory.ts',
    args: [],
  },
  {
    name: 'admission-delay',
    what: 'lateness of the event loop at up to 500 admissions a second',
    program: 'admission/whole-delay.ts',
    args: [],
  },
  {
    name: 'admission-flood',
    what: 'renewals and key exchanges of a member beside a flood of bogus admissions',
    program: 'admission/whole-flood.ts',
    args: [],
  },
  {
    name: 'admission-nat',
    what: '200 VMs behind one NAT address at once, and beside a flood',
    program: 'admission/whole-nat.ts',
    args: [],
  },
  {
    name: 'admission-unknown',
    what: 'whether time tells an unknown identity from a wrong secret',
    program: 'admission/whole-unknown.ts',
    args: [],
  },
  {
    name: 'exchange',
    what: 'cryptography of the pairwise exchange, per side',
    program: 'exchange/main.ts',
    args: [],
  },
  {
    name: 'ipsec',
    what: 'ESP, its set-up on demand and the installing of SAs, beside strongSwan (needs root or the lab’s kernel)',
    program: 'ipsec/main.ts',
    args: [],
  },
  {
    name: 'abe',
    what: 'attribute-based encryption',
    program: 'abe/main.ts',
    args: [],
  },
  {
    name: 'abe-lists',
    what: 'member lists sealed by attributes, of 25 and of 250 members',
    program: 'abe/lists.ts',
    args: [],
  },
  {
    name: 'discovery',
    what: 'discovery of 25 and 250 members over TCP, sealed by attributes and by a PKI, near and far',
    program: 'discovery/main.ts',
    args: ['10'],
  },
  {
    name: 'overlay-scale',
    what: 'what a join costs at 10, 100 and 1,000 members, and a failover of half of them',
    program: 'overlay/scale.ts',
    args: ['10,100,1000'],
  },
  {
    name: 'overlay-lookup',
    what: 'hops and time of a lookup in tier 2 at 10, 30 and 100 nodes, with a logarithmic fit',
    program: 'overlay/lookup.ts',
    args: ['10,30,100'],
  },
  {
    name: 'overlay-churn',
    what: 'half of 40 members replaced: what their lists miss half a minute later',
    program: 'overlay/main.ts',
    args: ['churn', '40'],
  },
  {
    name: 'overlay-revoke',
    what: 'from the owner’s revocation until the last of 50 members has cut the revoked one off',
    program: 'overlay/main.ts',
    args: ['revoke', '50', '5'],
  },
  {
    name: 'overlay-revoke-500',
    what: 'the same with 500 members, told by super-peers alone',
    program: 'overlay/main.ts',
    args: ['revoke', '500', '5', '0'],
  },
  {
    name: 'overlay-revoke-sas',
    what: 'from icvpn revoke until the last of 20 kernels has no SA left (needs root or the lab’s kernel)',
    program: 'overlay/revoke-sas.ts',
    args: ['20', '3'],
  },
  {
    name: 'policy',
    what: 'a policy: read, evaluated for one member, and told to 30 members',
    program: 'policy/main.ts',
    args: ['30', '5'],
  },
];

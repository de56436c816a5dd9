import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import {
  type EnforcedRules,
  type Enforcer,
  PolicyEnforcement,
} from '../../../src/daemon/policy.ts';
import type { Member } from '../../../src/overlay/membership.ts';
import type { ServicePolicy } from '../../../src/overlay/service-trust.ts';
import { parsePolicy } from '../../../src/policy/document.ts';
import { bytesOnly, identity } from '../overlay/harness.ts';

const prefixes = ['100.64.0.0/16', 'fd00::/64'];
let hosts = 1;

async function member(vmid: string, ...roles: string[]): Promise<Member> {
  const { id } = await identity();
  const host = hosts++;
  const named = { peerId: id, vmid, roles, ipv4: `100.64.0.${host}`, ipv6: `fd00::${host}` };
  const unsigned = bytesOnly(id, new Uint8Array());
  return {
    ...{ ...named, subnets: [], multiaddrs: [], superPeer: id, notAfter: 0 },
    credential: { ...unsigned, value: { ...unsigned.value, ...named } },
  };
}

const document = (json: object) =>
  parsePolicy(new TextEncoder().encode(JSON.stringify({ version: 1, ...json })));

/** Rules between roles, all of them for TCP port 80. */
const rules = (...pairs: [string, string][]) =>
  document({
    rules: pairs.map(([from, to]) => ({
      ...{ from: [`role:${from}`], to: [`role:${to}`], ports: ['tcp/80'] },
    })),
  });

/** A kernel that remembers, and fails while it is told to. */
class MemoryFirewall implements Enforcer {
  readonly applied: EnforcedRules[] = [];
  failure: Error | undefined;
  gate: Promise<void> | undefined;

  async apply(rules: EnforcedRules): Promise<void> {
    await this.gate;
    if (this.failure) throw this.failure;
    this.applied.push(rules);
  }
}

describe('policy enforcement', () => {
  let self: Member;
  let web: Member;
  let firewall: MemoryFirewall;
  let policy: ServicePolicy | undefined;
  let enforcement: PolicyEnforcement;
  const events: string[] = [];
  const logged = new EventEmitter();
  beforeEach(async () => {
    [self, web] = [await member('app-1', 'app'), await member('web-1', 'web')];
    firewall = new MemoryFirewall();
    policy = undefined;
    events.length = 0;
    enforcement = enforce();
  });
  afterEach(() => enforcement[Symbol.asyncDispose]());

  function enforce(options: { reapply?: number } = {}): PolicyEnforcement {
    const { peerId, vmid, roles, ipv4, ipv6 } = self;
    const me = {
      peerId: peerId.toString(),
      vmid,
      roles,
      ipv4,
      ipv6,
      subnets: [],
      vouched: undefined,
    };
    return new PolicyEnforcement({
      ...{ firewall, policy: () => policy, self: () => me, prefixes, ...options },
      log: (event) => {
        events.push(event);
        logged.emit(event);
      },
    });
  }

  const enforced = () => once(enforcement, 'enforced');
  const publish = (sequence: number, newest: ServicePolicy['document']): void => {
    policy = { sequence, document: newest };
    enforcement.refresh();
  };
  const sources = (): readonly string[] => {
    const grants = firewall.applied.at(-1)?.grants ?? [];
    return grants === 'all' ? ['all'] : grants.flatMap((each) => each.sources);
  };

  it('P17 nobody is let near before it is known what the policy is', async () => {
    enforcement.follow([self, web]);
    enforcement.refresh();
    assert.deepEqual(firewall.applied, []);
    assert.ok(enforcement.blocked);
    policy = { sequence: 7, document: rules(['web', 'app']) };
    await enforcement.open();
    assert.equal(firewall.applied.length, 1);
    assert.deepEqual(sources(), [`${web.ipv4}/32`, `${web.ipv6}/128`]);
    assert.ok(!enforcement.blocked);
    assert.equal(enforcement.status()?.sequence, 7);
  });

  it('without a policy lets all in', async () => {
    await enforcement.open();
    assert.deepEqual(firewall.applied, [{ subnets: [], remotes: prefixes, grants: 'all' }]);
    assert.equal(enforcement.status(), undefined);
  });

  it('follows a newer policy, and tells since when', async () => {
    await enforcement.open();
    enforcement.follow([self, web]);
    await enforced();
    publish(1, rules(['web', 'app']));
    await enforced();
    assert.equal(sources().length, 2);
    const first = enforcement.status();
    publish(2, rules(['db', 'app']));
    await enforced();
    assert.deepEqual(sources(), []);
    assert.equal(enforcement.status()?.sequence, 2);
    assert.ok((enforcement.status()?.applied ?? '') >= (first?.applied ?? '~'));
    assert.deepEqual(events, ['policy-applied', 'policy-applied']);
  });

  it('P17 a new member is let in by the rules before it becomes a peer', async () => {
    policy = { sequence: 1, document: rules(['web', 'app']) };
    await enforcement.open();
    enforcement.follow([self, web]);
    const [members] = await enforced();
    assert.deepEqual(members, [self, web]);
    assert.equal(sources()[0], `${web.ipv4}/32`);
  });

  it('leaves the kernel alone when members change whom no rule names', async () => {
    policy = { sequence: 1, document: rules(['web', 'app']) };
    enforcement.follow([self, web]);
    await enforcement.open();
    enforcement.follow([self, web, await member('other-1', 'other')]);
    await enforced();
    assert.equal(firewall.applied.length, 1);
    enforcement.follow([self]);
    await enforced();
    assert.equal(firewall.applied.length, 2);
  });

  it('of what changes while the kernel is busy applies only the newest', async () => {
    await enforcement.open();
    const busy = Promise.withResolvers<void>();
    firewall.gate = busy.promise;
    for (let sequence = 1; sequence <= 20; sequence++) {
      publish(sequence, rules([`role-${sequence}`, 'app']));
    }
    publish(21, rules());
    busy.resolve();
    while (enforcement.status()?.applied === null) await enforced();
    assert.ok(firewall.applied.length <= 3, String(firewall.applied.length));
    assert.equal(enforcement.status()?.sequence, 21);
  });

  it('P17 when the kernel refuses, nobody is talked to until it takes the rules', async () => {
    await enforcement.open();
    firewall.failure = new Error('no nft here');
    const blocked = once(enforcement, 'blocked');
    publish(1, rules(['web', 'app']));
    await blocked;
    assert.ok(enforcement.blocked);
    const { applied, problem } = enforcement.status() ?? {};
    assert.deepEqual([applied, problem], [null, 'no nft here']);
    firewall.failure = undefined;
    enforcement.refresh();
    await enforced();
    assert.ok(!enforcement.blocked);
    assert.equal(enforcement.status()?.problem, null);
    assert.equal(firewall.applied.length, 2);
  });

  it('P17 puts the rules in force again, since another program may have flushed them', async () => {
    policy = { sequence: 1, document: rules(['web', 'app']) };
    enforcement = enforce({ reapply: 20 });
    await enforcement.open();
    const since = enforcement.status();
    await enforced();
    assert.ok(firewall.applied.length >= 2);
    assert.deepEqual(enforcement.status(), since);
  });

  it('tries again by itself', async () => {
    await enforcement.open();
    firewall.failure = new Error('busy');
    const blocked = once(enforcement, 'blocked');
    publish(1, rules());
    await blocked;
    firewall.failure = undefined;
    await enforced();
    assert.ok(!enforcement.blocked);
  });

  it('P17 does not begin when the first rules cannot be applied', async () => {
    firewall.failure = new Error('no nft here');
    await assert.rejects(enforcement.open(), /no nft here/);
    assert.ok(enforcement.blocked);
  });
});

import assert from 'node:assert/strict';
import { BlockList } from 'node:net';
import fc from 'fast-check';
import { type PolicyDocument, parsePolicy } from '../../../src/policy/document.ts';
import {
  allowedSubnets,
  evaluate,
  type PolicyMember,
  permittedSubnets,
} from '../../../src/policy/evaluate.ts';
import type { Grant } from '../../../src/policy/grant.ts';
import { formatPorts } from '../../../src/policy/ports.ts';
import { shop } from './shop.ts';

const read = (json: object): PolicyDocument =>
  parsePolicy(new TextEncoder().encode(JSON.stringify(json)));
const policy = read(shop);
const prefixes = ['100.64.0.0/16', 'fd00::/64'];

let next = 1;
const member = (vmid: string, roles: string[], subnets: string[] = []): PolicyMember => {
  const host = next++;
  const peerId = `12D3KooW${vmid}`;
  return {
    peerId,
    vmid,
    roles,
    vouched: 'vmid-and-roles',
    subnets,
    ipv4: `100.64.${host >> 8}.${host & 255}`,
    ipv6: `fd00::${host.toString(16)}`,
  };
};
const web = member('web-1', ['web']);
const app = member('app-1', ['app']);
const both = member('both-1', ['web', 'app']);
const db = member('db-1', ['db']);
const gateway = member('gw-1', [], ['10.20.0.0/16']);
const members = [web, app, both, db, gateway];

const hosts = (...all: PolicyMember[]): string[] =>
  all.flatMap(({ ipv4, ipv6 }) => [`${ipv4}/32`, `${ipv6}/128`]);
const grantsOf = (self: PolicyMember, document = policy, known = members): readonly Grant[] => {
  const grants = evaluate(document, { self, members: known, prefixes });
  assert.notEqual(grants, 'all');
  return grants === 'all' ? [] : grants;
};
const plain = (grants: readonly Grant[]): string[] =>
  grants.map(
    ({ sources, destinations, ports }) =>
      `${sources.join()} > ${destinations.join()} ${ports.map(formatPorts).join()}`,
  );

describe('policy for one member', () => {
  it('without a document or without rules lets everything in and no subnet be announced', () => {
    assert.equal(evaluate(undefined, { self: web, members, prefixes }), 'all');
    assert.equal(evaluate(read({ version: 1 }), { self: web, members, prefixes }), 'all');
    assert.deepEqual(allowedSubnets(undefined, gateway), []);
    assert.deepEqual(permittedSubnets(undefined, gateway), []);
  });

  it('with an empty list of rules lets nothing in', () => {
    assert.deepEqual(grantsOf(web, read({ version: 1, rules: [] })), []);
  });

  it('lets in what rules say, from whom they name, at its own addresses', () => {
    assert.deepEqual(plain(grantsOf(app)), [
      `${hosts(both, web).sort()} > ${hosts(app)} tcp/8080,tcp/9000-9010`,
      `${prefixes.join()} > ${hosts(app)} icmp`,
    ]);
    assert.deepEqual(plain(grantsOf(db)), [
      `${hosts(app, both).sort()} > ${hosts(db)} tcp/5432`,
      `${prefixes.join()} > ${hosts(db)} icmp`,
    ]);
  });

  it('a subnet counts where a gateway announces it and the policy routes it', () => {
    assert.deepEqual(plain(grantsOf(web)), [
      `${prefixes.join()} > ${hosts(web)} icmp`,
      `10.20.0.0/16 > ${hosts(web)} tcp/443`,
    ]);
    const withdrawn = members.filter((each) => each !== gateway);
    assert.equal(grantsOf(web, policy, withdrawn).length, 1);
    const impostor = member('gw-2', [], ['10.20.0.0/16']);
    assert.equal(grantsOf(web, policy, [...withdrawn, impostor]).length, 1);
  });

  it('a gateway forwards to its subnet, and from it', () => {
    const admin = member('admin', []);
    assert.deepEqual(plain(grantsOf(gateway, policy, [...members, admin])), [
      `${prefixes.join()} > ${hosts(gateway)} icmp`,
      `${hosts(admin)} > ${hosts(gateway)},10.20.0.0/16 tcp/22`,
      `10.20.0.0/16 > ${hosts(both, web).sort()} tcp/443`,
    ]);
  });

  it('of a subnet only the part that is both announced and named', () => {
    const part = member('gw-1', [], ['10.20.7.0/24', '10.21.0.0/16']);
    assert.deepEqual(permittedSubnets(policy, part), ['10.20.7.0/24']);
    assert.deepEqual(allowedSubnets(policy, part), ['10.20.0.0/16', 'fd20::/48']);
    const [, grant] = grantsOf(web, policy, [part]);
    assert.deepEqual(grant?.sources, ['10.20.7.0/24']);
  });

  it('P33 a route for a VMID or role counts where the owner vouched for it, one for a PeerID always', () => {
    const peerId = `12D3KooW${'A'.repeat(44)}`;
    const routes = [
      { gateway: 'vmid:gw-1', subnets: ['10.20.0.0/16'] },
      { gateway: 'role:gw', subnets: ['10.21.0.0/16'] },
      { gateway: `peer:${peerId}`, subnets: ['10.22.0.0/16'] },
    ];
    const rules = [{ from: ['subnet:10.0.0.0/8'], to: ['role:web'], ports: ['any'] }];
    const document = read({ version: 1, routes, rules });
    const announced = ['10.20.0.0/16', '10.21.0.0/16', '10.22.0.0/16'];
    for (const [vouched, ...counted] of [
      ['vmid-and-roles', ...announced],
      ['roles', ...announced.slice(1)],
      [undefined, ...announced.slice(2)],
    ] as const) {
      const named = { ...member('gw-1', ['gw'], announced), peerId, vouched };
      assert.deepEqual(allowedSubnets(document, named), counted);
      assert.deepEqual(permittedSubnets(document, named), counted);
      assert.deepEqual(grantsOf(web, document, [named])[0]?.sources, counted);
      assert.equal(grantsOf(named, document, [web]).length, 1, 'it forwards the same ones');
      assert.deepEqual(grantsOf(named, document, [web])[0]?.sources, counted);
    }
  });

  it('rules for the same ends become one grant, and no port stands twice', () => {
    const ends = { from: ['role:web'], to: ['role:app'] };
    const rules = [
      { ...ends, ports: ['tcp/80', 'tcp/443'] },
      { ...ends, ports: ['tcp/80', 'udp/53'] },
    ];
    const [grant, ...more] = grantsOf(app, read({ version: 1, rules }));
    assert.deepEqual(more, []);
    assert.equal(grant?.ports.map(formatPorts).join(), 'tcp/80,tcp/443,udp/53');
  });

  it('agrees with the rules for every pair of members', () => {
    const role = fc.constantFrom('web', 'app', 'db', 'ops');
    const roles = fc.uniqueArray(role, { maxLength: 3 });
    const selector = fc.oneof(
      role.map((each) => `role:${each}`),
      fc.constantFrom('*', 'vmid:m0', 'vmid:m1'),
    );
    const rule = fc.record({
      from: fc.array(selector, { minLength: 1, maxLength: 3 }),
      to: fc.array(selector, { minLength: 1, maxLength: 3 }),
      ports: fc.array(fc.constantFrom('tcp/80', 'udp/53', 'any'), { minLength: 1, maxLength: 2 }),
    });
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.array(roles, { minLength: 2, maxLength: 5 }),
        (rules, all) => {
          const known = all.map((each, i) => member(`m${i}`, each));
          const document = read({ version: 1, rules });
          const named = (selectors: string[], { vmid, roles }: PolicyMember): boolean =>
            selectors.some(
              (s) => s === '*' || s === `vmid:${vmid}` || roles.some((r) => s === `role:${r}`),
            );
          for (const to of known) {
            const grants = grantsOf(to, document, known);
            for (const from of known) {
              if (from === to) continue;
              const wanted = rules.some((r) =>
                r.ports.includes('any') || r.ports.includes('tcp/80')
                  ? named(r.from, from) && named(r.to, to)
                  : false,
              );
              for (const family of ['ipv4', 'ipv6'] as const) {
                assert.equal(passes(grants, family, from[family], to[family]), wanted);
              }
            }
          }
        },
      ),
      { numRuns: 100 },
    );
  });
});

/** Whether grants let TCP port 80 through, as Node's own block lists say. */
function passes(
  grants: readonly Grant[],
  family: 'ipv4' | 'ipv6',
  source: string,
  destination: string,
): boolean {
  const holds = (cidrs: readonly string[], address: string): boolean => {
    const list = new BlockList();
    for (const cidr of cidrs) {
      const [network = '', length = ''] = cidr.split('/');
      list.addSubnet(network, Number(length), network.includes(':') ? 'ipv6' : 'ipv4');
    }
    return list.check(address, family);
  };
  return grants.some(
    ({ sources, destinations, ports }) =>
      holds(sources, source) &&
      holds(destinations, destination) &&
      ports.some((p) => p.protocol === 'any' || (p.protocol === 'tcp' && p.first === 80)),
  );
}

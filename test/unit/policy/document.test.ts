import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { MAX_POLICY_LENGTH, parsePolicy } from '../../../src/policy/document.ts';
import { PolicyError } from '../../../src/policy/errors.ts';
import { fuzz } from '../admission/fuzz.ts';
import { policyParser } from './parser.ts';
import { shop } from './shop.ts';

const bytes = (json: unknown): Uint8Array =>
  new TextEncoder().encode(typeof json === 'string' ? json : JSON.stringify(json));

const rule = { from: ['role:web'], to: ['role:app'], ports: ['tcp/8080'] };
const withRule = (change: object) => ({ version: 1, rules: [{ ...rule, ...change }] });
const withRoute = (change: object) => ({
  version: 1,
  routes: [{ gateway: 'role:gw', subnets: ['10.20.0.0/16'], ...change }],
});
const withTest = (change: object) => ({
  version: 1,
  tests: [{ from: 'role:web', to: 'role:db', port: 'tcp/1', expect: 'deny', ...change }],
});
const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);

describe('policy document', () => {
  it('is read as it was written', () => {
    const { encapsulation, rules, routes, tests } = parsePolicy(bytes(shop));
    assert.equal(encapsulation, 'auto');
    assert.equal(rules?.length, shop.rules.length);
    assert.deepEqual(rules?.[0]?.from, [{ kind: 'role', name: 'web' }]);
    assert.deepEqual(rules?.[0]?.ports, [
      { protocol: 'tcp', first: 8080, last: 8080 },
      { protocol: 'tcp', first: 9000, last: 9010 },
    ]);
    assert.deepEqual(routes[0]?.gateway, { kind: 'vmid', name: 'gw-1' });
    assert.equal(routes[0]?.subnets[0]?.text, '10.20.0.0/16');
    assert.equal(tests.length, shop.tests.length);
  });

  it('needs no more than its version', () => {
    const { encapsulation, rules, routes, tests } = parsePolicy(bytes({ version: 1 }));
    assert.deepEqual([encapsulation, rules, routes, tests], [undefined, undefined, [], []]);
    assert.deepEqual(parsePolicy(bytes({ version: 1, rules: [] })).rules, [], 'deny everything');
  });

  for (const [what, json, code, path, message] of [
    ['no JSON', '{', 'JSON', '', /not JSON/],
    ['bytes that are no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), 'JSON', '', /not JSON/],
    ['a field twice', '{"version":1,"rules":[],"rules":[]}', 'JSON', '', /"rules" stands twice/],
    ['a field twice in two spellings', '{"version":1,"\\u0076ersion":1}', 'JSON', '', /"version"/],
    ['great depth', `{"version":1,"rules":${nested(9)}}`, 'JSON', '', /deeper than 8/],
    ['depth that would exhaust a stack', nested(MAX_POLICY_LENGTH / 2), 'JSON', '', /deeper/],
    [
      'one text of nearly all its bytes',
      { note: 'x'.repeat(MAX_POLICY_LENGTH - 64) },
      'FIELD',
      '',
      /"note"/,
    ],
    [
      'one name of nearly all its bytes',
      `{"${'\\\\'.repeat(MAX_POLICY_LENGTH / 2 - 64)}":1}`,
      'FIELD',
      '',
      /unknown/,
    ],
    ['too many bytes', ' '.repeat(MAX_POLICY_LENGTH + 1), 'JSON', '', /too many/],
    ['a list', [], 'FIELD', '', /a list is not an object/],
    ['no version', {}, 'FIELD', 'version', /missing/],
    ['another version', { version: 2 }, 'FIELD', 'version', /2 is not known/],
    ['a misspelt field', { version: 1, rule: [] }, 'FIELD', '', /unknown field "rule"/],
    ['__proto__', '{"version":1,"__proto__":{"rules":[]}}', 'FIELD', '', /"__proto__"/],
    ['an unknown value', { version: 1, encapsulation: 'gre' }, 'FIELD', 'encapsulation', /"gre"/],
    ['rules that are no list', { version: 1, rules: rule }, 'FIELD', 'rules', /not a list/],
    ['a misspelt field in a rule', withRule({ port: [] }), 'FIELD', 'rules[0]', /"port"/],
    ['a rule for nobody', withRule({ from: [] }), 'FIELD', 'rules[0].from', /empty/],
    ['a selector of no kind', withRule({ from: ['web'] }), 'FIELD', 'rules[0].from[0]', /"web"/],
    ['an unknown kind', withRule({ to: ['tag:x'] }), 'FIELD', 'rules[0].to[0]', /"tag:x"/],
    ['a pattern', withRule({ to: ['role:w*'] }), 'FIELD', 'rules[0].to[0]', /pattern/],
    ['an empty role', withRule({ to: ['role:'] }), 'FIELD', 'rules[0].to[0]', /no role/],
    ['a role with a blank', withRule({ to: ['role: a'] }), 'FIELD', 'rules[0].to[0]', /no role/],
    ['a short PeerID', withRule({ to: ['peer:12D3'] }), 'FIELD', 'rules[0].to[0]', /PeerID/],
    ['a port of no protocol', withRule({ ports: ['80'] }), 'FIELD', 'rules[0].ports[0]', /"80"/],
    ['port 0', withRule({ ports: ['tcp/0'] }), 'FIELD', 'rules[0].ports[0]', /tcp\/0/],
    ['port 65536', withRule({ ports: ['udp/65536'] }), 'FIELD', 'rules[0].ports[0]', /65536/],
    ['ports backwards', withRule({ ports: ['tcp/9-8'] }), 'FIELD', 'rules[0].ports[0]', /9-8/],
    [
      'an unrouted subnet',
      withRule({ to: ['subnet:10.0.0.0/8'] }),
      'FIELD',
      'rules[0].to[0]',
      /no gateway/,
    ],
    [
      'host bits',
      withRoute({ subnets: ['10.20.0.1/16'] }),
      'FIELD',
      'routes[0].subnets[0]',
      /address block/,
    ],
    [
      'a default route',
      withRoute({ subnets: ['0.0.0.0/0'] }),
      'FIELD',
      'routes[0].subnets[0]',
      /routed/,
    ],
    ['multicast', withRoute({ subnets: ['ff02::/16'] }), 'FIELD', 'routes[0].subnets[0]', /routed/],
    [
      'everybody as gateway',
      withRoute({ gateway: '*' }),
      'FIELD',
      'routes[0].gateway',
      /no gateway/,
    ],
    [
      'a port range in a test',
      withTest({ port: 'tcp/1-2' }),
      'FIELD',
      'tests[0].port',
      /more than one/,
    ],
    ['an unknown outcome', withTest({ expect: 'maybe' }), 'FIELD', 'tests[0].expect', /"maybe"/],
    ['two ends in one', withTest({ from: ['role:a', '*'] }), 'FIELD', 'tests[0].from', /one end/],
    ['too many rules', { version: 1, rules: Array(1025).fill(rule) }, 'FIELD', 'rules', /1025/],
    ['too many tests', { version: 1, tests: Array(257).fill({}) }, 'FIELD', 'tests', /257/],
    ['too many selectors', withRule({ to: Array(257).fill('*') }), 'FIELD', 'rules[0].to', /257/],
    ['too many ports', withRule({ ports: Array(65).fill('any') }), 'FIELD', 'rules[0].ports', /65/],
  ] as const) {
    it(`P22 with ${what} is refused, and the place named`, () => {
      const raw = json instanceof Uint8Array ? json : bytes(json);
      assert.throws(
        () => parsePolicy(raw),
        (error) => {
          assert.ok(error instanceof PolicyError, String(error));
          assert.equal(error.code, `ERR_POLICY_${code}`);
          assert.equal(error.path, path);
          assert.match(error.message, message);
          assert.ok(error.message.length < 300 && error.remedy !== '');
          return true;
        },
      );
    });
  }

  it('P24 any bytes are read or refused with a typed error', () => {
    // `npm run test:fuzz` does a million.
    fuzz(policyParser, 3000, randomBytes(8).toString('hex'));
  });

  it('P24 any JSON, and the shop with any part changed, is read or refused with a typed error', () => {
    const words = fc.constantFrom('role:web', '*', 'subnet:10.20.0.0/16', 'tcp/80', 'any', 'allow');
    const value = fc.oneof(fc.jsonValue({ maxDepth: 4 }), words, fc.array(words));
    const changed = fc.tuple(fc.nat(), value).map(([at, change]) => alter(shop, at, change));
    fc.assert(
      fc.property(fc.oneof(value, changed), (json) => {
        try {
          parsePolicy(bytes(json));
        } catch (error) {
          assert.ok(error instanceof PolicyError, String(error));
        }
      }),
      { numRuns: 2000 },
    );
  });
});

/** A copy in which one value, wherever it stands, is another. */
function alter(json: unknown, at: number, change: unknown): unknown {
  let count = 0;
  const wanted = at % JSON.stringify(json).split(/[[{,]/).length;
  return JSON.parse(JSON.stringify(json), (_, value) => (count++ === wanted ? change : value));
}

import assert from 'node:assert/strict';
import { parsePolicy } from '../../../src/policy/document.ts';
import { failingTests, readPolicy } from '../../../src/policy/embedded-tests.ts';
import { PolicyError } from '../../../src/policy/errors.ts';
import { shop } from './shop.ts';

const bytes = (json: object): Uint8Array => new TextEncoder().encode(JSON.stringify(json));

/** Why a test added to the shop fails; undefined when it holds. */
function fails(test: object, change: object = {}): string | undefined {
  return failingTests(parsePolicy(bytes({ ...shop, ...change, tests: [test] })))[0]?.reason;
}

describe('tests in a policy', () => {
  it('hold in the shop', () => {
    assert.deepEqual(failingTests(parsePolicy(bytes(shop))), []);
    assert.equal(readPolicy(bytes(shop)).tests.length, shop.tests.length);
  });

  for (const [from, to, port, is, by] of [
    ['role:web', 'role:app', 'tcp/8080', 'allow', 'rules[0]'],
    ['role:web', 'role:app', 'tcp/9005', 'allow', 'rules[0]'],
    ['role:web', 'role:app', 'tcp/9011', 'deny', ''],
    ['role:web', 'role:app', 'udp/8080', 'deny', ''],
    ['role:app', 'role:web', 'tcp/8080', 'deny', ''],
    [['role:web', 'role:app'], 'role:db', 'tcp/5432', 'allow', 'rules[1]'],
    ['vmid:admin', 'vmid:anything', 'tcp/22', 'allow', 'rules[3]'],
    ['role:admin', 'vmid:anything', 'tcp/22', 'deny', ''],
    ['vmid:admin', 'subnet:10.20.1.0/24', 'tcp/22', 'allow', 'rules[3]'],
    ['*', 'role:web', 'icmp', 'allow', 'rules[2]'],
    ['*', 'subnet:10.20.0.0/16', 'icmp', 'deny', ''],
    ['subnet:10.20.0.0/16', '*', 'tcp/443', 'deny', ''],
    ['subnet:10.21.0.0/16', 'role:web', 'tcp/443', 'deny', ''],
  ] as const) {
    it(`${from} to ${to} at ${port}: ${is}`, () => {
      const other = is === 'allow' ? 'deny' : 'allow';
      assert.equal(fails({ from, to, port, expect: is }), undefined);
      const reason = fails({ from, to, port, expect: other });
      assert.match(reason ?? '', new RegExp(`expected is ${other}$`));
      assert.ok(reason?.includes(by));
    });
  }

  it('a subnet of which only some may pass fails both ways', () => {
    const test = { from: 'subnet:10.0.0.0/8', to: 'role:web', port: 'tcp/443' };
    assert.match(fails({ ...test, expect: 'allow' }) ?? '', /partly allowed by rules\[4\]/);
    assert.match(fails({ ...test, expect: 'deny' }) ?? '', /partly allowed by rules\[4\]/);
  });

  it('without rules members reach each other and what is routed, and nothing else', () => {
    const open = { rules: undefined };
    const [from, port, expect] = ['*', 'tcp/1', 'allow'];
    assert.equal(fails({ from, to: '*', port, expect }, open), undefined);
    assert.equal(fails({ from, to: 'subnet:10.20.1.0/24', port, expect }, open), undefined);
    const elsewhere = { from, to: 'subnet:10.99.0.0/24', port, expect: 'deny' };
    assert.equal(fails(elsewhere, open), undefined);
  });

  it('that fail make the document unreadable, and the message says which', () => {
    const wrong = { from: 'role:web', to: 'role:db', port: 'tcp/5432', expect: 'allow' };
    assert.throws(
      () => readPolicy(bytes({ ...shop, tests: [...shop.tests, wrong, wrong] })),
      (error) =>
        error instanceof PolicyError &&
        error.code === 'ERR_POLICY_TEST' &&
        error.message ===
          'policy, tests[5]: role:web to role:db at tcp/5432 is denied, expected is allow (and 1 more tests fail)',
    );
  });

  it('P24 the costliest document that fits is checked in bounded time', () => {
    // As many selectors as there is room for, none of which decides before the last.
    const many = Array.from({ length: 120 }, (_, i) => `vmid:${i % 10}`);
    const rule = { from: ['role:a', ...many], to: [...many, 'role:c'], ports: ['tcp/1'] };
    const one = { from: 'role:a', to: 'role:b', port: 'tcp/1', expect: 'deny' };
    const document = { version: 1, rules: Array(108).fill(rule), tests: Array(256).fill(one) };
    const raw = bytes(document);
    assert.ok(raw.length > 240_000, String(raw.length));
    const begin = process.cpuUsage();
    readPolicy(raw);
    const { user, system } = process.cpuUsage(begin);
    // Seconds of processor time; it takes about a tenth of one.
    assert.ok(user + system < 5e6, `${user + system} us`);
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  AbePolicyError,
  decodePolicy,
  encodePolicy,
  formatPolicy,
  initAbe,
  MAX_LABEL_LENGTH,
  MAX_POLICY_DEPTH,
  MAX_POLICY_LEAVES,
  MAX_VALUE_LENGTH,
  parsePolicy,
  satisfies,
} from '../../../src/keymgmt/abe/index.ts';
import { anyAttributes, anyTree, holds, render } from './random-policy.ts';

function failsAt(text: string, position: number, why: RegExp): void {
  assert.throws(
    () => parsePolicy(text),
    (error) => {
      assert.ok(error instanceof AbePolicyError, `${text}: ${error}`);
      assert.equal(error.code, 'ERR_ABE_POLICY');
      assert.equal(error.position, position, `${JSON.stringify(text)}: ${error.message}`);
      assert.match(error.message, why);
      return true;
    },
  );
}

describe('ABE policies', () => {
  before(initAbe);

  it('an error says where it is and what was expected', () => {
    failsAt('', 0, /expected "not", "\(" or a label but found the end/);
    failsAt('   ', 3, /found the end/);
    failsAt('a', 1, /expected ":" but found the end/);
    failsAt('a:', 2, /expected a value but found the end/);
    failsAt('a: and', 3, /expected a value but found "and"/);
    failsAt('a: b c: d', 5, /expected "and", "or" or the end but found "c"/);
    failsAt('a: b)', 4, /expected "and", "or" or the end but found "\)"/);
    failsAt('(a: b', 5, /expected "and", "or" or "\)" but found the end/);
    failsAt('a: b and', 8, /expected "not", "\(" or a label/);
    failsAt('a: b not c: d', 5, /found "not"/);
    failsAt('not', 3, /found the end/);
    failsAt('or: b', 0, /found "or"/);
    failsAt('a: b-c', 4, /"-" cannot stand in a policy/);
    failsAt('a: bü', 4, /"ü" cannot stand/);
    failsAt('a: 😀', 3, /"😀" cannot stand/);
    failsAt('a: b\u00a0and c: d', 4, /cannot stand/);
    failsAt('a: b\n  and ?: d', 11, /"\?" cannot stand/);
    failsAt('internal-boneh-katz-transform-attribute: x', 8, /"-" cannot stand/);
  });

  it('P24 limits: depth, leaves, words, text', () => {
    const nest = (n: number): string => `${'('.repeat(n)}a: b${')'.repeat(n)}`;
    parsePolicy(nest(MAX_POLICY_DEPTH));
    failsAt(nest(MAX_POLICY_DEPTH + 1), MAX_POLICY_DEPTH + 1, /nested deeper/);
    parsePolicy(`${'not '.repeat(MAX_POLICY_DEPTH)}a: b`);
    failsAt(`${'not '.repeat(MAX_POLICY_DEPTH + 1)}a: b`, 4 * (MAX_POLICY_DEPTH + 1), /deeper/);
    failsAt('('.repeat(10_000), MAX_POLICY_DEPTH + 1, /deeper/);
    failsAt('not '.repeat(4_000), 4 * (MAX_POLICY_DEPTH + 1), /deeper/);
    const leaves = (n: number): string => Array(n).fill('a: b').join(' or ');
    assert.equal(parsePolicy(leaves(MAX_POLICY_LEAVES)).leaves.length, MAX_POLICY_LEAVES);
    failsAt(leaves(MAX_POLICY_LEAVES + 1), 8 * MAX_POLICY_LEAVES, /more than 64 attributes/);
    parsePolicy(`${'a'.repeat(MAX_LABEL_LENGTH)}: ${'b'.repeat(MAX_VALUE_LENGTH)}`);
    failsAt(`${'a'.repeat(MAX_LABEL_LENGTH + 1)}: b`, 0, /label longer than/);
    failsAt(`a: ${'b'.repeat(MAX_VALUE_LENGTH + 1)}`, 3, /value longer than/);
    failsAt(' '.repeat(20_000), 16_384, /longer than 16384/);
  });

  it('precedence: not before and before or, left to right', () => {
    const normal = (text: string): string => formatPolicy(parsePolicy(text));
    assert.equal(normal('a: 1 or b: 2 and c: 3'), '(a: 1 or (b: 2 and c: 3))');
    assert.equal(normal('a: 1 and b: 2 or c: 3'), '((a: 1 and b: 2) or c: 3)');
    assert.equal(normal('not a: 1 and b: 2'), '(not a: 1 and b: 2)');
    assert.equal(normal('a: 1 and b: 2 and c: 3'), '((a: 1 and b: 2) and c: 3)');
    assert.equal(normal('(a:1 or b:2)and not\tc:3'), '((a: 1 or b: 2) and not c: 3)');
  });

  it('negation goes to the leaves', () => {
    const normal = (text: string): string => formatPolicy(parsePolicy(text));
    assert.equal(normal('not (a: 1 and b: 2)'), '(not a: 1 or not b: 2)');
    assert.equal(normal('not (a: 1 or not b: 2)'), '(not a: 1 and b: 2)');
    assert.equal(normal('not not a: 1'), 'a: 1');
    assert.equal(
      normal('not (a: 1 and (b: 2 or not (c: 3 and d: 4)))'),
      '(not a: 1 or (not b: 2 and (c: 3 and d: 4)))',
    );
  });

  it('an absent attribute satisfies neither a leaf nor its negation', () => {
    assert.equal(satisfies('a: 1', { b: '1' }), false);
    assert.equal(satisfies('not a: 1', { b: '1' }), false);
    assert.equal(satisfies('not a: 1', { a: '2' }), true);
  });

  it('satisfaction, formatting and bytes agree with a plain evaluation of random policies', () => {
    fc.assert(
      fc.property(anyTree, anyAttributes, (tree, attributes) => {
        const policy = parsePolicy(render(tree));
        const want = holds(tree, attributes);
        assert.equal(satisfies(policy, attributes), want);
        assert.equal(satisfies(formatPolicy(policy), attributes), want);
        const bytes = encodePolicy(policy);
        const decoded = decodePolicy(bytes);
        assert.deepEqual(decoded, policy);
        assert.deepEqual(encodePolicy(decoded), bytes);
      }),
      { numRuns: 300 },
    );
  });
});

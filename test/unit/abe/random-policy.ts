import fc from 'fast-check';

/**
 * Random policies and attributes over few labels and values, so that attributes repeat within a policy
 * and that about as many sets satisfy it as do not.
 */
export type Tree =
  | { kind: 'leaf'; label: string; value: string }
  | { kind: 'not'; child: Tree }
  | { kind: 'and' | 'or'; left: Tree; right: Tree };

const LABELS = ['a', 'b', 'c'];
const VALUES = ['0', '1', '2'];

const leaf: fc.Arbitrary<Tree> = fc.record({
  kind: fc.constant('leaf' as const),
  label: fc.constantFrom(...LABELS),
  value: fc.constantFrom(...VALUES),
});

const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    { weight: 1, arbitrary: leaf },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('not' as const), child: tie('tree') }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom('and' as const, 'or' as const),
        left: tie('tree'),
        right: tie('tree'),
      }),
    },
  ),
}));
export const anyTree: fc.Arbitrary<Tree> = tree;

/** One to three labels, each with a value. */
export const anyAttributes: fc.Arbitrary<Record<string, string>> = fc
  .uniqueArray(fc.tuple(fc.constantFrom(...LABELS), fc.constantFrom(...VALUES)), {
    minLength: 1,
    maxLength: 3,
    selector: ([label]) => label,
  })
  .map((pairs) => Object.fromEntries(pairs));

export function render(node: Tree): string {
  if (node.kind === 'leaf') return `${node.label}: ${node.value}`;
  if (node.kind === 'not') return `not (${render(node.child)})`;
  return `(${render(node.left)}) ${node.kind} (${render(node.right)})`;
}

/**
 * What the policy means, said without gates or normal forms: a leaf and its negation both need the
 * attribute to be there.
 */
export function holds(node: Tree, attributes: Record<string, string>, wanted = true): boolean {
  if (node.kind === 'not') return holds(node.child, attributes, !wanted);
  if (node.kind === 'leaf') {
    const value = attributes[node.label];
    return value !== undefined && (value === node.value) === wanted;
  }
  const [left, right] = [
    holds(node.left, attributes, wanted),
    holds(node.right, attributes, wanted),
  ];
  return (node.kind === 'and') === wanted ? left && right : left || right;
}

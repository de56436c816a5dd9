/**
 * The tests that a policy document carries: what its owner meant, checked before the document is
 * published and again by everybody who receives it.
 *
 * An end of a test is one member that has exactly what is named and nothing else, or one subnet.
 */
import { type PolicyDocument, type PolicyTest, parsePolicy, type Rule } from './document.ts';
import { PolicyError } from './errors.ts';
import { formatPorts, includes } from './ports.ts';
import { formatSelector, type Selector } from './selector.ts';
import { covers, overlap, type Subnet } from './subnet.ts';

/** Whether what an end stands for is selected: all of it, some of a subnet, nothing. */
type Extent = 'all' | 'some' | 'none';

export interface Verdict {
  /** `partly`: for some of a subnet's addresses. */
  readonly outcome: 'allow' | 'partly' | 'deny';
  /** Index of the rule that lets it through, if one does. */
  readonly rule: number | undefined;
}

export interface TestFailure {
  /** Index of the test. */
  readonly test: number;
  /** One line: what was expected and what is. */
  readonly reason: string;
}

/** What the rules come to for one test. */
export function judge(document: PolicyDocument, test: PolicyTest): Verdict {
  const reach = least(routed(document, test.from), routed(document, test.to));
  if (reach === 'none') return { outcome: 'deny', rule: undefined };
  if (document.rules === undefined) return verdict(reach, undefined);
  let best: Verdict = { outcome: 'deny', rule: undefined };
  for (const [i, rule] of document.rules.entries()) {
    const extent = least(reach, extentOf(rule, test));
    if (extent === 'all') return verdict('all', i);
    if (extent === 'some') best = verdict('some', i);
  }
  return best;
}

const verdict = (extent: Extent, rule: number | undefined): Verdict => ({
  outcome: extent === 'all' ? 'allow' : 'partly',
  rule,
});

function extentOf({ from, to, ports }: Rule, test: PolicyTest): Extent {
  if (!ports.some((each) => includes(each, test.port))) return 'none';
  const sources = selected(from, test.from);
  return sources === 'none' ? 'none' : least(sources, selected(to, test.to));
}

/** A subnet counts as far as some gateway may announce it. */
function routed({ routes }: PolicyDocument, end: readonly Selector[]): Extent {
  const [first] = end;
  if (first?.kind !== 'subnet') return 'all';
  return extentIn(
    routes.flatMap(({ subnets }) => subnets),
    first.subnet,
  );
}

function selected(selectors: readonly Selector[], end: readonly Selector[]): Extent {
  const [first] = end;
  if (first?.kind !== 'subnet') {
    return selectors.some((each) => each.kind === 'everybody' || isAmong(each, end))
      ? 'all'
      : 'none';
  }
  const subnets: Subnet[] = [];
  for (const each of selectors) if (each.kind === 'subnet') subnets.push(each.subnet);
  return extentIn(subnets, first.subnet);
}

const isAmong = (selector: Selector, end: readonly Selector[]): boolean =>
  'name' in selector &&
  end.some((each) => each.kind === selector.kind && 'name' in each && each.name === selector.name);

function extentIn(blocks: readonly Subnet[], subnet: Subnet): Extent {
  let extent: Extent = 'none';
  for (const block of blocks) {
    if (covers(block, subnet)) return 'all';
    if (overlap(block, subnet)) extent = 'some';
  }
  return extent;
}

const ORDER: readonly Extent[] = ['none', 'some', 'all'];
const least = (a: Extent, b: Extent): Extent => (ORDER.indexOf(a) < ORDER.indexOf(b) ? a : b);

/** Runs all tests of a document. @returns those that fail */
export function failingTests(document: PolicyDocument): TestFailure[] {
  const failures: TestFailure[] = [];
  for (const [i, test] of document.tests.entries()) {
    const found = judge(document, test);
    if (found.outcome !== test.expect) failures.push({ test: i, reason: reasonOf(test, found) });
  }
  return failures;
}

function reasonOf(test: PolicyTest, { outcome, rule }: Verdict): string {
  const [from, to] = [test.from, test.to].map((end) => end.map(formatSelector).join(' and '));
  const is = { allow: 'allowed', partly: 'partly allowed', deny: 'denied' }[outcome];
  const by = rule === undefined ? 'by no rule' : `by rules[${rule}]`;
  const how = outcome === 'deny' ? '' : ` ${by}`;
  return `${from} to ${to} at ${formatPorts(test.port)} is ${is}${how}, expected is ${test.expect}`;
}

/**
 * Reads a document whose own tests hold.
 *
 * @param raw UTF-8
 * @throws PolicyError
 */
export function readPolicy(raw: Uint8Array): PolicyDocument {
  const document = parsePolicy(raw);
  const [first, ...more] = failingTests(document);
  if (first === undefined) return document;
  const others = more.length === 0 ? '' : ` (and ${more.length} more tests fail)`;
  throw new PolicyError(
    'ERR_POLICY_TEST',
    `tests[${first.test}]`,
    `${first.reason}${others}`,
    'correct the rules or the test',
  );
}

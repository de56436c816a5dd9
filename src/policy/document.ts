/**
 * A service's policy, as its owner writes it: who may open which ports of whom, which subnets lie
 * behind which gateway, and tests that say what the owner meant. `docs/policy.md` explains it.
 *
 * ```json
 * { "version": 1,
 *   "encapsulation": "auto",
 *   "rules":  [{ "from": ["role:web"], "to": ["role:app"], "ports": ["tcp/8080"] }],
 *   "routes": [{ "gateway": "role:gateway", "subnets": ["10.20.0.0/16"] }],
 *   "tests":  [{ "from": "role:web", "to": "role:db", "port": "tcp/5432", "expect": "deny" }] }
 * ```
 */
import { fieldError, PolicyError } from './errors.ts';
import {
  choice,
  list,
  object,
  optional,
  optionalList,
  type Reader,
  required,
  text,
} from './fields.ts';
import type { EncapsulationPolicy, Ports } from './grant.ts';
import { parseJson } from './json.ts';
import { readPort, readPorts } from './ports.ts';
import {
  type MemberSelector,
  readGateway,
  readRoutedSubnet,
  readSelector,
  type Selector,
} from './selector.ts';
import { overlap, type Subnet } from './subnet.ts';

/** Bytes of the largest document. */
export const MAX_POLICY_LENGTH = 256 * 1024;
/** The most entries of each list. */
const MAX = { rules: 1024, selectors: 256, ports: 64, routes: 256, subnets: 64, tests: 256 };
const MAX_NOTE = 256;

/** Whoever one of `from` selects may open these ports of whoever one of `to` selects. */
export interface Rule {
  readonly note: string | undefined;
  readonly from: readonly Selector[];
  readonly to: readonly Selector[];
  readonly ports: readonly Ports[];
}

/** Subnets that a gateway may announce. */
export interface Route {
  readonly note: string | undefined;
  readonly gateway: MemberSelector;
  readonly subnets: readonly Subnet[];
}

/** What the rules must come to for two ends. */
export interface PolicyTest {
  readonly note: string | undefined;
  /** One member that has all of this, or one subnet. */
  readonly from: readonly Selector[];
  readonly to: readonly Selector[];
  readonly port: Ports;
  readonly expect: 'allow' | 'deny';
}

export interface PolicyDocument {
  readonly version: 1;
  /** Each member's own setting when left out. */
  readonly encapsulation: EncapsulationPolicy | undefined;
  /** Everything that no rule allows is denied; without rules all members may talk to each other. */
  readonly rules: readonly Rule[] | undefined;
  readonly routes: readonly Route[];
  readonly tests: readonly PolicyTest[];
}

const note = optional(text(MAX_NOTE));
const selectors = list(readSelector, { min: 1, max: MAX.selectors });

const rule: Reader<Rule> = object<Rule>({
  note,
  from: required(selectors),
  to: required(selectors),
  ports: required(list(readPorts, { min: 1, max: MAX.ports })),
});

const route: Reader<Route> = object<Route>({
  note,
  gateway: required(readGateway),
  subnets: required(list(readRoutedSubnet, { min: 1, max: MAX.subnets })),
});

/** What one end of a test may have at the same time. */
const MAX_ATTRIBUTES = 8;
const attributes = list(readSelector, { min: 1, max: MAX_ATTRIBUTES });

const end: Reader<readonly Selector[]> = (value, path) => {
  if (!Array.isArray(value)) return [readSelector(value, path)];
  const all = attributes(value, path);
  if (all.length === 1 || all.every(({ kind }) => kind !== 'subnet' && kind !== 'everybody')) {
    return all;
  }
  throw fieldError(path, 'is more than one end', 'a subnet and * stand alone');
};

const test: Reader<PolicyTest> = object<PolicyTest>({
  note,
  from: required(end),
  to: required(end),
  port: required(readPort),
  expect: required(choice('allow', 'deny')),
});

const document: Reader<PolicyDocument> = object<PolicyDocument>({
  version: required(choice(1)),
  encapsulation: optional(choice('auto', 'esp', 'udp')),
  rules: optional(list(rule, { min: 0, max: MAX.rules })),
  routes: optionalList(list(route, { min: 0, max: MAX.routes })),
  tests: optionalList(list(test, { min: 0, max: MAX.tests })),
});

/**
 * Reads a document and takes nothing in it that this version does not know.
 *
 * Its tests are not run: see {@link readPolicy}.
 *
 * @param raw UTF-8, at most {@link MAX_POLICY_LENGTH} bytes
 * @throws PolicyError that names the place and what to do
 */
export function parsePolicy(raw: Uint8Array): PolicyDocument {
  if (raw.length > MAX_POLICY_LENGTH) {
    const reason = `${raw.length} bytes are too many`;
    throw new PolicyError('ERR_POLICY_JSON', '', reason, `at most ${MAX_POLICY_LENGTH} may be`);
  }
  const parsed = document(parseJson(raw), '');
  refuseUnrouted(parsed);
  return parsed;
}

/** A rule about a subnet that nobody may announce lets nothing through, which nobody means. */
function refuseUnrouted({ rules = [], routes }: PolicyDocument): void {
  const routed = routes.flatMap(({ subnets }) => subnets);
  for (const [i, rule] of rules.entries()) {
    for (const side of ['from', 'to'] as const) {
      for (const [j, selector] of rule[side].entries()) {
        if (selector.kind !== 'subnet') continue;
        if (routed.some((each) => overlap(each, selector.subnet))) continue;
        const reason = `${selector.subnet.text} is behind no gateway`;
        const remedy = 'name its gateway in routes, or remove it from the rule';
        throw fieldError(`rules[${i}].${side}[${j}]`, reason, remedy);
      }
    }
  }
}

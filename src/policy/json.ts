/**
 * JSON that can be read in one way only. `JSON.parse` lets the last of two fields of one name win in
 * silence: a second `"rules"` would undo the first. Here that is an error, as is too much depth.
 */
import { PolicyError, quoted } from './errors.ts';

/** A policy has lists in objects in a list in an object. */
const MAX_DEPTH = 8;

/** What opens, closes, or may name a field, in text that is known to be JSON. */
const TOKENS = /[{}[\]]|("(?:[^"\\]|\\.)*")(\s*:)?/g;

/** @param raw UTF-8. @throws PolicyError ERR_POLICY_JSON */
export function parseJson(raw: Uint8Array): unknown {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(raw);
    value = JSON.parse(text);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new PolicyError('ERR_POLICY_JSON', '', `not JSON: ${why}`, 'correct its syntax');
  }
  refuseRepeats(text);
  return value;
}

function refuseRepeats(json: string): void {
  const open: Set<string>[] = [];
  for (const [token, name, colon] of json.matchAll(TOKENS)) {
    if (token === '{' || token === '[') {
      if (open.push(new Set()) > MAX_DEPTH) {
        const reason = `deeper than ${MAX_DEPTH} lists and objects`;
        throw new PolicyError('ERR_POLICY_JSON', '', reason, 'see docs/policy.md for its shape');
      }
    } else if (token === '}' || token === ']') {
      open.pop();
    } else if (name !== undefined && colon !== undefined) {
      remember(open.at(-1), String(JSON.parse(name)));
    }
  }
}

function remember(names: Set<string> | undefined, name: string): void {
  if (names?.has(name)) {
    const reason = `the field ${quoted(name)} stands twice in one object`;
    throw new PolicyError('ERR_POLICY_JSON', '', reason, 'keep one of the two');
  }
  names?.add(name);
}

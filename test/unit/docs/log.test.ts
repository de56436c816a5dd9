import { deepEqual, equal } from 'node:assert/strict';
import { AUDIT_EVENTS } from '../../../src/admission/audit-record.ts';
import { quoted, read, rows, SOURCE, section } from './pages.ts';

const page = read('docs/log.md');

interface Logged {
  readonly event: string;
  readonly fields: readonly string[];
}

/** The text of a bracket that opens at `start`, without the bracket itself. */
function bracketed(text: string, start: number): string {
  let depth = 0;
  let quote = '';
  for (let i = start; i < text.length; i++) {
    const char = text[i] ?? '';
    if (quote !== '') {
      if (char === '\\') i++;
      else if (char === quote) quote = '';
    } else if (`'"\``.includes(char)) quote = char;
    else if ('([{'.includes(char)) depth++;
    else if (')]}'.includes(char) && --depth === 0) return text.slice(start + 1, i);
  }
  throw new Error(`a bracket does not end: ${text.slice(start, start + 60)}`);
}

/** The parts between commas that are in no bracket. */
function parts(text: string): string[] {
  const found = [''];
  for (let i = 0; i < text.length; i++) {
    const char = text[i] ?? '';
    const inner = '([{'.includes(char) ? bracketed(text, i) : undefined;
    if (char === ',' && inner === undefined) found.push('');
    else found[found.length - 1] += inner === undefined ? char : ' ';
    i += inner === undefined ? 0 : inner.length + 1;
  }
  return found.map((each) => each.trim()).filter((each) => each !== '');
}

/** What is passed to a log, wherever an event is named where it is logged. */
function calls(text: string): Logged[] {
  const found: Logged[] = [];
  for (const match of text.matchAll(/\blog\(/g)) {
    const inside = bracketed(text, match.index + match[0].length - 1);
    const event = /^\s*'([a-z-]+)'/.exec(inside)?.[1];
    if (event === undefined) continue;
    const open = inside.indexOf('{');
    const fields = open < 0 ? [] : parts(bracketed(inside, open));
    found.push({ event, fields: fields.map(keyOf) });
  }
  return found;
}

/** A field that is spread into a log has no name that a page could have. */
function keyOf(field: string): string {
  const key = /^(\w+)(:|$)/.exec(field)?.[1];
  if (key === undefined) throw new Error(`the fields of a log are to be named: ${field}`);
  return key;
}

/** `askSuperPeers` logs a failure under the event that it is given. */
function asked(text: string): Logged[] {
  if (!text.includes('askSuperPeers({')) return [];
  const events = [...text.matchAll(/\bevent: '([a-z-]+)'/g)].map((match) => match[1] ?? '');
  return events.map((event) => ({ event, fields: ['superPeer', 'why'] }));
}

describe('docs/log.md', () => {
  const logged = new Map<string, Set<string>>();
  for (const text of SOURCE.values()) {
    for (const { event, fields } of [...calls(text), ...asked(text)]) {
      logged.set(event, new Set([...(logged.get(event) ?? []), ...fields]));
    }
  }

  it('has each event that the source logs, with its fields, and none else', () => {
    const listed = new Map<string, Set<string>>();
    for (const [event = '', fields = ''] of rows(section(page, "## The daemon's log"))) {
      const [name = ''] = quoted(event);
      listed.set(name, new Set([...(listed.get(name) ?? []), ...quoted(fields)]));
    }
    const sorted = (all: Map<string, Set<string>>): [string, string[]][] =>
      [...all]
        .map(([event, fields]): [string, string[]] => [event, [...fields].sort()])
        .sort(([a], [b]) => (a < b ? -1 : 1));
    deepEqual(sorted(listed), sorted(logged));
    equal(logged.size > 50, true);
  });

  it('says when each happens', () => {
    for (const [event = '', , when = ''] of rows(section(page, "## The daemon's log"))) {
      equal(when.length > 5, true, event);
    }
  });

  it('has each event of the audit log', () => {
    const listed = rows(section(page, '## The audit log')).flatMap(([first = '']) => quoted(first));
    deepEqual(listed.sort(), [...AUDIT_EVENTS].sort());
  });
});

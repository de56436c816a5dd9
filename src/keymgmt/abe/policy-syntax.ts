import {
  MAX_LABEL_LENGTH,
  MAX_POLICY_DEPTH,
  MAX_POLICY_LEAVES,
  MAX_POLICY_TEXT,
  MAX_VALUE_LENGTH,
} from './constants.ts';
import { AbePolicyError } from './errors.ts';

/**
 * The policy language, the same as CIRCL's:
 *
 *     policy  = or
 *     or      = and { "or" and }
 *     and     = not { "and" not }
 *     not     = "not" not | primary
 *     primary = "(" or ")" | word ":" word
 *     word    = 1*( A-Z a-z 0-9 _ )           but not "and", "or", "not"
 *
 * so `not` binds tightest and `or` loosest. Space, tab and line ends separate words.
 */
export type PolicyNode =
  | { readonly kind: 'leaf'; readonly label: string; readonly value: string }
  | { readonly kind: 'not'; readonly child: PolicyNode }
  | { readonly kind: 'and' | 'or'; readonly left: PolicyNode; readonly right: PolicyNode };

interface Token {
  readonly kind: 'and' | 'or' | 'not' | '(' | ')' | ':' | 'word' | 'end';
  readonly text: string;
  readonly position: number;
}

const WORD = /^[A-Za-z0-9_]+$/;

/** Whether `text` can stand as a label or a value. */
export function isWord(text: string): boolean {
  return WORD.test(text) && text !== 'and' && text !== 'or' && text !== 'not';
}

function kindOf(text: string): Token['kind'] {
  switch (text) {
    case 'and':
    case 'or':
    case 'not':
    case '(':
    case ')':
    case ':':
      return text;
    default:
      return 'word';
  }
}

function* tokens(text: string): Generator<Token> {
  for (const match of text.matchAll(/[ \t\r\n]+|[A-Za-z0-9_]+|[\s\S]/gu)) {
    const [lexeme] = match;
    const kind = kindOf(lexeme);
    if (/^[ \t\r\n]/.test(lexeme)) continue;
    if (kind === 'word' && !WORD.test(lexeme)) {
      const shown = JSON.stringify(lexeme);
      throw new AbePolicyError(
        `${shown} cannot stand in a policy (words are letters, digits and "_")`,
        match.index,
      );
    }
    yield { kind, text: lexeme, position: match.index };
  }
  yield { kind: 'end', text: 'the end', position: text.length };
}

class Parser {
  readonly #tokens: Iterator<Token>;
  #token: Token;
  #depth = 0;
  #leaves = 0;

  constructor(text: string) {
    this.#tokens = tokens(text);
    this.#token = this.#read();
  }

  #read(): Token {
    const next = this.#tokens.next();
    // After 'end' nothing asks for more.
    return next.done === true ? this.#token : next.value;
  }

  #is(kind: Token['kind']): boolean {
    return this.#token.kind === kind;
  }

  #advance(): Token {
    const token = this.#token;
    this.#token = this.#read();
    return token;
  }

  #expected(what: string): AbePolicyError {
    const { kind, text, position } = this.#token;
    const found = kind === 'end' ? text : JSON.stringify(text);
    return new AbePolicyError(`expected ${what} but found ${found}`, position);
  }

  #word(what: 'a label' | 'a value', most: number): string {
    if (!this.#is('word')) throw this.#expected(what);
    const { text, position } = this.#advance();
    if (text.length > most) {
      throw new AbePolicyError(`${what} longer than ${most} characters`, position);
    }
    return text;
  }

  #deeper<T>(parse: () => T): T {
    this.#depth += 1;
    if (this.#depth > MAX_POLICY_DEPTH) {
      throw new AbePolicyError(
        `nested deeper than ${MAX_POLICY_DEPTH} levels`,
        this.#token.position,
      );
    }
    const result = parse();
    this.#depth -= 1;
    return result;
  }

  #binary(kind: 'and' | 'or', operand: () => PolicyNode): PolicyNode {
    let left = operand();
    while (this.#is(kind)) {
      this.#advance();
      left = { kind, left, right: operand() };
    }
    return left;
  }

  #or(): PolicyNode {
    return this.#binary('or', () => this.#binary('and', () => this.#not()));
  }

  #not(): PolicyNode {
    if (this.#is('not')) {
      this.#advance();
      return this.#deeper(() => ({ kind: 'not', child: this.#not() }));
    }
    return this.#primary();
  }

  #primary(): PolicyNode {
    if (this.#is('(')) {
      this.#advance();
      const inner = this.#deeper(() => this.#or());
      if (!this.#is(')')) throw this.#expected('"and", "or" or ")"');
      this.#advance();
      return inner;
    }
    if (!this.#is('word')) throw this.#expected('"not", "(" or a label');
    this.#leaves += 1;
    if (this.#leaves > MAX_POLICY_LEAVES) {
      throw new AbePolicyError(`more than ${MAX_POLICY_LEAVES} attributes`, this.#token.position);
    }
    const label = this.#word('a label', MAX_LABEL_LENGTH);
    if (!this.#is(':')) throw this.#expected('":"');
    this.#advance();
    return { kind: 'leaf', label, value: this.#word('a value', MAX_VALUE_LENGTH) };
  }

  parse(): PolicyNode {
    const node = this.#or();
    if (!this.#is('end')) throw this.#expected('"and", "or" or the end');
    return node;
  }
}

/**
 * Parses the text of a policy.
 *
 * @throws AbePolicyError (ERR_ABE_POLICY) with the position of the first fault
 */
export function parsePolicyText(text: string): PolicyNode {
  if (text.length > MAX_POLICY_TEXT) {
    throw new AbePolicyError(`longer than ${MAX_POLICY_TEXT} characters`, MAX_POLICY_TEXT);
  }
  return new Parser(text).parse();
}

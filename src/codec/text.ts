/**
 * Text that people are shown. A terminal acts on control characters, line breaks forge lines of a log, and
 * characters that turn the direction of writing or take no space make one name look like another
 * (Unicode Technical Report 36, section 2). Text from outside has none of them; text that is shown has them escaped.
 */
import { IcvpnError } from '../errors.ts';
import { type Codec, refine, string } from './protobuf.ts';

/** Control and format characters, lone surrogates, private use, and every separator but the plain space. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]|(?! )\p{Zs}/u;
const ALL_INVISIBLE = new RegExp(INVISIBLE.source, 'gu');

/** Whether a terminal shows `text` as what it is: no character is invisible, no space at either end. */
export const isPlain = (text: string): boolean => !INVISIBLE.test(text) && text.trim() === text;

/** @returns `text` with a visible escape, as in JSON, in the place of each character that is not shown as what it is */
export function visible(text: string): string {
  return text.replace(ALL_INVISIBLE, (character) =>
    Array.from({ length: character.length }, (_, i) => escaped(character.charCodeAt(i))).join(''),
  );
}

/** As `visible`, but lines stay lines. */
export const visibleLines = (text: string): string => text.split('\n').map(visible).join('\n');

const escaped = (unit: number): string => `\\u${unit.toString(16).padStart(4, '0')}`;

/** Codec of a name, role or message for people: UTF-8 of at most `max` bytes, plain (`isPlain`). */
export const plainText = (limits: { min?: number; max: number }): Codec<string> =>
  refine(string(limits), { parse: plain, format: plain });

/**
 * Codec of what a node tells another's operator, as why it refused. What is written is made plain and cut to `max`
 * bytes, since the text of an error may quote anything; what is read must be plain.
 */
export const remark = (limits: { max: number }): Codec<string> =>
  refine(string(limits), {
    parse: plain,
    format: (text) => {
      let short = visible(text);
      while (Buffer.byteLength(short) > limits.max) short = short.slice(0, -1);
      return short.trim();
    },
  });

function plain(text: string): string {
  if (isPlain(text)) return text;
  throw new RangeError(
    `"${visible(text)}" has a control, direction or invisible character, or a space at its end`,
  );
}

/** What a person gave as a name cannot be one. */
export class TextError extends IcvpnError {
  constructor(what: string, text: string, reason: string) {
    super(
      'ERR_TEXT',
      `"${visible(text)}" cannot be ${what}: ${reason}`,
      'use letters, digits and signs, without characters that cannot be seen',
    );
  }
}

/** @param what the name is of, as `a VMID`. @throws TextError unless `text` is plain and of 1 to `max` bytes */
export function parseName(text: string, what: string, max: number): string {
  const length = Buffer.byteLength(text);
  if (length < 1 || length > max) {
    throw new TextError(what, text, `it has ${length} bytes, not 1 to ${max}`);
  }
  if (!isPlain(text)) {
    throw new TextError(what, text, 'it has characters that cannot be seen, or a space at its end');
  }
  return text;
}

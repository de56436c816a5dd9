/**
 * What a daemon says about itself, as one line an event on standard error. Lines are for people and
 * for grep: a time, a name, then `key=value`. Nothing secret is ever passed in.
 */

import { visible } from '../codec/text.ts';

export type LogFields = Readonly<Record<string, string | number | boolean | object>>;
export type Log = (event: string, fields?: LogFields) => void;

/** @param write takes one line with its line feed */
export function createLog(write: (line: string) => void): Log {
  return (event, fields = {}) => {
    const pairs = Object.entries(fields).map(([key, value]) => ` ${key}=${quote(String(value))}`);
    write(`${new Date().toISOString()} ${event}${pairs.join('')}\n`);
  };
}

/** Quoted when a line break or blank in the text could be taken for another field or line. */
function quote(text: string): string {
  return /^[\w.:/@+-]+$/.test(text) ? text : visible(JSON.stringify(text));
}

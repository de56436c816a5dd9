import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { IcvpnError } from '../../../src/errors.ts';
import { fuzz, type Parser, parsers } from './fuzz.ts';
import { makeIdentity } from './world.ts';

// `npm run test:fuzz` does a million for each.
const INPUTS = 3000;

describe('P24 parsers of admission', () => {
  let all: Parser[];
  before(async () => {
    all = parsers(await makeIdentity());
  });

  it('take what is valid', () => {
    for (const { parse, valid } of all) for (const raw of valid) assert.ok(parse(raw));
  });

  it('answer anything else with a typed error', () => {
    const seed = randomBytes(8).toString('hex');
    for (const parser of all) fuzz(parser, INPUTS, seed);
  });

  it('read no more than their schema allows', () => {
    for (const { name, parse } of all.filter(({ name }) => /^[A-Z]/.test(name))) {
      const huge = new Uint8Array(1 << 20).fill(0x0a);
      assert.throws(() => parse(huge), IcvpnError, name);
    }
  });
});

/**
 * Generated inputs for each parser of admission, of the records, of the overlay's and members' messages, and for the
 * policy's; fails at the first that is not answered by a typed error.
 *
 *   npm run test:fuzz                  a million for each
 *   npm run test:fuzz -- 1000 SEED     a thousand, those of this seed
 */
import { randomBytes } from 'node:crypto';
import { fuzz, parsers } from '../../test/unit/admission/fuzz.ts';
import { makeIdentity } from '../../test/unit/admission/world.ts';
import { overlayParsers } from '../../test/unit/overlay/parsers.ts';
import { policyParser } from '../../test/unit/policy/parser.ts';

const inputs = Number(process.argv[2] ?? 1_000_000);
const seed = process.argv[3] ?? randomBytes(8).toString('hex');
const all = [...parsers(await makeIdentity()), ...(await overlayParsers()), policyParser];
for (const parser of all) {
  const begin = performance.now();
  fuzz(parser, inputs, seed);
  const seconds = Math.round(performance.now() - begin) / 1000;
  console.log(JSON.stringify({ parser: parser.name, inputs, seed, seconds }));
}

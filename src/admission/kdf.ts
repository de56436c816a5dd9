/**
 * From secret to SRP password: human secrets are stretched with scrypt (RFC 7914), so that who
 * steals a verifier pays for each guess. Machine-made secrets are beyond guessing and are taken as
 * they are. The parameters travel with the salt.
 */
import { type ScryptOptions, scrypt } from 'node:crypto';
import { type Infer, message, required, uint32 } from '../codec/protobuf.ts';
import type { ParsedSecret } from './secret.ts';

const codec = message({
  /** log2 of N. */
  cost: required(1, uint32({ max: 18 })),
  r: required(2, uint32({ max: 16 })),
  p: required(3, uint32({ max: 4 })),
});

export const scryptParameters = codec;
export type ScryptParameters = Infer<typeof codec>;

/** RFC 7914's interactive setting doubled: about 0.1 s and 32 MiB on a VM of 2025. */
export const DEFAULT_SCRYPT: ScryptParameters = { cost: 15, r: 8, p: 1 };

/** What a VM does for a super-peer at most: twice the memory of the default, four times its work. */
const MOST_MEMORY = 2 * memoryOf(DEFAULT_SCRYPT);
const MOST_WORK = 4 * workOf(DEFAULT_SCRYPT);

const STRETCHED_LENGTH = 32;

/** @returns bytes (RFC 7914, section 6) */
function memoryOf({ cost, r }: ScryptParameters): number {
  return 128 * 2 ** cost * r;
}

/** @returns what the time of a run is proportional to */
function workOf(parameters: ScryptParameters): number {
  return memoryOf(parameters) * parameters.p;
}

/** Whether parameters ask for no more than a VM gives to a super-peer that has proved nothing yet. */
export function isBearable(parameters: ScryptParameters): boolean {
  return memoryOf(parameters) <= MOST_MEMORY && workOf(parameters) <= MOST_WORK;
}

/** Whether parameters are at least the default: less would help only who guesses. */
export function isStrongEnough(parameters: ScryptParameters): boolean {
  return parameters.cost >= DEFAULT_SCRYPT.cost && parameters.r >= 8 && parameters.p >= 1;
}

/** @returns the SRP password P, to be overwritten by the caller */
export async function stretch(
  secret: ParsedSecret,
  salt: Uint8Array,
  parameters: ScryptParameters | undefined,
): Promise<Uint8Array> {
  if (parameters === undefined) return Uint8Array.from(secret.bytes);
  const { cost, r, p } = parameters;
  const options: ScryptOptions = { N: 2 ** cost, r, p, maxmem: 256 * 2 ** cost * r };
  const key = await new Promise<Buffer>((resolve, reject) => {
    scrypt(secret.bytes, salt, STRETCHED_LENGTH, options, (error, derived) =>
      error === null ? resolve(derived) : reject(error),
    );
  });
  // As text, since SRP passwords are text to every client library.
  const text = Buffer.from(key.toString('hex'));
  key.fill(0);
  return text;
}

/**
 * Service secrets: what every VM of a service is given at bootstrap.
 *
 * ```
 * icvpn-secret-<32 characters of secret><6 of checksum>      base32 of RFC 4648, lower case
 *               160 bits                 30 bits of SHA-256
 * ```
 *
 * Prefix and checksum tell a typo from a wrong secret before anything is sent. Any other text is a
 * human's secret, taken as it is in NFC, and stretched by scrypt (see kdf.ts).
 */
import { createHash, randomBytes } from 'node:crypto';
import { base32 } from 'multiformats/bases/base32';
import { SecretTypoError } from './errors.ts';

/** Entropy of a machine-made secret, in bytes. */
const ENTROPY = 20;
const CHECKSUM_CHARACTERS = 6;
const MAX_LENGTH = 1024;

export interface ParsedSecret {
  /** `machine`: made by a generator, at least 128 bits. `human`: anything else. */
  readonly kind: 'machine' | 'human';
  /** The secret in its one spelling, UTF-8; to be overwritten by who has it. */
  readonly bytes: Uint8Array;
}

/** Text of a kind of secret: prefix, payload and checksum. */
export class SecretFormat {
  readonly prefix: string;
  readonly #length: number;

  /** @param length of the payload, in bytes: a multiple of 5, so that base32 has no spare bits */
  constructor(prefix: string, length: number) {
    this.prefix = prefix;
    this.#length = length;
  }

  format(payload: Uint8Array): string {
    const body = base32.baseEncode(payload);
    return `${this.prefix}${body}${this.#checksum(body)}`;
  }

  /** Whether the text claims to be of this kind, however it was spelled. */
  claims(text: string): boolean {
    return canonical(text).startsWith(canonical(this.prefix));
  }

  /** Takes upper case, spaces and missing dashes. @throws SecretTypoError */
  parse(text: string): Uint8Array {
    const characters = canonical(text).slice(canonical(this.prefix).length);
    const expected = (this.#length / 5) * 8 + CHECKSUM_CHARACTERS;
    if (characters.length !== expected) {
      const how = characters.length < expected ? 'short' : 'long';
      const by = Math.abs(expected - characters.length);
      throw new SecretTypoError(`the secret is too ${how} by ${by} characters`);
    }
    const body = characters.slice(0, -CHECKSUM_CHARACTERS);
    if (this.#checksum(body) !== characters.slice(-CHECKSUM_CHARACTERS)) {
      throw new SecretTypoError("the secret's checksum does not hold: it was mistyped");
    }
    return base32.baseDecode(body);
  }

  #checksum(body: string): string {
    const digest = createHash('sha256').update(`${this.prefix}${body}`).digest();
    return base32.baseEncode(digest).slice(0, CHECKSUM_CHARACTERS);
  }
}

const canonical = (text: string): string => text.replace(/[\s-]/g, '').toLowerCase();

const SERVICE_SECRET = new SecretFormat('icvpn-secret-', ENTROPY);

/** @returns a new secret of 160 random bits, with prefix and checksum */
export function makeServiceSecret(): string {
  const payload = randomBytes(ENTROPY);
  try {
    return SERVICE_SECRET.format(payload);
  } finally {
    payload.fill(0);
  }
}

/**
 * @throws SecretTypoError when the text begins like one of icvpn's own secrets but its checksum
 * does not hold, or is no secret at all
 */
export function parseServiceSecret(secret: string | Uint8Array): ParsedSecret {
  const text = (typeof secret === 'string' ? secret : Buffer.from(secret).toString()).trim();
  if (text === '') throw new SecretTypoError('the secret is empty');
  if (text.length > MAX_LENGTH) {
    throw new SecretTypoError(`the secret is longer than ${MAX_LENGTH} characters`);
  }
  if (SERVICE_SECRET.claims(text)) {
    const bytes = Buffer.from(SERVICE_SECRET.format(SERVICE_SECRET.parse(text)));
    return { kind: 'machine', bytes };
  }
  // A mistyped prefix would otherwise turn a machine's secret into a human's wrong one.
  if (/^icvpn/i.test(text)) {
    throw new SecretTypoError(
      `secrets that begin with "icvpn" begin with "${SERVICE_SECRET.prefix}"`,
    );
  }
  return { kind: 'human', bytes: Buffer.from(text.normalize('NFC')) };
}

/**
 * Generated inputs for every parser of admission that takes bytes or text from outside: random ones,
 * and valid ones that were bent, cut, lengthened and spliced.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Decoys } from '../../../src/admission/decoy.ts';
import { openOnce, sealOnce } from '../../../src/admission/keys.ts';
import * as messages from '../../../src/admission/messages.ts';
import { openRenewalState, sealRenewalState } from '../../../src/admission/renewal-token.ts';
import { makeServiceSecret, parseServiceSecret } from '../../../src/admission/secret.ts';
import { reply } from '../../../src/admission/verdict.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import type { MessageCodec } from '../../../src/codec/protobuf.ts';
import { IcvpnError } from '../../../src/errors.ts';
import type { Identity } from './world.ts';

/** A stream of numbers that a seed determines, so that a failure can be run again. */
export class Dice {
  readonly #seed: string;
  #block = Buffer.alloc(0);
  #at = 0;
  #count = 0;

  constructor(seed: string) {
    this.#seed = seed;
  }

  /** @returns a whole number from 0 to `below` - 1 */
  below(below: number): number {
    if (this.#at + 4 > this.#block.length) {
      const block = `${this.#seed} ${this.#count++}`;
      this.#block = createHash('sha512').update(block).digest();
      this.#at = 0;
    }
    const value = this.#block.readUInt32BE(this.#at);
    this.#at += 4;
    return value % below;
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256));
  }
}

export interface Parser {
  readonly name: string;
  readonly valid: readonly Uint8Array[];
  parse(raw: Uint8Array): unknown;
}

/** @param values messages that are valid */
export const of = <T>(name: string, codec: MessageCodec<T>, ...values: T[]): Parser => ({
  name,
  valid: values.map((value) => codec.encode(value)),
  parse: (raw) => codec.decode(raw),
});

export function parsers(node: Identity): Parser[] {
  const { id } = node;
  const b = (length: number): Uint8Array => randomBytes(length);
  const hello = {
    ...{ version: 1, suite: 1, serviceId: id, identity: 'member', nonce: b(32), A: b(256) },
    ticket: undefined,
  };
  const renewHello = { version: 1, credential: b(200), token: b(100), nonce: b(32) };
  const renew = { hello: renewHello, confirmation: b(32), request: b(60) };
  const kdf = { cost: 15, r: 8, p: 1 };
  const { salt } = new Decoys(node.key).of(id, 'member');
  const challenge = { nonce: b(32), salt, kdf, B: b(256), time: 1_800_000_000 };
  const state = { renewalKey: b(32), peerId: id, serial: b(16) };
  const [secret, key] = [b(32), b(32)];
  const { Opening, Proof, Answer, Reply, Request } = messages;
  return [
    of('Opening', Opening, { admit: hello, renew: undefined }, { admit: undefined, renew }),
    of('Proof', Proof, { M1: b(32), confirmation: b(32), request: b(100) }),
    of('Answer', Answer, { answer: b(8) }),
    of(
      'Reply',
      Reply,
      reply({ challenge }),
      reply({ refusal: { reason: 1, text: 'no' } }),
      reply({ puzzle: { seed: b(32), bits: 12 }, busy: 3 }),
    ),
    of('Request', Request, {
      vmid: 'i-1',
      roles: ['a', 'b'],
      multiaddrs: [parseTcpMultiaddr('/ip4/192.0.2.9/tcp/1')],
      subnets: ['10.20.0.0/16'],
    }),
    {
      name: 'renewal token',
      valid: [sealRenewalState(state, secret, id)],
      parse: (raw) => openRenewalState(raw, secret, id),
    },
    {
      name: 'service secret',
      valid: [Buffer.from(makeServiceSecret()), Buffer.from('correct horse')],
      parse: (raw) => parseServiceSecret(raw),
    },
    {
      name: 'sealed message',
      valid: [sealOnce(key, b(50))],
      parse: (raw) => {
        try {
          return openOnce(key, raw);
        } catch {
          // Its callers turn every failure into an error of their own.
          return undefined;
        }
      },
    },
  ];
}

function mutate(dice: Dice, valid: Uint8Array): Uint8Array {
  let raw = Uint8Array.from(valid);
  for (let changes = 1 + dice.below(4); changes > 0; changes--) {
    const at = dice.below(raw.length + 1);
    switch (dice.below(5)) {
      case 0:
        raw[at] = dice.below(256);
        break;
      case 1:
        raw = raw.slice(0, at);
        break;
      case 2:
        raw = Uint8Array.from([...raw, ...dice.bytes(dice.below(20))]);
        break;
      case 3:
        raw = Uint8Array.from([...raw.slice(at), ...raw.slice(0, at)]);
        break;
      default:
        if (at < raw.length) raw[at] = (raw[at] ?? 0) ^ (1 << dice.below(8));
    }
  }
  return raw;
}

/** @throws Error that names the parser, seed and input when one fails other than by a typed error */
export function fuzz(parser: Parser, inputs: number, seed: string): void {
  const dice = new Dice(`${seed} ${parser.name}`);
  for (let i = 0; i < inputs; i++) {
    const valid = parser.valid[dice.below(parser.valid.length)];
    const raw =
      valid === undefined || dice.below(4) === 0
        ? dice.bytes(dice.below(400))
        : mutate(dice, valid);
    try {
      parser.parse(raw);
    } catch (cause) {
      if (cause instanceof IcvpnError) continue;
      const input = Buffer.from(raw).toString('hex');
      throw new Error(`${parser.name}, seed ${seed}, input ${i}: ${input}`, { cause });
    }
  }
}

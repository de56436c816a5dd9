/**
 * A second implementation of the exchange, written from docs/exchange.md: it shares no code with the
 * first, uses HKDF whole, and other primitives where there are some.
 */
import { createCipheriv, createHash, createHmac, hkdfSync } from 'node:crypto';
import { ed25519, x25519 } from '@noble/curves/ed25519.js';
import { ml_kem768 } from '@noble/post-quantum/ml-kem.js';
import type { Vector } from './vectors.ts';

const NUMBERS: Record<string, number> = { x25519: 1, 'x25519-mlkem768': 2 };
const ZERO = Buffer.alloc(32);
const from = (text: string): Buffer => Buffer.from(text, 'hex');

/** Protocol Buffers by hand. */
function varint(value: number): Buffer {
  const out: number[] = [];
  let rest = BigInt(value);
  for (; rest > 127n; rest >>= 7n) out.push(Number(rest & 127n) + 128);
  return Buffer.from([...out, Number(rest)]);
}
const field = (number: number, value: number | Uint8Array): Buffer =>
  typeof value === 'number'
    ? Buffer.concat([varint(number * 8), varint(value)])
    : Buffer.concat([varint(number * 8 + 2), varint(value.length), value]);
const list = (...fields: (Buffer | false)[]): Buffer =>
  Buffer.concat(fields.filter((f) => f !== false));
const lifetimes = (l: Vector['lifetimes']): Buffer =>
  list(field(1, l.seconds), field(2, l.bytes), field(3, l.packets));

const POLICIES = ['auto', 'esp', 'udp'];
const REASONS = ['direct', 'policy', 'nat', 'blocked', 'no-udp'];
type Offer = Vector['initiator']['path'];
/** The IPv4 addresses and `fd00::2` of the vectors, in bytes. */
const ip = (text: string): Buffer =>
  text.includes(':')
    ? from('fd000000000000000000000000000002')
    : Buffer.from(text.split('.').map(Number));
const offer = (o: Offer): Buffer =>
  list(
    field(1, POLICIES.indexOf(o.policy) + 1),
    ...o.addresses.map((each) => field(2, ip(each))),
    o.seen !== undefined && field(3, ip(o.seen)),
    o.udpPort !== undefined && field(4, o.udpPort),
    field(5, o.blocked),
  );
/** The table of docs/exchange.md. */
function choice(a: Offer, b: Offer): Buffer {
  const natted = [
    b.seen !== undefined && !a.addresses.includes(b.seen),
    a.seen !== undefined && !b.addresses.includes(a.seen),
  ];
  const wanted = [a.policy, b.policy].find((each) => each !== 'auto');
  const better = natted.includes(true) ? 'nat' : a.blocked || b.blocked ? 'blocked' : 'direct';
  const possible = a.udpPort !== undefined && b.udpPort !== undefined;
  const udp = wanted === 'udp' || (wanted === undefined && better !== 'direct' && possible);
  let why = better;
  if (wanted !== undefined) why = 'policy';
  else if (better !== 'direct' && !possible) why = 'no-udp';
  return list(
    field(1, REASONS.indexOf(why) + 1),
    field(2, Number(natted[0]) + 2 * Number(natted[1])),
    udp && field(3, b.udpPort ?? 0),
  );
}

/** lp(x) | lp(y) | ... with 4-byte lengths. */
function lp(...parts: (string | Uint8Array)[]): Buffer {
  return Buffer.concat(
    parts.flatMap((part) => {
      const bytes = Buffer.from(part);
      const length = Buffer.alloc(4);
      length.writeUInt32BE(bytes.length);
      return [length, bytes];
    }),
  );
}
const H = (...parts: (string | Uint8Array)[]): Buffer =>
  createHash('sha256')
    .update(lp(...parts))
    .digest();
const mac = (key: Uint8Array, data: Uint8Array): Buffer =>
  createHmac('sha256', key).update(data).digest();
const L = (name: string): string => `icvpn exchange 1 ${name}`;
const hkdf = (
  ikm: Uint8Array,
  salt: Uint8Array,
  label: string,
  context: Uint8Array,
  length = 32,
): Buffer => Buffer.from(hkdfSync('sha256', ikm, salt, lp(L(label), context), length));
function gcm(key: Uint8Array, plain: Uint8Array, aad: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAAD(aad);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function recompute(vector: Vector) {
  const { initiator: a, responder: b } = vector;
  const hybrid = vector.suite === 'x25519-mlkem768';
  const kem = a.mlkem768Seed === undefined ? undefined : ml_kem768.keygen(from(a.mlkem768Seed));
  const m1 = field(
    1,
    list(
      field(1, 1),
      field(2, from(vector.serviceId)),
      field(3, vector.epoch),
      ...a.suites.map((suite) => field(4, NUMBERS[suite] ?? 0)),
      field(5, lifetimes(a.lifetimes)),
      field(6, from(a.nonce)),
      field(7, x25519.getPublicKey(from(a.x25519PrivateKey))),
      kem !== undefined && field(8, kem.publicKey),
      field(10, offer(a.path)),
    ),
  );

  const sealed =
    hybrid && kem !== undefined && b.mlkem768Randomness !== undefined
      ? ml_kem768.encapsulate(kem.publicKey, from(b.mlkem768Randomness))
      : undefined;
  const hello = list(
    field(1, NUMBERS[vector.suite] ?? 0),
    field(2, lifetimes(vector.lifetimes)),
    field(3, from(b.nonce)),
    field(4, x25519.getPublicKey(from(b.x25519PrivateKey))),
    sealed !== undefined && field(5, sealed.cipherText),
    field(6, choice(a.path, b.path)),
  );
  const secret = Buffer.concat([
    sealed?.sharedSecret ?? Buffer.alloc(0),
    x25519.getSharedSecret(from(a.x25519PrivateKey), x25519.getPublicKey(from(b.x25519PrivateKey))),
  ]);
  const salt = hkdf(from(vector.psk), ZERO, 'derived', Buffer.alloc(0));

  function proof(who: typeof a | typeof b, role: string, message: string, th: Buffer): Buffer {
    const spi = Buffer.alloc(4);
    spi.writeUInt32BE(who.spi);
    const said = lp(L(`${role} signature`), th, H(from(who.credential)), spi);
    const plain = list(
      field(1, from(who.credential)),
      field(2, who.spi),
      field(3, ed25519.sign(said, from(who.privateKey))),
      field(4, mac(hkdf(secret, salt, `${message} mac`, th), said)),
    );
    return gcm(hkdf(secret, salt, `${message} seal`, th), plain, th);
  }

  const th0 = H(L('th0'), from(a.peerId), from(b.peerId));
  const th1 = H(L('th1'), th0, m1, hello);
  const m2 = field(2, list(field(1, hello), field(2, proof(b, 'responder', 'm2', th1))));
  const th2 = H(L('th2'), th1, m2);
  const m3 = field(3, field(1, proof(a, 'initiator', 'm3', th2)));
  const total = H(L('total'), th2, m3);

  const masterSalt = hkdf(secret, salt, 'derived', Buffer.alloc(0));
  const m4 = field(4, field(1, mac(hkdf(ZERO, masterSalt, 'm4', total), total)));
  const context = Buffer.concat([from(a.peerId), from(b.peerId), total]);
  const esp = hkdf(ZERO, masterSalt, 'esp', context, 72).toString('hex');
  return {
    m1: m1.toString('hex'),
    m2: m2.toString('hex'),
    m3: m3.toString('hex'),
    m4: m4.toString('hex'),
    transcriptHash: total.toString('hex'),
    initiatorToResponder: { spi: b.spi, key: esp.slice(0, 64), salt: esp.slice(64, 72) },
    responderToInitiator: { spi: a.spi, key: esp.slice(72, 136), salt: esp.slice(136) },
  };
}

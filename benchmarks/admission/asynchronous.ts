/**
 * The way not taken: a super-peer's SRP on asynchronous `crypto.diffieHellman`, which exponentiates on
 * libuv's pool but wants keys that are imported on the event loop. For measuring against the pool.
 */
import {
  createHash,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  type KeyObject,
} from 'node:crypto';
import { GROUP_2048 } from '../../src/admission/srp/group.ts';

const N = BigInt(`0x${Buffer.from(GROUP_2048.N).toString('hex')}`);
const number = (raw: Uint8Array): bigint => BigInt(`0x${Buffer.from(raw).toString('hex')}`);
const raw = (value: bigint): Uint8Array =>
  Buffer.from(value.toString(16).padStart(512, '0'), 'hex');

function der(tag: number, ...parts: Uint8Array[]): Uint8Array {
  const body = Buffer.concat(parts);
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

function integer(value: Uint8Array): Uint8Array {
  const digits = value.subarray(
    Math.max(
      0,
      value.findIndex((byte) => byte > 0),
    ),
  );
  return der(2, Buffer.alloc((digits[0] ?? 0) >> 7), digits);
}

const GROUP = der(0x30, integer(GROUP_2048.N), integer(Uint8Array.of(GROUP_2048.g)));
const PARAMETERS = der(0x30, Buffer.from('06092a864886f70d010301', 'hex'), GROUP);

function secretKey(exponent: Uint8Array): KeyObject {
  const key = der(0x30, integer(Uint8Array.of(0)), PARAMETERS, der(4, integer(exponent)));
  return createPrivateKey({ key: Buffer.from(key), format: 'der', type: 'pkcs8' });
}

function power(base: Uint8Array, privateKey: KeyObject): Promise<Uint8Array> {
  const key = der(0x30, PARAMETERS, der(3, Uint8Array.of(0), integer(base)));
  const publicKey = createPublicKey({ key: Buffer.from(key), format: 'der', type: 'spki' });
  return new Promise((resolve, reject) => {
    diffieHellman({ privateKey, publicKey }, (error, secret) =>
      error === null ? resolve(secret) : reject(error),
    );
  });
}

/** The exponentiations and products of one server session. */
export async function asynchronousSession(
  verifier: Uint8Array,
  b: Uint8Array,
  A: Uint8Array,
): Promise<Uint8Array> {
  const secret = secretKey(b);
  const gb = await power(raw(2n), secret);
  const B = raw((number(gb) + 3n * number(verifier)) % N);
  const u = createHash('sha256').update(A).update(B).digest();
  const vu = await power(verifier, secretKey(u));
  return power(raw((number(A) * number(vu)) % N), secret);
}

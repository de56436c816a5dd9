/**
 * The alternative that the paper compares with, for comparison only: the super-peer as certificate
 * authority, X.509 certificates, requests and replies signed, replies sealed to who asks.
 *
 * ```
 *  member                                       super-peer, the authority
 *   │ {certificate request}                        │
 *   ├─────────────────────────────────────────────▶│ signs a certificate: once
 *   │◀─────────────────────────────────────────────┤
 *   │ {which: revocation list}                     │
 *   ├─────────────────────────────────────────────▶│
 *   │                    {signed revocation list}  │
 *   │◀─────────────────────────────────────────────┤ a round trip, unless one is at hand
 *   │ {certificate, nonce, X25519 key} signed      │
 *   ├─────────────────────────────────────────────▶│ certificate, revocation, signature
 *   │    {certificate, X25519 key, sealed} signed  │
 *   │◀─────────────────────────────────────────────┤ a round trip
 *   │ certificate, signature, list, each member's certificate
 * ```
 *
 * Seal: X25519 of fresh keys, HKDF-SHA256 over nonce and both keys, AES-256-GCM. All keys that sign
 * are Ed25519.
 */
import 'reflect-metadata';
import {
  createCipheriv,
  createDecipheriv,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  webcrypto,
} from 'node:crypto';
import type { Multiaddr } from '@multiformats/multiaddr';
import {
  X509Certificate,
  X509CertificateGenerator,
  X509Crl,
  X509CrlGenerator,
} from '@peculiar/x509';
import { bytes, message, optional, repeated, required, string } from '../../src/codec/protobuf.ts';
import type { Host } from '../../src/overlay/host.ts';
import { MessageStream } from '../../src/wire/message-stream.ts';

const { subtle } = webcrypto;
const PROTOCOL = '/icvpn-benchmark/pki/1.0.0';
const ED25519 = { name: 'Ed25519' };
const MAX = 4 * 1024 * 1024;
const DAY_MS = 86_400_000;

const body = message({
  certificate: required(1, bytes({ max: 4096 })),
  nonce: required(2, bytes({ length: 32 })),
  /** X25519, 32 bytes. */
  ephemeral: required(3, bytes({ length: 32 })),
  /** In a reply: IV, ciphertext, tag. */
  sealed: optional(4, bytes({ max: MAX })),
});
const signed = message({
  body: required(1, bytes({ max: MAX })),
  signature: required(2, bytes({ length: 64 })),
});
const frame = message({
  /** A public key to be certified, SPKI, and its name. */
  enrol: optional(1, bytes({ max: 256 })),
  name: optional(2, string({ max: 128 })),
  certificate: optional(3, bytes({ max: 4096 })),
  /** Asked for with no bytes. */
  revocations: optional(4, bytes({ max: 65536 })),
  discover: optional(5, bytes({ max: MAX })),
});
const entry = message({
  certificate: required(1, bytes({ max: 4096 })),
  multiaddrs: repeated(2, string({ max: 256 }), { max: 8 }),
});
const list = message({ members: repeated(1, entry, { max: 4096 }) });

const EMPTY = {
  ...{ enrol: undefined, name: undefined, certificate: undefined },
  ...{ revocations: undefined, discover: undefined },
};
const FRAMES = { reads: frame, writes: frame, maxLength: MAX + 8192 };

type Keys = webcrypto.CryptoKeyPair;
const newKeys = async (): Promise<Keys> => {
  const keys = await subtle.generateKey(ED25519, true, ['sign', 'verify']);
  if ('privateKey' in keys) return keys;
  throw new Error('no pair');
};
const copy = (data: ArrayBuffer | Uint8Array): Uint8Array<ArrayBuffer> => new Uint8Array(data);

async function sign(keys: Keys, value: Parameters<typeof body.encode>[0]): Promise<Uint8Array> {
  const encoded = body.encode(value);
  const signature = copy(await subtle.sign(ED25519, keys.privateKey, copy(encoded)));
  return signed.encode({ body: encoded, signature });
}

/** Checks certificate, revocation and signature. */
async function verify(raw: Uint8Array, ca: X509Certificate, crl: X509Crl) {
  const outer = signed.decode(raw);
  const value = body.decode(outer.body);
  const key = await certified(value.certificate, ca, crl);
  if (!(await subtle.verify(ED25519, key, copy(outer.signature), copy(outer.body)))) {
    throw new Error('the signature does not hold');
  }
  return value;
}

/** @returns the key of a certificate that holds */
async function certified(raw: Uint8Array, ca: X509Certificate, crl: X509Crl) {
  const certificate = new X509Certificate(copy(raw));
  if (certificate.issuer !== ca.subject || !(await certificate.verify({ publicKey: ca }))) {
    throw new Error('the certificate does not hold');
  }
  if (crl.findRevoked(certificate) !== null) throw new Error('revoked');
  return certificate.publicKey.export(ED25519, ['verify']);
}

/** The same of a certificate in a reply that the authority itself signed, as icvpn takes credentials. */
function vouched(raw: Uint8Array, ca: X509Certificate, crl: X509Crl): void {
  const certificate = new X509Certificate(copy(raw));
  const now = new Date();
  const timely = certificate.notBefore <= now && now < certificate.notAfter;
  if (certificate.issuer !== ca.subject || !timely) throw new Error('it does not hold');
  if (crl.findRevoked(certificate) !== null) throw new Error('revoked');
}

const x25519 = (): { privateKey: KeyObject; raw: Uint8Array } => {
  const { publicKey, privateKey } = generateKeyPairSync('x25519');
  const { x } = publicKey.export({ format: 'jwk' });
  return { privateKey, raw: Uint8Array.from(Buffer.from(x ?? '', 'base64url')) };
};

function sharedKey(own: KeyObject, other: Uint8Array, info: readonly Uint8Array[]): Uint8Array {
  const x = Buffer.from(other).toString('base64url');
  const publicKey = createPublicKey({ key: { kty: 'OKP', crv: 'X25519', x }, format: 'jwk' });
  const secret = diffieHellman({ privateKey: own, publicKey });
  return new Uint8Array(hkdfSync('sha256', secret, '', Buffer.concat(info), 32));
}

export class PkiSuperPeer {
  readonly #keys: Keys;
  readonly certificate: X509Certificate;
  readonly #crl: X509Crl;
  readonly #members: Uint8Array[] = [];

  private constructor(keys: Keys, certificate: X509Certificate, crl: X509Crl) {
    this.#keys = keys;
    this.certificate = certificate;
    this.#crl = crl;
  }

  /** @param members how many there are besides who asks */
  static async start(host: Host, members: number): Promise<PkiSuperPeer> {
    const keys = await newKeys();
    const issuer = 'CN=super-peer';
    const ca = await X509CertificateGenerator.createSelfSigned({
      ...{ name: issuer, keys, signingAlgorithm: ED25519 },
    });
    const crl = await X509CrlGenerator.create({
      ...{ issuer, signingKey: keys.privateKey, signingAlgorithm: ED25519 },
      thisUpdate: new Date(),
      nextUpdate: new Date(Date.now() + DAY_MS),
      entries: Array.from({ length: 10 }, () => ({
        serialNumber: `00${randomBytes(15).toString('hex')}`,
        revocationDate: new Date(),
      })),
    });
    const superPeer = new PkiSuperPeer(keys, ca, crl);
    for (let i = 0; i < members; i++) {
      const certificate = await superPeer.#issue((await newKeys()).publicKey, `vm-${i}`);
      const address = `/ip4/10.1.${Math.floor(i / 250)}.${i % 250}/tcp/4242`;
      superPeer.#members.push(entry.encode({ certificate, multiaddrs: [address] }));
    }
    await host.libp2p.handle(PROTOCOL, async (stream) => {
      try {
        const frames = new MessageStream(stream, FRAMES);
        const signal = AbortSignal.timeout(10_000);
        const request = await frames.read({ signal });
        await frames.write({ ...EMPTY, ...(await superPeer.#answer(request)) }, { signal });
        await stream.close({ signal });
      } catch (error) {
        stream.abort(error instanceof Error ? error : new Error(String(error)));
      }
    });
    return superPeer;
  }

  async #issue(publicKey: webcrypto.CryptoKey, name: string): Promise<Uint8Array> {
    const certificate = await X509CertificateGenerator.create({
      ...{ subject: `CN=${name}`, issuer: this.certificate.subject, publicKey },
      ...{ signingKey: this.#keys.privateKey, signingAlgorithm: ED25519 },
      notBefore: new Date(Date.now() - 60_000),
      notAfter: new Date(Date.now() + DAY_MS),
    });
    return copy(certificate.rawData);
  }

  async #answer(request: ReturnType<typeof frame.decode>): Promise<Partial<typeof request>> {
    if (request.enrol !== undefined) {
      const key = await subtle.importKey('spki', copy(request.enrol), ED25519, true, ['verify']);
      return { certificate: await this.#issue(key, request.name ?? '') };
    }
    if (request.revocations !== undefined) return { revocations: copy(this.#crl.rawData) };
    const asked = await verify(request.discover ?? new Uint8Array(), this.certificate, this.#crl);
    const { privateKey, raw: ephemeral } = x25519();
    const { nonce } = asked;
    const key = sharedKey(privateKey, asked.ephemeral, [nonce, asked.ephemeral, ephemeral]);
    const iv = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', key, iv);
    const clear = list.encode({ members: this.#members.map((each) => entry.decode(each)) });
    const sealed = Buffer.concat([iv, cipher.update(clear), cipher.final(), cipher.getAuthTag()]);
    const certificate = copy(this.certificate.rawData);
    return { discover: await sign(this.#keys, { certificate, nonce, ephemeral, sealed }) };
  }
}

export class PkiMember {
  readonly #host: Host;
  readonly #at: Multiaddr[];
  readonly #ca: X509Certificate;
  readonly #keys: Keys;
  readonly #certificate: Uint8Array;
  #crl: X509Crl | undefined;

  private constructor(
    parts: { host: Host; at: Multiaddr[]; ca: X509Certificate },
    keys: Keys,
    certificate: Uint8Array,
  ) {
    this.#host = parts.host;
    this.#at = parts.at;
    this.#ca = parts.ca;
    this.#keys = keys;
    this.#certificate = certificate;
  }

  /** Gets a certificate. @param parts.ca the authority's certificate, pinned */
  static async enrol(parts: { host: Host; at: Multiaddr[]; ca: X509Certificate }) {
    const keys = await newKeys();
    const enrol = copy(await subtle.exportKey('spki', keys.publicKey));
    const request = { ...EMPTY, enrol, name: parts.host.peerId.toString() };
    const { certificate } = await ask(parts.host, parts.at, request);
    return new PkiMember(parts, keys, certificate ?? new Uint8Array());
  }

  forgetRevocations(): void {
    this.#crl = undefined;
  }

  /**
   * @param each whether each certificate's own signature is checked, besides that of the reply
   * @returns how many members there are whose certificates hold
   */
  async discover(each = true): Promise<number> {
    this.#crl ??= await this.#revocations();
    const crl = this.#crl;
    const { privateKey, raw: ephemeral } = x25519();
    const nonce = Uint8Array.from(randomBytes(32));
    const certificate = this.#certificate;
    const request = await sign(this.#keys, { certificate, nonce, ephemeral, sealed: undefined });
    const answer = await ask(this.#host, this.#at, { ...EMPTY, discover: request });
    const reply = await verify(answer.discover ?? new Uint8Array(), this.#ca, crl);
    if (!Buffer.from(reply.nonce).equals(nonce)) throw new Error('another answer');
    const key = sharedKey(privateKey, reply.ephemeral, [nonce, ephemeral, reply.ephemeral]);
    const { members } = list.decode(open(key, reply.sealed ?? new Uint8Array()));
    if (each) {
      await Promise.all(members.map(({ certificate }) => certified(certificate, this.#ca, crl)));
    } else {
      for (const { certificate } of members) vouched(certificate, this.#ca, crl);
    }
    return members.length;
  }

  async #revocations(): Promise<X509Crl> {
    const request = { ...EMPTY, revocations: new Uint8Array() };
    const { revocations } = await ask(this.#host, this.#at, request);
    const crl = new X509Crl(copy(revocations ?? new Uint8Array()));
    if (await crl.verify({ publicKey: this.#ca })) return crl;
    throw new Error('the revocation list does not hold');
  }
}

function open(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  const end = sealed.length - 16;
  const decipher = createDecipheriv('aes-256-gcm', key, sealed.subarray(0, 12));
  decipher.setAuthTag(sealed.subarray(end));
  return Uint8Array.from(
    Buffer.concat([decipher.update(sealed.subarray(12, end)), decipher.final()]),
  );
}

async function ask(host: Host, at: Multiaddr[], request: Parameters<typeof frame.encode>[0]) {
  const signal = AbortSignal.timeout(10_000);
  const stream = await host.libp2p.dialProtocol(at, PROTOCOL, { signal });
  const frames = new MessageStream(stream, FRAMES);
  await frames.write(request, { signal });
  const answer = await frames.read({ signal });
  await stream.close({ signal });
  return answer;
}

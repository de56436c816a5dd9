/** SRP by programs that are not ours, and complete runs of them against our engine. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import fastSrp from 'fast-srp-hap';
import * as srpClient from 'secure-remote-password/client.js';
import * as srpServer from 'secure-remote-password/server.js';
import { SrpEngine } from '../../../../src/admission/srp/engine.ts';
import { SUITE_RFC5054_2048, SUITE_SRP_2048 } from '../../../../src/admission/srp/group.ts';
import { dhModExp, keyModExp } from '../../../../src/admission/srp/modexp.ts';

const { SRP, SrpClient, SrpServer } = fastSrp;

export interface Login {
  readonly identity: string;
  readonly salt: Uint8Array;
  readonly password: string;
}

export interface Outcome {
  readonly key: Uint8Array;
  readonly M1: Uint8Array;
}

/** One implementation of one side; every value has its full length. */
export interface OracleClient {
  readonly A: Uint8Array;
  /** @returns K and M1 */
  session(B: Uint8Array): Outcome;
  /** @throws when M2 is wrong */
  verify(M2: Uint8Array): void;
}

export interface OracleServer {
  readonly B: Uint8Array;
  /** @throws when M1 is wrong. @returns K and M2 */
  session(A: Uint8Array, M1: Uint8Array): { key: Uint8Array; M2: Uint8Array };
}

export interface Oracle {
  readonly name: string;
  readonly engine: SrpEngine;
  client(login: Login): OracleClient;
  verifier(login: Login): Uint8Array;
  server(login: Login, verifier: Uint8Array): OracleServer;
}

const hex = (raw: Uint8Array): string => Buffer.from(raw).toString('hex');
const raw = (text: string): Uint8Array => Buffer.from(text, 'hex');

export const secureRemotePassword: Oracle = {
  name: 'secure-remote-password',
  engine: new SrpEngine(SUITE_SRP_2048, dhModExp(SUITE_SRP_2048.group)),
  client({ identity, salt, password }) {
    const own = srpClient.generateEphemeral();
    const x = srpClient.derivePrivateKey(hex(salt), identity, password);
    let session: srpClient.Session;
    return {
      A: raw(own.public),
      session(B) {
        session = srpClient.deriveSession(own.secret, hex(B), hex(salt), identity, x);
        return { key: raw(session.key), M1: raw(session.proof) };
      },
      verify: (M2) => srpClient.verifySession(own.public, session, hex(M2)),
    };
  },
  verifier: ({ identity, salt, password }) =>
    raw(srpClient.deriveVerifier(srpClient.derivePrivateKey(hex(salt), identity, password))),
  server({ identity, salt }, verifier) {
    const v = hex(verifier);
    const own = srpServer.generateEphemeral(v);
    return {
      B: raw(own.public),
      session(A, M1) {
        const session = srpServer.deriveSession(
          own.secret,
          hex(A),
          hex(salt),
          identity,
          v,
          hex(M1),
        );
        return { key: raw(session.key), M2: raw(session.proof) };
      },
    };
  },
};

/** fast-srp-hap's 2048-bit group is the RFC's; its hash is set to the one we use. */
const PARAMS = { ...SRP.params[2048], hash: 'sha256' };
const text = (value: string): Buffer => Buffer.from(value);

export const fastSrpHap: Oracle = {
  name: 'fast-srp-hap',
  engine: new SrpEngine(SUITE_RFC5054_2048, keyModExp(SUITE_RFC5054_2048.group)),
  client({ identity, salt, password }) {
    const secret = randomBytes(32);
    secret[0] = (secret[0] ?? 0) | 0x80;
    const own = new SrpClient(PARAMS, Buffer.from(salt), text(identity), text(password), secret);
    return {
      A: own.computeA(),
      session(B) {
        own.setB(Buffer.from(B));
        return { key: own.computeK(), M1: own.computeM1() };
      },
      verify: (M2) => own.checkM2(Buffer.from(M2)),
    };
  },
  verifier: ({ identity, salt, password }) =>
    SRP.computeVerifier(PARAMS, Buffer.from(salt), text(identity), text(password)),
  server({ identity, salt }, verifier) {
    const login = {
      username: text(identity),
      salt: Buffer.from(salt),
      verifier: Buffer.from(verifier),
    };
    const own = new SrpServer(PARAMS, login, randomBytes(32));
    return {
      B: own.computeB(),
      session(A, M1) {
        own.setA(Buffer.from(A));
        own.checkM1(Buffer.from(M1));
        return { key: own.computeK(), M2: own.computeM2() };
      },
    };
  },
};

export function randomLogin(): Login {
  return {
    identity: randomBytes(6).toString('hex'),
    salt: randomBytes(32),
    password: randomBytes(12).toString('base64'),
  };
}

/** The other program is the client, ours the server: keys and both proofs must agree. */
export function oracleIsClient({ engine, client, verifier }: Oracle, login: Login): void {
  const v = engine.verifier(engine.x(login, Buffer.from(login.password)));
  assert.deepEqual(Buffer.from(v), Buffer.from(verifier(login)));
  const remote = client(login);
  const b = randomBytes(32);
  const B = engine.serverPublic(v, b);
  const theirs = remote.session(B);
  const ours = engine.serverSession(login, { verifier: v, b, B }, remote.A, theirs.M1);
  assert.ok(ours, 'their M1 is accepted');
  assert.deepEqual(Buffer.from(ours.key), Buffer.from(theirs.key));
  remote.verify(ours.M2);
}

/** The other program is the server, ours the client. */
export function oracleIsServer({ engine, verifier, server }: Oracle, login: Login): void {
  const remote = server(login, verifier(login));
  const a = randomBytes(32);
  const A = engine.clientPublic(a);
  const x = engine.x(login, Buffer.from(login.password));
  const ours = engine.clientSession(login, { a, A, x }, remote.B);
  const theirs = remote.session(A, ours.M1);
  assert.deepEqual(Buffer.from(ours.key), Buffer.from(theirs.key));
  assert.deepEqual(Buffer.from(ours.M2), Buffer.from(theirs.M2));
}

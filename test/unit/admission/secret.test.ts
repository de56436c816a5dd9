import assert from 'node:assert/strict';
import fc from 'fast-check';
import { ClientSession } from '../../../src/admission/client-session.ts';
import { SecretTypoError } from '../../../src/admission/errors.ts';
import {
  DEFAULT_SCRYPT,
  isBearable,
  type ScryptParameters,
  stretch,
} from '../../../src/admission/kdf.ts';
import { loginOf } from '../../../src/admission/login.ts';
import type { Proof } from '../../../src/admission/messages.ts';
import { makeServiceSecret, parseServiceSecret } from '../../../src/admission/secret.ts';
import { makeIdentity } from './world.ts';

const text = (secret: string): string => Buffer.from(parseServiceSecret(secret).bytes).toString();

describe('service secrets', () => {
  it('P4 have 160 random bits when a machine made them', () => {
    const secrets = Array.from({ length: 1000 }, makeServiceSecret);
    assert.equal(new Set(secrets).size, 1000);
    for (const secret of secrets) assert.match(secret, /^icvpn-secret-[a-z2-7]{38}$/);
    // 32 characters of 5 bits; each of the 32 digits stands in each place now and then.
    for (let at = 13; at < 45; at++) {
      assert.ok(new Set(secrets.map((secret) => secret[at])).size >= 28);
    }
  });

  it('are the same in upper case, in groups and between blanks', () => {
    const secret = makeServiceSecret();
    const grouped = secret.slice(13).replace(/(.{5})/g, '$1-');
    for (const other of [secret.toUpperCase(), ` ${secret}\n`, `icvpn secret ${grouped}`]) {
      assert.equal(text(other), secret);
      assert.equal(parseServiceSecret(other).kind, 'machine');
    }
    assert.equal(text(secret), secret);
  });

  it('are told from typos: one character changed, missing, doubled or swapped', () => {
    const secret = makeServiceSecret();
    fc.assert(
      fc.property(
        fc.nat(37),
        fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567'),
        (at, other) => {
          const i = at + 13;
          const [before, own, after] = [secret.slice(0, i), secret[i] ?? '', secret.slice(i + 1)];
          const typos = [before + after, before + own + own + after];
          if (own !== other) typos.push(before + other + after);
          if (after !== '' && after[0] !== own)
            typos.push(before + after[0] + own + after.slice(1));
          for (const typo of typos) assert.throws(() => parseServiceSecret(typo), SecretTypoError);
        },
      ),
      { numRuns: 200 },
    );
  });

  it('are told from typos in the prefix, and from nothing at all', () => {
    const secret = makeServiceSecret();
    for (const bad of ['', '  ', 'icvpn', `icvpn-secert-${secret.slice(13)}`, 'x'.repeat(1025)]) {
      assert.throws(() => parseServiceSecret(bad), SecretTypoError);
    }
  });

  it("may be a human's: any other text, in one spelling of Unicode", () => {
    assert.equal(parseServiceSecret('correct horse').kind, 'human');
    assert.equal(text('caf\u0065\u0301'), text('caf\u00e9'));
  });

  it('P4 are stretched with scrypt when a person chose them', async () => {
    const salt = new Uint8Array(32).fill(7);
    const human = parseServiceSecret('correct horse');
    const parameters = { cost: 15, r: 8, p: 1 };
    const first = await stretch(human, salt, parameters);
    assert.match(Buffer.from(first).toString(), /^[0-9a-f]{64}$/);
    const other = await stretch(human, salt, { ...parameters, p: 2 });
    assert.notDeepEqual(first, other);
    assert.deepEqual(await stretch(human, salt, undefined), Uint8Array.from(human.bytes));
  });

  it('P5 cost a VM no more than the owner’s own choice would, by some margin', () => {
    assert.ok(isBearable(DEFAULT_SCRYPT));
    assert.ok(isBearable({ cost: 16, r: 8, p: 2 }));
    for (const dear of [
      { cost: 18, r: 16, p: 4 },
      { cost: 17, r: 8, p: 1 },
      { cost: 15, r: 8, p: 5 },
      { cost: 15, r: 17, p: 1 },
    ]) {
      assert.ok(!isBearable(dear), JSON.stringify(dear));
    }
  });

  it('P5 that icvpn made are stretched for no super-peer, and nobody’s beyond bounds', async () => {
    const vm = await makeIdentity();
    const [superPeer, owner] = [await makeIdentity(), await makeIdentity()];
    const challenged = async (secret: string, kdf?: ScryptParameters): Promise<Proof> => {
      const at = { superPeer: superPeer.id, serviceId: owner.id };
      const session = new ClientSession({
        ...{ ...at, self: vm.id, vmid: 'i-1', login: await loginOf(secret, at) },
        ...{ random: (length) => new Uint8Array(length).fill(3), clock: Date.now },
        request: { vmid: 'i-1', roles: [], multiaddrs: [], subnets: [] },
      });
      const B = new Uint8Array(256).fill(1);
      const [nonce, salt] = [new Uint8Array(32), new Uint8Array(32)];
      return session.challenge({ nonce, salt, kdf, B, time: Math.floor(Date.now() / 1000) });
    };
    const dear = { cost: 18, r: 16, p: 4 };
    const secret = makeServiceSecret();
    assert.deepEqual((await challenged(secret, dear)).M1, (await challenged(secret)).M1);
    await assert.rejects(challenged('correct horse', dear), /stretched too much/);
  });
});

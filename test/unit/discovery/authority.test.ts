import assert from 'node:assert/strict';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import {
  decodeAttributeKey,
  decrypt,
  encodeMasterKey,
  encodePublicKey,
  encrypt,
  initAbe,
  type PublicKey,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import { epochPolicy, type MemberFacts } from '../../../src/keymgmt/discovery/attributes.ts';
import {
  Authority,
  type AuthorityKeys,
  MAX_WAITING_JOBS,
} from '../../../src/keymgmt/discovery/authority.ts';
import { AuthorityError } from '../../../src/keymgmt/discovery/errors.ts';

const message = new TextEncoder().encode('a data key of thirty-two bytes..');
const coded = (code: string) => (error: unknown) =>
  error instanceof AuthorityError && error.code === code;

describe('the authority in its thread', () => {
  let publicKey: PublicKey;
  let keys: AuthorityKeys;
  let facts: MemberFacts;
  let authority: Authority;

  before(async () => {
    await initAbe();
    const made = setup();
    publicKey = made.publicKey;
    keys = { publicKey: encodePublicKey(publicKey), masterKey: encodeMasterKey(made.masterKey) };
    const [serviceId, peerId] = (
      await Promise.all([generateKeyPair('Ed25519'), generateKeyPair('Ed25519')])
    ).map((key) => peerIdFromPrivateKey(key));
    assert.ok(serviceId && peerId);
    facts = { serviceId, peerId, vmid: 'vm-1', epoch: 3 };
  });
  beforeEach(async () => {
    authority = await Authority.start(keys);
  });
  afterEach(() => authority.close());

  it('issues keys that open, and encrypts what they open', async () => {
    const key = decodeAttributeKey(await authority.issue(facts));
    const policy = epochPolicy(facts.serviceId, 3);
    assert.deepEqual(decrypt(key, encrypt(publicKey, policy, message)), message);
    assert.deepEqual(decrypt(key, await authority.encrypt(policy, message)), message);
  });

  it('is started again, with twice the time, when it was late', async () => {
    let times = 0;
    const signal = AbortSignal.timeout(50_000);
    const own = await Authority.startPatiently(keys, { signal, late: () => times++, limitMs: 1 });
    assert.ok(times > 0);
    const key = decodeAttributeKey(await own.issue(facts));
    await own.close();
    const policy = epochPolicy(facts.serviceId, 3);
    assert.deepEqual(decrypt(key, encrypt(publicKey, policy, message)), message);
  });

  it('is not started again with keys that are none, or when nobody wants it any more', async () => {
    const none = { publicKey: keys.publicKey, masterKey: new Uint8Array(5) };
    const late = (): void => assert.fail('not a matter of time');
    const { signal } = new AbortController();
    await assert.rejects(
      Authority.startPatiently(none, { signal, late }),
      coded('ERR_AUTHORITY_STOPPED'),
    );
    const unwanted = Authority.startPatiently(keys, { signal: AbortSignal.abort(), late });
    await assert.rejects(unwanted, { name: 'AbortError' });
  });

  it('leaves the keys that it was given as they were', async () => {
    // Buffers from the pool, which must not be moved away either.
    const pooled = {
      publicKey: Buffer.from(keys.publicKey),
      masterKey: Buffer.from(keys.masterKey),
    };
    const again = await Authority.start(pooled);
    await again.close();
    assert.deepEqual(Uint8Array.from(pooled.masterKey), keys.masterKey);
    assert.deepEqual(Uint8Array.from(pooled.publicKey), keys.publicKey);
  });

  it('keeps the event loop free while it works', async () => {
    let turns = 0;
    let working = true;
    const turn = (): void => {
      turns += 1;
      if (working) setImmediate(turn);
    };
    setImmediate(turn);
    await Promise.all(Array.from({ length: 5 }, () => authority.issue(facts)));
    working = false;
    // On the event loop five keys would leave room for a handful of turns.
    assert.ok(turns > 100, `${turns} turns`);
  });

  it('says what is wrong with a job, and works on', async () => {
    await assert.rejects(authority.encrypt('a: ', message), (error) => {
      return coded('ERR_AUTHORITY')(error) && /position 3/.test(String(error));
    });
    await assert.rejects(authority.issue({ ...facts, vmid: '' }), RangeError);
    assert.ok((await authority.issue(facts)).length > 0);
  });

  it('an aborted job does not hold up the others', async () => {
    const controller = new AbortController();
    const first = authority.issue(facts);
    const second = authority.issue(facts, { signal: controller.signal });
    const third = authority.issue(facts);
    controller.abort(new Error('no longer wanted'));
    await assert.rejects(second, /no longer wanted/);
    assert.ok((await first).length > 0);
    assert.ok((await third).length > 0);
    await assert.rejects(authority.issue(facts, { signal: controller.signal }), /no longer/);
  });

  it('refuses more jobs than may wait', async () => {
    const jobs = Array.from({ length: MAX_WAITING_JOBS + 2 }, () => authority.issue(facts));
    const results = Promise.allSettled(jobs);
    // One is being worked at, the rest wait, the last one is too many.
    await assert.rejects(
      jobs[MAX_WAITING_JOBS + 1] ?? Promise.resolve(),
      coded('ERR_AUTHORITY_BUSY'),
    );
    await authority.close();
    const rejected = (await results).filter(({ status }) => status === 'rejected');
    assert.ok(rejected.length > MAX_WAITING_JOBS / 2);
  });

  it('closing fails what waits; afterwards it does nothing', async () => {
    const waiting = [authority.issue(facts), authority.issue(facts)];
    const results = Promise.allSettled(waiting);
    await authority.close();
    for (const result of await results) {
      assert.ok(result.status === 'rejected' && coded('ERR_AUTHORITY_STOPPED')(result.reason));
    }
    await assert.rejects(authority.issue(facts), coded('ERR_AUTHORITY_STOPPED'));
    await authority.close();
  });

  it('does not start with bytes that are no keys, or when aborted', async () => {
    const damaged = keys.masterKey.slice(1);
    await assert.rejects(
      Authority.start({ ...keys, masterKey: damaged }),
      coded('ERR_AUTHORITY_STOPPED'),
    );
    const signal = AbortSignal.abort(new Error('enough'));
    await assert.rejects(Authority.start(keys, { signal }), /enough/);
  });
});

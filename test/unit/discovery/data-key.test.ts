import assert from 'node:assert/strict';
import {
  AbeUnsatisfiedError,
  decrypt,
  encrypt,
  generateKey,
  initAbe,
  setup,
} from '../../../src/keymgmt/abe/index.ts';
import { DataKeyReader, DataKeys } from '../../../src/keymgmt/discovery/data-key.ts';
import { MemberListError } from '../../../src/keymgmt/discovery/errors.ts';

describe('data keys of member lists', () => {
  before(initAbe);

  /** A wrapping that can be held up, and that shows what it was asked. */
  function wrapper(): { asked: string[]; wrap: (policy: string) => Uint8Array } {
    const asked: string[] = [];
    const wrap = (policy: string): Uint8Array => {
      asked.push(policy);
      return new TextEncoder().encode(policy);
    };
    return { asked, wrap };
  }

  it('one policy, one key, also for those who ask at the same time', async () => {
    const { asked, wrap } = wrapper();
    const keys = new DataKeys(wrap);
    const [a, b] = await Promise.all([keys.get('a: 1'), keys.get('a: 1')]);
    assert.deepEqual(a, b);
    assert.deepEqual(await keys.get('a: 1'), a);
    const other = await keys.get('a: 2');
    assert.notDeepEqual(other.key, a.key);
    assert.deepEqual(asked, ['a: 1', 'a: 2']);
  });

  it('what it gives out is a copy', async () => {
    const keys = new DataKeys(wrapper().wrap);
    const first = await keys.get('a: 1');
    const kept = first.key.slice();
    first.key.fill(0);
    assert.deepEqual((await keys.get('a: 1')).key, kept);
  });

  it('keeps no more than it may; the least recently used one goes', async () => {
    const { asked, wrap } = wrapper();
    const keys = new DataKeys(wrap, 2);
    for (const policy of ['a: 1', 'a: 2', 'a: 1', 'a: 3', 'a: 1', 'a: 2']) await keys.get(policy);
    assert.deepEqual(asked, ['a: 1', 'a: 2', 'a: 3', 'a: 2']);
  });

  it('forgetting a key that is being made leaves those who wait with it', async () => {
    const { promise, resolve } = Promise.withResolvers<Uint8Array>();
    const keys = new DataKeys(() => promise);
    const waiting = keys.get('a: 1');
    keys.clear();
    resolve(Uint8Array.of(1));
    assert.ok((await waiting).key.some((byte) => byte !== 0));
  });

  it('a failure is not kept', async () => {
    let fail = true;
    const keys = new DataKeys(() => {
      if (fail) throw new Error('busy');
      return Uint8Array.of(1);
    });
    await assert.rejects(keys.get('a: 1'), /busy/);
    fail = false;
    assert.deepEqual((await keys.get('a: 1')).wrapped, Uint8Array.of(1));
  });

  it('the reader unwraps once, remembers a few, and only what its key opens', async () => {
    const { publicKey, masterKey } = setup();
    const attributeKey = generateKey(masterKey, { a: '1' });
    const reader = new DataKeyReader((wrapped) => decrypt(attributeKey, wrapped));
    const keys = Array.from({ length: 6 }, (_, i) => new Uint8Array(32).fill(i + 1));
    const wrapped = keys.map((key) => encrypt(publicKey, 'a: 1', key));
    const unwrap = (i: number): Promise<Uint8Array> => reader.unwrap(wrapped[i] ?? assert.fail());
    for (const [i, key] of keys.entries()) {
      const got = await unwrap(i);
      assert.deepEqual(got, key);
      got.fill(0);
    }
    for (const [i, key] of keys.entries()) assert.deepEqual(await unwrap(i), key);
    await assert.rejects(
      reader.unwrap(encrypt(publicKey, 'a: 2', keys[0] ?? assert.fail())),
      AbeUnsatisfiedError,
    );
    const short = encrypt(publicKey, 'a: 1', new Uint8Array(31));
    await assert.rejects(reader.unwrap(short), MemberListError);
    reader.clear();
    assert.deepEqual(await unwrap(0), keys[0]);
  });
});

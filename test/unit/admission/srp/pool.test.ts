import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { SrpEngine } from '../../../../src/admission/srp/engine.ts';
import { GROUP_2048, SUITE_SRP_2048 } from '../../../../src/admission/srp/group.ts';
import { keyModExp } from '../../../../src/admission/srp/modexp.ts';
import { SrpPool, SrpPoolError } from '../../../../src/admission/srp/pool.ts';

describe('SRP worker pool', () => {
  const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(GROUP_2048));
  const login = { identity: 'member', salt: randomBytes(32) };
  const x = engine.x(login, Buffer.from('secret'));
  const verifier = engine.verifier(x);
  const suite = SUITE_SRP_2048.id;
  let pool: SrpPool;

  beforeEach(() => {
    pool = new SrpPool(2);
  });
  afterEach(() => pool.close());

  async function session(password: string) {
    const [a, b] = [randomBytes(32), randomBytes(32)];
    const A = engine.clientPublic(a);
    const B = await pool.start({ suite, verifier, b });
    const own = { a, A, x: engine.x(login, Buffer.from(password)) };
    const client = engine.clientSession(login, own, B);
    const job = { suite, login, verifier, b, B, A, M1: client.M1 };
    return { client, server: await pool.finish(job) };
  }

  it('P4 gives what the engine gives, for many at once', async () => {
    const runs = await Promise.all(Array.from({ length: 20 }, () => session('secret')));
    for (const { client, server } of runs) {
      assert.deepEqual(Buffer.from(server?.key ?? []), Buffer.from(client.key));
      assert.deepEqual(Buffer.from(server?.M2 ?? []), Buffer.from(client.M2));
    }
    assert.equal(pool.pending, 0);
  });

  it('P2 gives nothing for a wrong proof or a forbidden A', async () => {
    assert.equal((await session('wrong')).server, undefined);
    const b = randomBytes(32);
    const B = await pool.start({ suite, verifier, b });
    const [A, M1] = [new Uint8Array(256), new Uint8Array(32)];
    assert.equal(await pool.finish({ suite, login, verifier, b, B, A, M1 }), undefined);
  });

  it('fails jobs that it cannot do, and goes on with others', async () => {
    const b = randomBytes(32);
    await assert.rejects(pool.start({ suite: 99, verifier, b }), SrpPoolError);
    await assert.rejects(pool.start({ suite, verifier, b: new Uint8Array(5) }), SrpPoolError);
    assert.equal((await pool.start({ suite, verifier, b })).length, 256);
  });

  it('fails what waits when it is closed, and what comes after', async () => {
    const job = { suite, verifier, b: randomBytes(32) };
    const waiting = assert.rejects(pool.start(job), SrpPoolError);
    await pool.close();
    await waiting;
    await assert.rejects(pool.start(job), SrpPoolError);
    assert.equal(pool.pending, 0);
  });
});

import assert from 'node:assert/strict';
import { NetlinkError, RefusedError } from '../../../src/ipsec/netlink/errors.ts';
import { NLM_F_DUMP_INTR, NLMSG_DONE, NLMSG_ERROR } from '../../../src/ipsec/netlink/framing.ts';
import { InFlight } from '../../../src/ipsec/netlink/inflight.ts';

const refuse = (refusal: ConstructorParameters<typeof RefusedError>[1]) =>
  new RefusedError('ERR_TEST', refusal, 'nothing');
const nothing = () => {};
const message = (seq: number, type: number, value: number, flags = 0) => ({
  seq,
  type,
  flags,
  port: 0,
  body: new Uint8Array(new Int32Array([value]).buffer),
});
const first = ({ body }: { body: Uint8Array }) => body[0];

describe('requests in flight', () => {
  it('gather what is theirs until the acknowledgement', async () => {
    const inFlight = new InFlight(refuse);
    const one = inFlight.expect(1, 'one', first, {}, nothing);
    const two = inFlight.expect(2, 'two', first, {}, nothing);
    inFlight.receive(message(2, 16, 22));
    inFlight.receive(message(1, 16, 11));
    inFlight.receive(message(3, 16, 33));
    inFlight.receive(message(1, 16, 12));
    inFlight.receive(message(1, NLMSG_ERROR, 0));
    inFlight.receive(message(2, NLMSG_DONE, 0));
    assert.deepEqual(await one, { items: [11, 12], interrupted: false });
    assert.deepEqual(await two, { items: [22], interrupted: false });
  });

  it('are refused with the name of the error', async () => {
    const inFlight = new InFlight(refuse);
    const asked = inFlight.expect(1, 'add state', first, {}, nothing);
    inFlight.receive(message(1, NLMSG_ERROR, -17));
    await assert.rejects(asked, { code: 'ERR_TEST', errno: 17, errnoName: 'EEXIST' });
  });

  it('tell of an interrupted dump', async () => {
    const inFlight = new InFlight(refuse);
    const asked = inFlight.expect(1, 'dump', first, {}, nothing);
    inFlight.receive(message(1, 16, 1, NLM_F_DUMP_INTR));
    inFlight.receive(message(1, NLMSG_DONE, 0));
    assert.equal((await asked).interrupted, true);
  });

  it('end with the signal and with the time limit, and stay until the kernel has ended them', async () => {
    const inFlight = new InFlight(refuse);
    const ended: number[] = [];
    const abort = new AbortController();
    const aborted = inFlight.expect(1, 'a', first, { signal: abort.signal }, () => ended.push(1));
    const late = inFlight.expect(2, 'b', first, { timeoutMs: 1 }, () => ended.push(2));
    abort.abort(new Error('enough'));
    await assert.rejects(aborted, /enough/);
    await assert.rejects(late, { code: 'ERR_NETLINK_TIMEOUT' });
    assert.deepEqual(ended, []);
    inFlight.receive(message(1, 16, 5));
    inFlight.receive(message(1, NLMSG_DONE, 0));
    inFlight.receive(message(2, NLMSG_DONE, 0));
    assert.deepEqual(ended, [1, 2]);
  });

  it('fail where a message cannot be read', async () => {
    const inFlight = new InFlight(refuse);
    const bad = () => {
      throw new NetlinkError('ERR_X', 'x', 'y');
    };
    const asked = inFlight.expect(1, 'a', bad, {}, nothing);
    inFlight.receive(message(1, 16, 1));
    await assert.rejects(asked, { code: 'ERR_X' });
  });

  it('all fail together when the socket does', async () => {
    const inFlight = new InFlight(refuse);
    const asked = [1, 2, 3].map((seq) => inFlight.expect(seq, 'a', first, {}, nothing));
    inFlight.failAll(new NetlinkError('ERR_NETLINK_BROKEN', 'x', 'y'));
    for (const each of asked) await assert.rejects(each, { code: 'ERR_NETLINK_BROKEN' });
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MalformedError, ValueError } from '../../../src/ipsec/netlink/errors.ts';
import {
  attribute,
  concat,
  decodeAcknowledgement,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  NLM_F_ACK_TLVS,
  NLM_F_CAPPED,
  NLMSG_DONE,
  NLMSG_ERROR,
  nlmsghdr,
} from '../../../src/ipsec/netlink/framing.ts';

const message = fc.record(
  {
    type: fc.integer({ min: 0, max: 0xffff }),
    flags: fc.integer({ min: 0, max: 0xffff }),
    seq: fc.integer({ min: 0, max: 0xffff_ffff }),
    port: fc.integer({ min: 0, max: 0xffff_ffff }),
    body: fc.uint8Array({ maxLength: 64 }),
  },
  { noNullPrototype: true },
);

function int(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}

describe('netlink framing', () => {
  it('messages come back as they went', () => {
    fc.assert(
      fc.property(fc.array(message, { maxLength: 8 }), (messages) => {
        assert.deepEqual(decodeMessages(concat(messages.map(encodeMessage))), messages);
      }),
    );
  });

  it('attributes come back as they went', () => {
    const entry = fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 40 }));
    fc.assert(
      fc.property(fc.uniqueArray(entry, { selector: ([type]) => type }), (entries) => {
        const data = concat(entries.map(([type, payload]) => attribute(type, payload)));
        assert.deepEqual(decodeAttributes(data), new Map(entries));
      }),
    );
  });

  it('wrong lengths are errors, wherever they are', () => {
    const good = encodeMessage({ type: 1, flags: 0, seq: 1, port: 0, body: new Uint8Array(8) });
    for (const length of [0, 15, 25, 0xffff_ffff]) {
      const bad = good.slice();
      bad.set(nlmsghdr.encode({ length, type: 1, flags: 0, seq: 1, port: 0 }));
      assert.throws(() => decodeMessages(bad), MalformedError);
    }
    for (const length of [0, 3, 9]) {
      const bad = attribute(1, new Uint8Array(4));
      new DataView(bad.buffer).setUint16(0, length, true);
      new DataView(bad.buffer).setUint8(0, length);
      assert.throws(() => decodeAttributes(bad), MalformedError);
    }
  });

  it('an attribute that comes twice is an error, as are more than 512', () => {
    const twice = concat([attribute(1, new Uint8Array()), attribute(1, new Uint8Array())]);
    assert.throws(() => decodeAttributes(twice), /comes twice/);
    assert.equal(decodeAttributes(twice, 1).size, 0);
    const many = concat(Array.from({ length: 513 }, (_, n) => attribute(n, new Uint8Array())));
    assert.throws(() => decodeAttributes(many), /too many/);
  });

  it('an attribute over 65,531 bytes cannot be made', () => {
    assert.throws(() => attribute(1, new Uint8Array(0x10000)), ValueError);
  });

  it('reads refusals with the words of the kernel', () => {
    const request = { length: 16, type: 16, flags: 5, seq: 9, port: 1 };
    const text = attribute(1, Buffer.from('no such thing\0'));
    const header = { type: NLMSG_ERROR, seq: 9, port: 1 };
    const capped = {
      ...header,
      flags: NLM_F_CAPPED | NLM_F_ACK_TLVS,
      body: concat([int(-22), nlmsghdr.encode({ ...request, length: 400 }), text]),
    };
    const whole = {
      ...header,
      flags: NLM_F_ACK_TLVS,
      body: concat([
        int(-22),
        nlmsghdr.encode({ ...request, length: 22 }),
        new Uint8Array(8),
        text,
      ]),
    };
    for (const refusal of [capped, whole]) {
      assert.deepEqual(decodeAcknowledgement(refusal), { errno: 22, detail: 'no such thing' });
    }
    const done = {
      ...header,
      type: NLMSG_DONE,
      flags: NLM_F_ACK_TLVS,
      body: concat([int(0), text]),
    };
    assert.deepEqual(decodeAcknowledgement(done), { errno: 0, detail: 'no such thing' });
    assert.throws(() => decodeAcknowledgement({ ...done, body: int(1) }), MalformedError);
  });

  it('shows no control characters of a refusal', () => {
    const text = attribute(1, Buffer.from('a\u001b[31mb\0'));
    const body = concat([int(-1), text]);
    const done = { type: NLMSG_DONE, flags: NLM_F_ACK_TLVS, seq: 1, port: 0, body };
    assert.equal(decodeAcknowledgement(done).detail, 'a?[31mb');
  });
});

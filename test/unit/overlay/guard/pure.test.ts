import assert from 'node:assert/strict';
import fc from 'fast-check';
import { IcvpnError } from '../../../../src/errors.ts';
import { FrameGuard } from '../../../../src/overlay/guard/frames.ts';
import { HandshakeGuard } from '../../../../src/overlay/guard/handshake.ts';
import { StrangerMemory } from '../../../../src/overlay/guard/stranger-memory.ts';
import { encodeLength } from '../../../../src/wire/message-parser.ts';
import { frame } from '../attacker.ts';

const line = (words: string): Buffer =>
  Buffer.from([words.length + 1, ...Buffer.from(`${words}\n`)]);
const SYN = 1;

/** The same bytes in pieces that end at `cuts`. */
function cut(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((each) => each % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
}

function frames(open: () => number[] = () => []): FrameGuard {
  const serves = (protocol: string): boolean => protocol.startsWith('/served/');
  const served = { serves, open, onPing: () => {}, onStream: () => {} };
  return new FrameGuard({ dialled: false, ...served });
}

/** @returns whether all pieces pass; anything but a typed error is thrown */
function passes(push: (piece: Uint8Array) => void, pieces: readonly Uint8Array[]): boolean {
  try {
    for (const piece of pieces) push(piece);
    return true;
  } catch (error) {
    assert.ok(error instanceof IcvpnError, String(error));
    return false;
  }
}

const cuts = fc.array(fc.nat());
/** Streams of messages, as a node sends them, in frames of any size. */
const messages = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 4 });
const streams = fc.array(
  fc.record({ messages, sizes: fc.array(fc.integer({ min: 1, max: 99 })) }),
  {
    maxLength: 5,
  },
);

describe('the guard of a connection', () => {
  it('P24 lets handshakes pass, in whatever pieces', () => {
    const length = fc.integer({ min: 1, max: 4_096 });
    const proposals = fc.array(fc.constantFrom('/tls/1.0.0', 'na'), { maxLength: 5 });
    const early = fc.uint8Array({ maxLength: 1_000 });
    fc.assert(
      fc.property(proposals, length, length, early, cuts, (before, a, b, rest, at) => {
        const noise = [a, b].flatMap((size) => [
          Uint8Array.of(size >> 8, size),
          Buffer.alloc(size),
        ]);
        const header = line('/multistream/1.0.0');
        const bytes = Buffer.concat([header, ...before.map(line), line('/noise'), ...noise, rest]);
        const guard = new HandshakeGuard(false);
        assert.ok(passes((piece) => guard.push(piece), cut(bytes, at)));
      }),
    );
  });

  it('P5 lets no more than 64 KiB pass before a connection is ready, whatever they are', () => {
    const guard = new HandshakeGuard(true);
    guard.push(Buffer.concat([line('/multistream/1.0.0'), line('/noise'), Buffer.from([0, 1, 7])]));
    guard.push(new Uint8Array(64 * 1024));
    assert.throws(() => guard.push(new Uint8Array(1)), { code: 'ERR_CONNECTION_GUARD' });
  });

  it('P24 lets streams of messages pass, and says what they hold, in whatever pieces', () => {
    fc.assert(
      fc.property(streams, cuts, (all, at) => {
        let payload = 0;
        const bytes = all.flatMap(({ messages: sent, sizes }, n) => {
          const id = 2 * n + 1;
          const body = Buffer.concat([
            ...['/multistream/1.0.0', '/other/1', '/served/1'].map(line),
            ...sent.flatMap((each) => [encodeLength(each.length), each]),
          ]);
          payload += body.length;
          const pieces = cut(body, sizes);
          return [
            frame(1, SYN, id, 0),
            ...pieces.flatMap((piece) => [frame(0, 0, id, piece.length), piece]),
          ];
        });
        const guard = frames();
        assert.ok(passes((piece) => guard.push([piece]), cut(Buffer.concat(bytes), at)));
        assert.ok(guard.held >= payload, 'at least what came');
        guard.push([]);
        guard.release();
        assert.equal(guard.held, 0, 'all streams have closed');
      }),
    );
  });

  it('P5 finds a length without end wherever it begins', () => {
    const proposals = fc.array(fc.constantFrom('/other/1', 'na'), { maxLength: 5 });
    fc.assert(
      fc.property(proposals, fc.boolean(), messages, cuts, (before, chosen, sent, at) => {
        const lines = ['/multistream/1.0.0', ...before, ...(chosen ? ['/served/1'] : [])].map(line);
        const whole = chosen ? sent.flatMap((each) => [encodeLength(each.length), each]) : [];
        const endless = new Uint8Array(5).fill(0x80);
        const body = Buffer.concat([...lines, ...whole, endless]);
        const bytes = Buffer.concat([frame(0, SYN, 1, body.length), body]);
        const guard = frames();
        assert.ok(!passes((piece) => guard.push([piece]), cut(bytes, at)));
      }),
    );
  });

  it('P5 lets nobody announce a frame above the window, whoever it is', () => {
    frames().push([frame(0, SYN, 1, 256 * 1024)]);
    assert.throws(() => frames().push([frame(0, SYN, 1, 256 * 1024 + 1)]), {
      code: 'ERR_CONNECTION_GUARD',
    });
  });

  it('keeps count of open streams only, and sees streams of its own end', () => {
    const guard = frames(() => [3]);
    for (const id of [1, 3]) guard.push([frame(0, SYN, id, 1), Uint8Array.of(5)]);
    guard.push([]);
    guard.release();
    const one = guard.held;
    assert.ok(one > 1_000);
    // What still comes of a stream that closed is nothing new.
    guard.push([frame(0, 0, 1, 3), Uint8Array.of(0x80, 0x80, 0x80)]);
    assert.equal(guard.held, one);
    guard.push([frame(1, 2, 2, 0)]);
    const answer = Buffer.concat([line('/multistream/1.0.0'), line('/any/1'), Buffer.from([1, 7])]);
    guard.push([frame(0, 0, 2, answer.length), answer]);
    const bad = new Uint8Array(5).fill(0x80);
    assert.throws(() => guard.push([frame(0, 0, 2, 5), bad]), { code: 'ERR_MESSAGE_LENGTH' });
  });

  it('P24 survives whatever comes, with a typed error, and judges the same in whatever pieces', () => {
    const header = fc
      .tuple(fc.nat(4), fc.nat(16), fc.nat(8), fc.nat(2_000))
      .map(([type, flags, id, length]) => frame(type, flags, id, length));
    const bytes = fc
      .array(fc.oneof(header, fc.uint8Array(), fc.constantFrom('/served/1', 'na').map(line)))
      .map((all) => Buffer.concat(all));
    fc.assert(
      fc.property(bytes, cuts, (all, at) => {
        for (const make of [
          () => {
            const guard = frames();
            return (piece: Uint8Array) => guard.push([piece]);
          },
          () => {
            const guard = new HandshakeGuard(false);
            return (piece: Uint8Array) => guard.push(piece);
          },
        ]) {
          assert.equal(passes(make(), [all]), passes(make(), cut(all, at)));
        }
      }),
      { numRuns: 1_000 },
    );
  });
});

describe('the memory of strangers', () => {
  it('P5 is bounded in all; who holds most goes, and nobody who holds little', () => {
    const change = fc.record({ who: fc.nat(19), bytes: fc.integer({ min: 100, max: 300 }) });
    fc.assert(
      fc.property(fc.array(change, { minLength: 50 }), (changes) => {
        const memory = new StrangerMemory(1_000);
        const held = new Map<number, number>();
        const ended: number[] = [];
        const connections = Array.from({ length: 20 }, (_, who) => ({
          end: () => void ended.push(who),
        }));
        for (const { who, bytes } of changes) {
          const connection = connections[who];
          assert.ok(connection);
          held.set(who, bytes);
          memory.set(connection, bytes);
          for (const gone of ended.splice(0)) {
            const most = held.get(gone) ?? 0;
            held.delete(gone);
            assert.ok([...held.values()].every((each) => each <= most));
          }
          const total = [...held.values()].reduce((sum, each) => sum + each, 0);
          assert.equal(memory.total, total);
          assert.ok(total <= 1_000);
        }
      }),
    );
  });
});

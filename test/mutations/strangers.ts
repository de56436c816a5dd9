/** What those may use who have proved nothing: framing, the guard of connections, shares. */
import type { Mutation } from './mutation.ts';

const PARSER_TESTS = ['test/unit/wire/message-parser.test.ts'];
const STREAM_TESTS = ['test/unit/wire/message-stream.test.ts'];
const GUARD_TESTS = ['test/unit/overlay/guard.test.ts'];
const PURE_GUARD_TESTS = ['test/unit/overlay/guard/pure.test.ts'];
const PLACES_TESTS = ['test/unit/shares/places.test.ts'];

export const STRANGER_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P5',
    title: 'a length may go on without end',
    file: 'src/wire/message-parser.ts',
    find: 'if (this.#length < this.#longest) return undefined;',
    replace: 'if (this.#length < Number.MAX_SAFE_INTEGER) return undefined;',
    tests: PARSER_TESTS,
  },
  {
    promise: 'P5',
    title: 'memory is taken for what is claimed of a message',
    file: 'src/wire/message-parser.ts',
    find: 'Math.min(length, capacity)',
    replace: 'Math.max(length, capacity * 0)',
    tests: PARSER_TESTS,
  },
  {
    promise: 'P24',
    title: 'a padded length is taken',
    file: 'src/wire/message-parser.ts',
    find: 'if (byte === 0 && this.#length > 1) throw',
    replace: 'if (byte === 0 && this.#length > 4) throw',
    tests: PARSER_TESTS,
  },
  {
    promise: 'P5',
    title: 'messages wait unread without bound',
    file: 'src/wire/message-stream.ts',
    find: 'if (this.#buffered + this.#parser.held > this.#maxBuffered) {',
    replace: 'if (this.#parser.held > this.#maxBuffered) {',
    tests: STREAM_TESTS,
  },
  {
    promise: 'P5',
    title: 'the bare port is open to any bytes',
    file: 'src/overlay/host.ts',
    find: 'guards.transport(',
    replace: '((same) => same)(',
    tests: GUARD_TESTS,
    grep: 'three bytes',
  },
  {
    promise: 'P5',
    title: 'a multiplexer may be agreed upon after the handshake',
    file: 'src/overlay/guard/guards.ts',
    find: "if (streamMuxer === undefined) throw new GuardError('does not agree upon a multiplexer');",
    replace: 'if (streamMuxer === undefined) return secured;',
    tests: GUARD_TESTS,
    grep: 'afterwards',
  },
  {
    promise: 'P5',
    title: 'a frame may announce any length',
    file: 'src/overlay/guard/frames.ts',
    find: 'if (length > WINDOW) throw',
    replace: 'if (length > 2 ** 32) throw',
    tests: PURE_GUARD_TESTS,
  },
  {
    promise: 'P5',
    title: 'lengths in streams are not looked at',
    file: 'src/overlay/guard/frames.ts',
    find: "if (chosen === PING) stream.mode = 'bytes';",
    replace: "if (chosen !== undefined) stream.mode = 'bytes';",
    tests: PURE_GUARD_TESTS,
  },
  {
    promise: 'P5',
    title: 'a stranger’s streams hold what it likes',
    file: 'src/overlay/guard/connection-guard.ts',
    find: 'if (guard.held > STRANGER_BYTES)\n',
    replace: 'if (guard.held > STRANGER_BYTES * 1024)\n',
    tests: GUARD_TESTS,
    grep: '64 KiB',
  },
  {
    promise: 'P5',
    title: 'strangers together hold what they like',
    file: 'src/overlay/guard/stranger-memory.ts',
    find: 'while (this.#total > this.#max) {',
    replace: 'while (this.#total > this.#max * 1000) {',
    tests: PURE_GUARD_TESTS,
  },
  {
    promise: 'P28',
    title: 'a newcomer’s place is taken from the smallest site',
    file: 'src/shares/places.ts',
    find: 'child.count > found.count;',
    replace: 'child.count < found.count;',
    tests: PLACES_TESTS,
  },
  {
    promise: 'P28',
    title: 'places go to who came first',
    file: 'src/shares/places.ts',
    find: 'if (this.#all.count > capacity) return this.#victim(newcomer, this.#all);',
    replace: 'if (this.#all.count > capacity) return newcomer;',
    tests: PLACES_TESTS,
  },
  {
    promise: 'P28',
    title: 'IPv6 has no coarse sites',
    file: 'src/shares/origin.ts',
    find: 'steps: [block(raw, 4), site, block(raw, 7), host] };',
    replace: 'steps: [host] };',
    tests: PLACES_TESTS,
  },
  {
    promise: 'P28',
    title: 'a quiet site has no admission while all together are too fast',
    file: 'src/admission/limits.ts',
    find: 'this.#entries.of(site, now) < QUIET_ENTRIES',
    replace: 'this.#entries.of(site, now) < 0',
    tests: ['test/unit/admission/limits.test.ts'],
  },
  {
    promise: 'P28',
    title: 'silent publications keep the owner out',
    file: 'src/overlay/publish.ts',
    find: ': this.#strangers.enter(originAt(connection.remoteAddr), evict);',
    replace:
      ': this.#strangers.size < (this.#options.strangers ?? STRANGERS) ? this.#strangers.enter(originAt(connection.remoteAddr), evict) : undefined;',
    tests: ['test/unit/overlay/publish.test.ts'],
    grep: 'P28',
  },
];

/**
 * Two whole peers, every order of events, to the end (20 to 45 events).
 *
 * At every moment, but after a move or a crash: whoever has an outbound SA is heard under it by the
 * other; once both could send, both can, until one of them ends the pair. No key is ever installed
 * twice. In the end: exactly one pair, the same at both, or none at both.
 *
 * ICVPN_EXPLORE=deep adds searches that take minutes.
 */
import assert from 'node:assert/strict';
import { type Budget, explore } from './world.ts';

const NONE: Budget = {
  packets: [0, 0],
  softLimits: [0, 0],
  idle: [0, 0],
  moves: [0, 0],
  crashes: [0, 0],
  breaks: 0,
};

/** What may happen, and how many states that makes at least. */
type Search = [string, Partial<Budget>, number];

const SEARCHES: Search[] = [
  ['first packets at both ends, a broken stream', { packets: [1, 1], breaks: 1 }, 1_800],
  ['a first packet, two broken streams', { packets: [0, 1], breaks: 2 }, 350],
  ['crossing rekeys, twice at each end', { packets: [1, 0], softLimits: [2, 2] }, 1_300],
  ['crossing rekeys, a broken stream', { packets: [1, 0], softLimits: [2, 1], breaks: 1 }, 7_000],
  ['a rekey, two broken streams', { packets: [1, 0], softLimits: [0, 1], breaks: 2 }, 5_000],
  ['idle ends, crossing rekeys', { packets: [1, 1], softLimits: [1, 1], idle: [1, 1] }, 4_500],
  ['a move, crossing rekeys', { packets: [1, 0], softLimits: [1, 1], moves: [1, 0] }, 7_500],
  ['moves at both ends', { packets: [1, 0], moves: [1, 1] }, 200],
  ['a crash, packets of both ends', { packets: [2, 1], crashes: [1, 0] }, 150],
  ['a crash that only silence tells of', { packets: [1, 0], crashes: [0, 1] }, 12],
  ['a crash, crossing rekeys', { packets: [1, 0], softLimits: [1, 1], crashes: [0, 1] }, 600],
];

const DEEP: Search[] = [
  ['first packets at both ends, two broken streams', { packets: [1, 1], breaks: 2 }, 50_000],
  [
    'crossing rekeys, two broken streams',
    { packets: [1, 0], softLimits: [1, 1], breaks: 2 },
    80_000,
  ],
  [
    'a move, a rekey, a broken stream',
    { packets: [1, 1], softLimits: [1, 0], moves: [1, 0], breaks: 1 },
    100_000,
  ],
  [
    'idle ends, crossing rekeys, a broken stream',
    { packets: [1, 1], softLimits: [1, 1], idle: [1, 1], breaks: 1 },
    300_000,
  ],
];

describe('two peers, in every interleaving', () => {
  const deep = process.env['ICVPN_EXPLORE'] === 'deep';
  for (const [what, budget, least] of deep ? [...SEARCHES, ...DEEP] : SEARCHES) {
    it(`P14 P15 P16 lose nothing and agree on one pair: ${what}`, function () {
      if (deep) this.timeout(0);
      const { states, deepest } = explore({ ...NONE, ...budget }, 60);
      assert.ok(states > least, `${states} states, ${deepest} deep`);
    });
  }
});

import assert from 'node:assert/strict';
import { PairState, winsCollision } from '../../../src/keymgmt/exchange/collision.ts';
import { idOf, newKey } from './fixture.ts';

const [x, y] = [idOf(await newKey()), idOf(await newKey())];
const [low, high] = winsCollision(x, y) ? [x, y] : [y, x];

/**
 * Two peers and the network between them, driven one event at a time.
 *
 * A run is a stream of messages, m1 to m4, in order, that takes its time to open; streams may overtake one another in any way, a
 * reset may come late, and the network may break a stream at any moment. An SA pair is installed by the responder when it takes m3 and by the
 * initiator when it takes m4, as in the protocol.
 */
type Side = 0 | 1;
type Letter = 'm1' | 'm2' | 'm3' | 'm4' | 'refusal' | 'reset';
interface Channel {
  readonly name: string;
  readonly from: Side;
  /** Per receiving side, in order. */
  readonly queues: [Letter[], Letter[]];
  /** The number that each side's PairState gave to this run; undefined once over for that side. */
  readonly runs: [number | undefined, number | undefined];
  dialling: boolean;
}
const OTHER = [1, 0] as const;
/** Each end wants keys up to this many times, at any moment. */
const WANTS = 2;
const BREAKS = 1;

class World {
  readonly states = [new PairState(low, high), new PairState(high, low)] as const;
  readonly wants: [number, number] = [WANTS, WANTS];
  readonly retries: [boolean, boolean] = [false, false];
  /** The number of each side's newest run. */
  readonly current: [number, number] = [0, 0];
  breaks = BREAKS;
  /** The newest pair that each side has. */
  readonly pairs: [string, string] = ['none', 'none'];
  readonly channels: Channel[] = [];
  readonly history: string[] = [];

  /** What may happen next. */
  choices(): (() => void)[] {
    const list: (() => void)[] = [];
    for (const side of [0, 1] as const) {
      if (this.wants[side] > 0) list.push(() => this.#want(side));
      if (this.retries[side]) list.push(() => this.#retry(side));
      for (const channel of this.channels) {
        const letter = channel.queues[side][0];
        if (letter !== undefined) list.push(() => this.#deliver(side, channel));
      }
    }
    for (const channel of this.channels) {
      if (channel.dialling) list.push(() => this.#open(channel));
    }
    for (const channel of this.breaks > 0 ? this.channels : []) {
      if (live(channel)) list.push(() => this.#break(channel));
    }
    // The time limit of a deferral is longer than any message takes.
    if (list.length === 0) {
      for (const side of [0, 1] as const) {
        if (this.states[side].phase === 'deferring') list.push(() => this.#expire(side));
      }
    }
    return list;
  }

  #want(side: Side): void {
    this.wants[side]--;
    this.history.push(`${side} wants`);
    this.#obey(side, this.states[side].want());
  }

  #retry(side: Side): void {
    this.retries[side] = false;
    this.history.push(`${side} tries again`);
    this.#obey(side, this.states[side].want());
  }

  #open(channel: Channel): void {
    const { name, from, queues, runs } = channel;
    this.history.push(`${name} opens`);
    channel.dialling = false;
    this.states[from].opened(runs[from] ?? 0);
    queues[OTHER[from]].push('m1');
  }

  #break(channel: Channel): void {
    this.breaks--;
    channel.dialling = false;
    this.history.push(`${channel.name} breaks`);
    for (const queue of channel.queues) queue.splice(0, Infinity, 'reset');
  }

  #over(side: Side, channel: Channel, run: number, succeeded: boolean): void {
    channel.runs[side] = undefined;
    if (this.states[side].over(run, succeeded)) this.retries[side] = true;
  }

  #expire(side: Side): void {
    this.history.push(`${side} waited in vain`);
    const deferred = this.channels.findLast((c) => c.from === side);
    assert.ok(deferred);
    this.#obey(side, this.states[side].expired(Number(deferred.name.split('#')[1])));
  }

  #obey(side: Side, decision: ReturnType<PairState['want']>, channel?: Channel): void {
    if (decision.do === 'nothing') return;
    if (decision.do === 'refuse') {
      assert.ok(channel);
      channel.queues[OTHER[side]].push('refusal');
      return;
    }
    if (decision.do === 'respond') {
      assert.ok(channel);
      this.current[side] = decision.run;
      if (decision.abort !== undefined) this.#abort(side, decision.abort);
      channel.runs[side] = decision.run;
      channel.queues[OTHER[side]].push('m2');
      return;
    }
    this.current[side] = decision.run;
    const opened: Channel = {
      name: `${side}#${decision.run}`,
      from: side,
      queues: [[], []],
      runs: [undefined, undefined],
      dialling: true,
    };
    opened.runs[side] = decision.run;
    this.channels.push(opened);
  }

  #abort(side: Side, run: number): void {
    const channel = this.channels.find((c) => c.runs[side] === run);
    if (channel === undefined) return;
    channel.runs[side] = undefined;
    channel.queues[side].length = 0;
    if (channel.dialling) {
      channel.dialling = false;
      return;
    }
    channel.queues[OTHER[side]].push('reset');
  }

  #deliver(side: Side, channel: Channel): void {
    const letter = channel.queues[side].shift();
    assert.ok(letter);
    this.history.push(`${side} gets ${letter} of ${channel.name}`);
    const state = this.states[side];
    if (letter === 'm1') {
      this.#obey(side, state.m1(), channel);
      return;
    }
    const run = channel.runs[side];
    if (run === undefined) return;
    const reply = (next: Letter): void => {
      channel.queues[OTHER[side]].push(next);
    };
    if (letter === 'm2') reply('m3');
    else if (letter === 'm3' || letter === 'm4') {
      this.pairs[side] = channel.name;
      this.#over(side, channel, run, true);
      if (letter === 'm3') reply('m4');
    } else if (letter === 'refusal') {
      channel.runs[side] = undefined;
      state.refused(run);
    } else this.#over(side, channel, run, false);
  }

  /** Two worlds with the same key go on in the same way: run numbers matter only as newest or not. */
  key(): string {
    const channels = this.channels.filter(live);
    const place = (name: string): number => channels.findIndex((c) => c.name === name);
    const sides = ([0, 1] as const).map((side) => {
      const { phase, wanted } = this.states[side];
      const newest = channels.findIndex((c) => c.runs[side] === this.current[side]);
      const none = this.pairs[side] === 'none';
      return [
        phase,
        wanted,
        this.wants[side],
        this.retries[side],
        newest,
        none,
        place(this.pairs[side]),
      ];
    });
    const alike = this.pairs[0] === this.pairs[1];
    const open = channels.map(({ from, queues, runs, dialling }) => [
      from,
      dialling,
      queues,
      runs.map((run) => run !== undefined),
    ]);
    return JSON.stringify([sides, alike, this.breaks, open]);
  }
}

const live = ({ queues, runs }: Channel): boolean =>
  queues.some((queue) => queue.length > 0) || runs.some((run) => run !== undefined);

/** Every interleaving, by replaying choices; states already seen are not entered again. */
function explore(maxDepth: number): { states: number; deepest: number } {
  const seen = new Set<string>();
  const above = new Set<string>();
  const found = { states: 0, deepest: 0 };
  const visit = (path: number[]): void => {
    const world = new World();
    for (const step of path) world.choices()[step]?.();
    const key = world.key();
    assert.equal(above.has(key), false, `goes round for ever:\n${world.history.join('\n')}`);
    if (seen.has(key)) return;
    seen.add(key);
    above.add(key);
    found.states++;
    found.deepest = Math.max(found.deepest, path.length);
    const { length } = world.choices();
    if (length === 0) {
      const story = world.history.join('\n');
      assert.deepEqual(
        world.states.map((s) => s.phase),
        ['idle', 'idle'],
        story,
      );
      assert.notEqual(world.pairs[0], 'none', story);
      assert.equal(world.pairs[0], world.pairs[1], story);
    }
    assert.ok(path.length < maxDepth, `no end:\n${world.history.join('\n')}`);
    for (let choice = 0; choice < length; choice++) visit([...path, choice]);
    above.delete(key);
  };
  visit([]);
  return found;
}

describe('simultaneous exchanges', () => {
  it('P15 end in exactly one SA pair, the same at both ends, in every interleaving', () => {
    // Two wishes at each end at any moment, streams overtaking one another, one stream broken.
    const { states, deepest } = explore(60);
    assert.ok(states > 10_000 && deepest > 30, `${states} states, depth ${deepest}`);
  });

  it('are won by the lower PeerID', () => {
    const [winner, loser] = [new PairState(low, high), new PairState(high, low)];
    const [own] = [winner.want(), loser.want()];
    assert.equal(own.do, 'start');
    for (const each of [winner, loser]) each.opened(1);
    assert.deepEqual(winner.m1(), { do: 'refuse' });
    assert.deepEqual(loser.m1(), { do: 'respond', run: 2, abort: 1 });
    assert.deepEqual([winner.phase, loser.phase], ['initiating', 'responding']);
  });

  it('are won by nobody who still dials: the stream that is there counts', () => {
    const winner = new PairState(low, high);
    winner.want();
    assert.deepEqual(winner.m1(), { do: 'respond', run: 2, abort: 1 });
    winner.opened(1);
    assert.equal(winner.phase, 'responding', 'too late');
    assert.equal(winner.over(1, false), false);
    assert.equal(winner.over(2, true), false);
    assert.equal(winner.wanted, false);
  });

  it('make the loser wait for the winner, and start again when nothing comes', () => {
    const loser = new PairState(high, low);
    loser.want();
    loser.opened(1);
    loser.refused(1);
    assert.deepEqual(loser.want(), { do: 'nothing' });
    assert.deepEqual(loser.expired(1), { do: 'start', run: 2 });
    assert.deepEqual(loser.expired(1), { do: 'nothing' });
  });

  it('are not disturbed by late news of a run that was given up', () => {
    const loser = new PairState(high, low);
    loser.want();
    loser.opened(1);
    loser.m1();
    loser.over(1, false);
    loser.refused(1);
    assert.equal(loser.phase, 'responding');
    loser.over(2, true);
    assert.equal(loser.phase, 'idle');
  });

  it('let a peer that restarted begin anew', () => {
    const state = new PairState(low, high);
    state.m1();
    assert.deepEqual(state.m1(), { do: 'respond', run: 2, abort: 1 });
  });
});

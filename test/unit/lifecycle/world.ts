/**
 * Two peers, their kernels and the network between them, one event at a time.
 *
 * ```
 *   PairLifecycle ── exchange ──▶ PairState ── start, respond ──▶ runs: m1 m2 m3 m4 on a stream
 *        ▲  │                                                        │
 *        │  └── remove ──▶ kernel: inbound and outbound SAs ◀── install ┘
 *        └── established, failed, in doubt
 * ```
 *
 * A stream takes its time to open, and its messages keep their order; streams and delete notices overtake one another in any way; a
 * stream may break; a peer may crash, and then knows nothing. Pauses before another try end at any
 * moment. Long timers (overlap, silence) end only when nothing is under way: they are longer than any
 * message takes.
 */
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import type { LifecycleEvent } from '../../../src/ipsec/lifecycle/events.ts';
import { PairLifecycle } from '../../../src/ipsec/lifecycle/machine.ts';
import { DEFAULT_TIMING } from '../../../src/ipsec/lifecycle/timing.ts';
import {
  type PairDecision,
  PairState,
  winsCollision,
} from '../../../src/keymgmt/exchange/collision.ts';
import { idOf } from '../exchange/fixture.ts';

export type Side = 0 | 1;
const OTHER = [1, 0] as const;
const SIDES = [0, 1] as const;
type Letter = 'm1' | 'm2' | 'm3' | 'm4' | 'refusal' | 'reset';

const x = idOf(await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(1)));
const y = idOf(await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(2)));
const [low, high] = winsCollision(x, y) ? [x, y] : [y, x];

/** What may happen, how often; at side 0 and side 1. */
export interface Budget {
  readonly packets: readonly [number, number];
  readonly softLimits: readonly [number, number];
  readonly idle: readonly [number, number];
  readonly moves: readonly [number, number];
  readonly crashes: readonly [number, number];
  readonly breaks: number;
}

interface Channel {
  readonly from: Side;
  readonly queues: [Letter[], Letter[]];
  /** The run's number at each side; undefined before it begins there and after it is over. */
  readonly runs: [number | undefined, number | undefined];
  /** Under which each side receives; 0 before it is allocated. */
  readonly spis: [number, number];
  /** The initiator has sent M3. */
  proven: boolean;
  dialling: boolean;
}

const IDLE = 10_000_000;
const NEVER = 100 * IDLE;

class Peer {
  readonly state: PairState;
  readonly life = new PairLifecycle({
    random: () => 0,
    timing: { firstRetry: 0, brief: 0, idle: IDLE },
  });
  readonly inbound = new Set<number>();
  readonly outbound = new Set<number>();
  readonly used = new Set<string>();
  now = 0;
  newestRun = 0;
  sent = 0;

  constructor(state: PairState) {
    this.state = state;
  }

  install(direction: 'in' | 'out', spi: number): void {
    // One SPI is one key here: each comes from one run, in one direction.
    const key = `${direction} ${spi}`;
    assert.equal(this.used.has(key), false, 'P16 a key is installed twice');
    this.used.add(key);
    (direction === 'in' ? this.inbound : this.outbound).add(spi);
  }
}

const newPeer = (side: Side): Peer =>
  new Peer(side === 0 ? new PairState(low, high) : new PairState(high, low));

export class World {
  readonly peers: [Peer, Peer] = [newPeer(0), newPeer(1)];
  readonly channels: Channel[] = [];
  /** Delete notices on their way to each side: outbound SPIs of that side. */
  readonly notices: [number[], number[]] = [[], []];
  readonly left: {
    packets: [number, number];
    softLimits: [number, number];
    idle: [number, number];
    moves: [number, number];
    crashes: [number, number];
    breaks: number;
  };
  readonly history: string[] = [];
  /** Both ends have had a pair, and neither has ended it. */
  established = false;
  #spis = 1000;
  #disturbed = false;

  constructor(budget: Budget) {
    this.left = {
      packets: [...budget.packets],
      softLimits: [...budget.softLimits],
      idle: [...budget.idle],
      moves: [...budget.moves],
      crashes: [...budget.crashes],
      breaks: budget.breaks,
    };
  }

  /** What may happen next. */
  choices(): (() => void)[] {
    const list: (() => void)[] = [];
    for (const side of SIDES) {
      const { life, now, outbound, state } = this.peers[side];
      const pair = life.pair;
      if (this.left.packets[side] > 0 && outbound.size === 0) {
        list.push(() => this.#spend('packets', side, { type: 'acquire' }));
      }
      if (this.left.softLimits[side] > 0 && pair !== undefined && !life.wanting) {
        const spi = pair.outboundSpi;
        const event = { type: 'expired', spi, direction: 'out', hard: false } as const;
        list.push(() => this.#spend('softLimits', side, event));
      }
      if (this.left.idle[side] > 0 && pair !== undefined && state.phase === 'idle') {
        if (life.kept.length === 0) list.push(() => this.#idle(side));
      }
      if (this.left.moves[side] > 0 && pair !== undefined) list.push(() => this.#move(side));
      if (this.left.crashes[side] > 0 && pair !== undefined) list.push(() => this.#crash(side));
      if ((life.wakeAt() ?? NEVER) <= now) list.push(() => this.#tell(side, { type: 'tick' }));
      for (const channel of this.channels) {
        if (channel.queues[side].length > 0) list.push(() => this.#deliver(side, channel));
      }
      for (const spi of this.notices[side]) list.push(() => this.#notice(side, spi));
    }
    for (const channel of this.channels) {
      if (channel.dialling) list.push(() => this.#open(channel));
    }
    for (const channel of this.left.breaks > 0 ? this.channels : []) {
      if (live(channel)) list.push(() => this.#break(channel));
    }
    return list.length > 0 ? list : this.#longTimers();
  }

  #longTimers(): (() => void)[] {
    const deferring = SIDES.filter((side) => this.peers[side].state.phase === 'deferring');
    if (deferring.length > 0) return deferring.map((side) => () => this.#expire(side));
    return SIDES.flatMap((side) => {
      const { life, now, outbound } = this.peers[side];
      const { inbound } = this.peers[OTHER[side]];
      const at = life.wakeAt() ?? NEVER;
      const timers = at - now < IDLE / 2 ? [() => this.#sleepUntil(side, at)] : [];
      const unheard = [...outbound].filter((spi) => !inbound.has(spi));
      return [...timers, ...unheard.map((spi) => () => this.#sendInVain(side, spi))];
    });
  }

  #spend(what: 'packets' | 'softLimits', side: Side, event: LifecycleEvent): void {
    this.left[what][side]--;
    this.#tell(side, event);
  }

  #idle(side: Side): void {
    this.left.idle[side]--;
    this.established = false;
    this.peers[side].now += IDLE;
    this.#tell(side, { type: 'tick' });
  }

  #move(side: Side): void {
    this.left.moves[side]--;
    this.#disturbed = true;
    this.established = false;
    this.#tell(side, { type: 'moved' });
  }

  #crash(side: Side): void {
    this.left.crashes[side]--;
    this.#disturbed = true;
    this.established = false;
    this.history.push(`${side} crashes`);
    this.peers[side] = newPeer(side);
    this.notices[side].length = 0;
    for (const channel of this.channels.filter(live)) {
      channel.runs[side] = undefined;
      channel.queues[side].length = 0;
      if (!channel.dialling) channel.queues[OTHER[side]].push('reset');
      else if (channel.from === side) channel.dialling = false;
    }
  }

  /** A program sends and hears nothing, until the life cycle asks the other end. */
  #sendInVain(side: Side, spi: number): void {
    const peer = this.peers[side];
    const usage = [{ spi, direction: 'out', packets: BigInt(++peer.sent), bytes: 0n }] as const;
    this.#tell(side, { type: 'counters', usage });
    peer.now += DEFAULT_TIMING.silence;
    this.#tell(side, { type: 'tick' });
  }

  #sleepUntil(side: Side, at: number): void {
    this.peers[side].now = at;
    this.#tell(side, { type: 'tick' });
  }

  #notice(side: Side, spi: number): void {
    this.notices[side].splice(this.notices[side].indexOf(spi), 1);
    this.established &&= this.peers[side].life.pair?.outboundSpi !== spi;
    this.#tell(side, { type: 'deleted', outboundSpi: spi });
  }

  #expire(side: Side): void {
    this.history.push(`${side} has waited in vain for the other's m1`);
    const peer = this.peers[side];
    this.#obey(side, peer.state.expired(peer.newestRun));
  }

  #open(channel: Channel): void {
    const { from, queues, runs } = channel;
    this.history.push(`run ${this.channels.indexOf(channel)} opens`);
    channel.dialling = false;
    this.peers[from].state.opened(runs[from] ?? 0);
    queues[OTHER[from]].push('m1');
  }

  #break(channel: Channel): void {
    this.left.breaks--;
    channel.dialling = false;
    this.history.push(`run ${this.channels.indexOf(channel)} breaks`);
    for (const queue of channel.queues) queue.splice(0, Infinity, 'reset');
  }

  #tell(side: Side, event: LifecycleEvent): void {
    const peer = this.peers[side];
    this.history.push(`${side}: ${inspect(event, { breakLength: Infinity })}`);
    for (const action of peer.life.handle(event, peer.now)) {
      this.history.push(`   ${side} does ${JSON.stringify(action)}`);
      if (action.do === 'exchange') this.#obey(side, peer.state.want());
      else if (action.do === 'notify-deleted') this.notices[OTHER[side]].push(action.inboundSpi);
      else if (action.do === 'remove') {
        const table = action.direction === 'in' ? peer.inbound : peer.outbound;
        assert.ok(table.delete(action.spi), `there is no SA ${action.spi} to remove`);
      } else if (action.do === 'move') this.#clear(side);
      else if (action.do === 'probe') {
        const { outboundSpi } = action;
        const known = this.peers[OTHER[side]].inbound.has(outboundSpi);
        this.#tell(side, { type: 'probed', outboundSpi, known });
      }
    }
  }

  #clear(side: Side): void {
    const peer = this.peers[side];
    peer.inbound.clear();
    peer.outbound.clear();
    const channel = this.channels.find((c) => c.runs[side] !== undefined);
    if (channel === undefined) return;
    this.#abort(side, peer.newestRun);
    peer.state.over(peer.newestRun, false);
  }

  #obey(side: Side, decision: PairDecision, channel?: Channel): void {
    const peer = this.peers[side];
    if (decision.do === 'nothing') return;
    if (decision.do === 'refuse') {
      channel?.queues[OTHER[side]].push('refusal');
      return;
    }
    if (decision.do === 'respond') {
      assert.ok(channel);
      peer.newestRun = decision.run;
      if (decision.abort !== undefined) this.#abort(side, decision.abort);
      channel.runs[side] = decision.run;
      channel.queues[OTHER[side]].push('m2');
      return;
    }
    peer.newestRun = decision.run;
    const opened: Channel = {
      from: side,
      queues: [[], []],
      runs: [undefined, undefined],
      spis: [0, 0],
      proven: false,
      dialling: true,
    };
    opened.runs[side] = decision.run;
    this.channels.push(opened);
  }

  #abort(side: Side, run: number): void {
    const channel = this.channels.find((c) => c.runs[side] === run);
    if (channel === undefined) return;
    channel.queues[side].length = 0;
    if (!channel.dialling) channel.queues[OTHER[side]].push('reset');
    channel.dialling = false;
    this.#release(side, channel);
  }

  /** The run has failed at this side: what the protocol's hook `release` does. */
  #release(side: Side, channel: Channel): void {
    channel.runs[side] = undefined;
    const spi = channel.spis[side];
    if (!this.peers[side].inbound.has(spi)) return;
    if (channel.proven) this.#tell(side, { type: 'in-doubt', inboundSpi: spi });
    else this.peers[side].inbound.delete(spi);
  }

  #over(side: Side, channel: Channel, run: number, succeeded: boolean): void {
    if (!succeeded) this.#release(side, channel);
    channel.runs[side] = undefined;
    const stillWanted = this.peers[side].state.over(run, succeeded);
    if (stillWanted && !succeeded) this.#tell(side, { type: 'failed' });
  }

  #established(side: Side, channel: Channel, run: number): void {
    const [inboundSpi, outboundSpi] = [channel.spis[side], channel.spis[OTHER[side]]];
    this.#over(side, channel, run, true);
    const limits = { seconds: NEVER, bytes: NEVER, packets: NEVER };
    this.#tell(side, { type: 'established', pair: { inboundSpi, outboundSpi }, limits });
    this.established ||= this.peers.every(({ outbound }) => outbound.size > 0);
  }

  #deliver(side: Side, channel: Channel): void {
    const letter = channel.queues[side].shift();
    this.history.push(`${side} gets ${letter} of run ${this.channels.indexOf(channel)}`);
    const peer = this.peers[side];
    if (letter === 'm1') {
      this.#obey(side, peer.state.m1(), channel);
      return;
    }
    const run = channel.runs[side];
    if (run === undefined) return;
    const reply = (next: Letter): void => {
      channel.queues[OTHER[side]].push(next);
    };
    if (letter === 'm2') {
      channel.spis[side] = this.#spis++;
      peer.install('in', channel.spis[side]);
      channel.proven = true;
      reply('m3');
    } else if (letter === 'm3') {
      channel.spis[side] = this.#spis++;
      peer.install('in', channel.spis[side]);
      peer.install('out', channel.spis[OTHER[side]]);
      reply('m4');
      this.#established(side, channel, run);
    } else if (letter === 'm4') {
      peer.install('out', channel.spis[OTHER[side]]);
      this.#established(side, channel, run);
    } else if (letter === 'refusal') {
      this.#release(side, channel);
      peer.state.refused(run);
    } else this.#over(side, channel, run, false);
  }

  /** What must hold at every moment. */
  check(): void {
    for (const side of SIDES) {
      const { outbound } = this.peers[side];
      const other = this.peers[OTHER[side]];
      assert.ok(outbound.size <= 1, `${side} has two outbound SAs`);
      if (this.established) assert.equal(outbound.size, 1, `P14 ${side} cannot send any more`);
      // A peer that has moved or crashed hears nothing on its old SAs: no order could help that.
      if (this.#disturbed) continue;
      for (const spi of outbound) {
        assert.ok(other.inbound.has(spi), `P14 what ${side} sends under ${spi} is lost`);
      }
    }
  }

  /** What must hold when nothing is left to happen. */
  checkEnd(): void {
    const [one, two] = this.peers;
    for (const { inbound, outbound, state, life } of this.peers) {
      assert.equal(state.phase, 'idle');
      assert.equal(life.wanting, false);
      assert.deepEqual(life.kept, []);
      assert.ok(inbound.size <= 1 && outbound.size === inbound.size, 'P15 not exactly one pair');
    }
    assert.deepEqual(one.outbound, two.inbound, 'P15 not the same pair');
    assert.deepEqual(two.outbound, one.inbound, 'P15 not the same pair');
    if (this.established) assert.equal(one.outbound.size, 1);
  }

  /** Two worlds with the same key go on in the same way: numbers count only as equal or not. */
  key(): string {
    const channels = this.channels.filter(live);
    const sides = SIDES.map((side) => {
      const { state, life, inbound, outbound, now, newestRun } = this.peers[side];
      const { phase, wanted } = state;
      const kept = life.kept.map(({ inboundSpi, until }) => [
        `#${inboundSpi}`,
        until === 'in doubt' ? until : until - now,
      ]);
      const wake = life.wakeAt();
      const timer = wake === undefined || wake - now > IDLE / 2 ? 'never' : wake - now;
      const pair = life.pair && [`#${life.pair.inboundSpi}`, `#${life.pair.outboundSpi}`];
      const newest = channels.findIndex((c) => c.runs[side] === newestRun);
      const tables = [[...inbound], [...outbound]].map((t) => t.map((spi) => `#${spi}`).sort());
      return [phase, wanted, life.phase, life.wanting, kept, timer, pair, newest, tables];
    });
    const open = channels.map(({ from, queues, runs, spis, proven, dialling }) => [
      from,
      dialling,
      queues,
      runs.map((run) => run !== undefined),
      spis.map((spi) => `#${spi}`),
      proven,
    ]);
    const notices = this.notices.map((list) => list.map((spi) => `#${spi}`));
    const text = JSON.stringify([sides, open, notices, this.left, this.established]);
    const names = new Map<string, string>();
    return text.replace(/#[0-9]+/g, (spi) => {
      const name = names.get(spi) ?? `@${names.size}`;
      names.set(spi, name);
      return name;
    });
  }
}

const live = ({ queues, runs }: Channel): boolean =>
  queues.some((queue) => queue.length > 0) || runs.some((run) => run !== undefined);

/**
 * Every interleaving of what the budget allows, to the end.
 *
 * @throws AssertionError with the history that led to it
 */
export function explore(budget: Budget, maxDepth: number): { states: number; deepest: number } {
  const seen = new Set<string>();
  const above = new Set<string>();
  const found = { states: 0, deepest: 0 };
  const visit = (path: number[]): void => {
    const world = new World(budget);
    try {
      for (const step of path) world.choices()[step]?.();
      world.check();
      const key = world.key();
      assert.equal(above.has(key), false, 'this goes round for ever');
      if (seen.has(key)) return;
      seen.add(key);
      above.add(key);
      found.states++;
      found.deepest = Math.max(found.deepest, path.length);
      const { length } = world.choices();
      if (length === 0) world.checkEnd();
      assert.ok(path.length < maxDepth, 'no end in sight');
      for (let choice = 0; choice < length; choice++) visit([...path, choice]);
      above.delete(key);
    } catch (error) {
      if (error instanceof assert.AssertionError && !error.message.includes('\n  history')) {
        error.message += `\n  history\n${world.history.join('\n')}`;
      }
      throw error;
    }
  };
  visit([]);
  return found;
}

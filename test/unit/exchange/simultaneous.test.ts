/** Both ends start at once, over streams and with real keys, as a daemon does it. */
import assert from 'node:assert/strict';
import type { Stream } from '@libp2p/interface';
import { streamPair } from '@libp2p/utils';
import fc from 'fast-check';
import { PairState } from '../../../src/keymgmt/exchange/collision.ts';
import type { ExchangeContext } from '../../../src/keymgmt/exchange/context.ts';
import { ExchangeError } from '../../../src/keymgmt/exchange/errors.ts';
import {
  type ExchangeHooks,
  type ExchangeResult,
  runInitiator,
  runResponder,
} from '../../../src/keymgmt/exchange/protocol.ts';
import { idOf, newPair } from './fixture.ts';

class Member {
  readonly context: ExchangeContext;
  readonly state: PairState;
  readonly work = new Set<Promise<void>>();
  readonly inbound = new Map<number, string>();
  readonly outbound = new Map<number, string>();
  pair: ExchangeResult | undefined;
  #abort = new AbortController();
  readonly #dial: () => Promise<Stream>;
  #spi = 0x1000;

  constructor(context: ExchangeContext, dial: () => Promise<Stream>) {
    this.context = context;
    this.state = new PairState(idOf(context.identity.key), context.peer);
    this.#dial = dial;
  }

  want(): void {
    const decision = this.state.want();
    if (decision.do === 'start') this.#track(this.#initiate(decision.run));
  }

  serve(stream: Stream): void {
    this.#track(this.#respond(stream));
  }

  async #initiate(run: number): Promise<void> {
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    try {
      const stream = await this.#dial();
      this.state.opened(run);
      this.pair = await runInitiator(stream, this.context, this.#hooks(), { signal });
      this.state.over(run, true);
    } catch (error) {
      assert.ok(error instanceof ExchangeError, String(error));
      if (error.fault === 'collision') this.state.refused(run);
      else if (this.state.over(run, false)) this.want();
    }
  }

  async #respond(stream: Stream): Promise<void> {
    const abort = new AbortController();
    let run = 0;
    const admit = () => {
      const decision = this.state.m1();
      if (decision.do !== 'respond') return 'collision' as const;
      if (decision.abort !== undefined) this.#abort.abort();
      this.#abort = abort;
      run = decision.run;
      return undefined;
    };
    const { signal } = abort;
    try {
      const hooks = { ...this.#hooks(), admit };
      this.pair = await runResponder(stream, this.context, hooks, { signal });
      this.state.over(run, true);
    } catch (error) {
      assert.ok(error instanceof ExchangeError, String(error));
      if (run !== 0 && this.state.over(run, false)) this.want();
    }
  }

  #hooks(): ExchangeHooks {
    const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');
    return {
      allocateSpi: async () => this.#spi++,
      installInbound: async ({ inbound }) => {
        this.inbound.set(inbound.spi, hex(inbound.key));
      },
      installOutbound: async ({ outbound }) => {
        this.outbound.set(outbound.spi, hex(outbound.key));
      },
      release: async ({ inboundSpi, outboundSpi, inDoubt }) => {
        if (!inDoubt) this.inbound.delete(inboundSpi);
        if (outboundSpi !== undefined) this.outbound.delete(outboundSpi);
      },
    };
  }

  #track(work: Promise<void>): void {
    const tracked = work.finally(() => this.work.delete(tracked));
    this.work.add(tracked);
  }
}

describe('simultaneous exchanges over streams', () => {
  it('P15 end with one pair of SAs, whoever starts when and however slow the streams are', async () => {
    const { a, b } = await newPair();
    const delays = fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 6 });
    const starts = fc.array(fc.constantFrom('a', 'b', 'pause'), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(delays, starts, async (slow, order) => {
        let dials = 0;
        const dial = (to: () => Member) => async (): Promise<Stream> => {
          const [near, far] = await streamPair({ delay: slow[dials++ % slow.length] ?? 0 });
          to().serve(far);
          return near;
        };
        const one: Member = new Member(
          a,
          dial(() => two),
        );
        const two: Member = new Member(
          b,
          dial(() => one),
        );
        for (const who of [...order, 'a'] as const) {
          if (who === 'a') one.want();
          else if (who === 'b') two.want();
          else await new Promise(setImmediate);
        }
        for (let busy = true; busy; busy = one.work.size + two.work.size > 0) {
          await Promise.all([...one.work, ...two.work]);
        }
        assert.ok(one.pair !== undefined && two.pair !== undefined);
        assert.deepEqual(one.pair.transcriptHash, two.pair.transcriptHash);
        assert.deepEqual([one.state.phase, two.state.phase], ['idle', 'idle']);
        // What each sends under, the other receives with the same key.
        for (const [from, to] of [
          [one, two],
          [two, one],
        ] as const) {
          const spi = from.pair?.outboundSpi ?? 0;
          assert.equal(from.outbound.get(spi), to.inbound.get(spi));
        }
      }),
      { numRuns: 60 },
    );
  });
});

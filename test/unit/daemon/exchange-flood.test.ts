/** P5: members that begin exchanges and do not go on, and one that means it. */
import assert from 'node:assert/strict';
import type { Stream } from '@libp2p/interface';
import { streamPair } from '@libp2p/utils';
import { HalfOpen, type HalfOpenLimits } from '../../../src/daemon/pair/half-open.ts';
import { Pair } from '../../../src/daemon/pair/pair.ts';
import { PeerPath } from '../../../src/daemon/pair/path.ts';
import { Runs } from '../../../src/daemon/pair/runs.ts';
import { DEFAULT_TIMING } from '../../../src/ipsec/lifecycle/timing.ts';
import type { ExchangeContext } from '../../../src/keymgmt/exchange/context.ts';
import { startExchange } from '../../../src/keymgmt/exchange/initiator.ts';
import { decodeFrame } from '../../../src/keymgmt/exchange/messages.ts';
import { openLink } from '../../../src/keymgmt/exchange/protocol.ts';
import { contextOf, idOf, issue, newKey, newService } from '../exchange/fixture.ts';
import { MemoryKernel } from './memory-kernel.ts';
import { until } from './until.ts';

const LIMITS: HalfOpenLimits = { cookiesFrom: 3, most: 6 };

describe('P5 a flood of exchanges that nobody finishes', () => {
  let owned: AsyncDisposableStack;
  let halfOpen: HalfOpen;
  let service: Awaited<ReturnType<typeof newService>>;
  let server: { key: Awaited<ReturnType<typeof newKey>>; credential: Uint8Array };
  let firstSpi = 0x1000;
  beforeEach(async () => {
    owned = new AsyncDisposableStack();
    halfOpen = new HalfOpen(LIMITS);
    service = await newService();
    const key = await newKey();
    server = { key, credential: await issue(service, key) };
  });
  afterEach(() => owned.disposeAsync());

  interface Member {
    readonly context: ExchangeContext;
    /** The server's runs with this member. */
    readonly runs: Runs;
    readonly kernel: MemoryKernel;
    established: boolean;
  }
  async function member(): Promise<Member> {
    const key = await newKey();
    const identity = { key, credential: await issue(service, key) };
    firstSpi += 0x1000;
    const kernel = new MemoryKernel(firstSpi);
    const made: Member = {
      context: contextOf(service, identity, idOf(server.key)),
      kernel,
      established: false,
      runs: new Runs({
        ...{ local: idOf(server.key), remote: idOf(key), dataPlane: kernel, halfOpen },
        context: () => contextOf(service, server, idOf(key)),
        open: () => Promise.reject(new Error('only answers')),
        ...{ timing: DEFAULT_TIMING, random: () => 0.5, path: new PeerPath(), touch: () => {} },
        log: () => {},
        onEstablished: () => {
          made.established = true;
        },
        onInDoubt: () => {},
        onFailed: () => {},
      }),
    };
    owned.use(made.runs);
    return made;
  }

  /** Opens a stream to the server as the member. */
  async function dial({ runs }: Member): Promise<ReturnType<typeof openLink>> {
    const [near, far] = await streamPair();
    void runs.respond({ stream: far, seen: undefined });
    owned.defer(() => near.abort(new Error('over')));
    return openLink(near);
  }

  const spis = ({ kernel }: Member): number => kernel.allocated;

  /** Sends M1, returns the cookie if asked to, reads M2 and says nothing more. */
  async function begin(from: Member, returnsCookie: boolean) {
    const link = await dial(from);
    const limit = { signal: AbortSignal.timeout(30_000) };
    const { m1, next } = startExchange(from.context, { inboundSpi: 0x999 });
    owned.defer(() => next.abandon());
    await link.write(m1, limit);
    const first = await link.read(limit);
    const { cookie, refusal } = decodeFrame(first, ['m2', 'cookie', 'refusal']);
    const asked = cookie !== undefined;
    if (asked && returnsCookie) {
      const step = await next.onM2(first);
      assert.ok(step.kind === 'cookie');
      await link.write(step.m1, limit);
      decodeFrame(await link.read(limit), ['m2']);
    }
    return { stream: link.stream, asked, refusal };
  }

  it('costs no key and no state from some on, unless the cookie comes back', async () => {
    const members = await Promise.all(Array.from({ length: 8 }, member));
    for (const [i, each] of members.entries()) {
      const { asked } = await begin(each, false);
      assert.equal(asked, i >= 3, `member ${i}`);
      assert.equal(spis(each), asked ? 0 : 1);
    }
    assert.equal(halfOpen.size, 3);
  });

  it('ends with the oldest given up where the cookies do come back', async () => {
    const streams: Stream[] = [];
    for (let i = 0; i < 8; i++) streams.push((await begin(await member(), true)).stream);
    assert.equal(halfOpen.size, 6);
    const [first, second, third] = streams;
    await until('the oldest are cut off', () =>
      [first, second].every((stream) => stream?.status !== 'open'),
    );
    assert.equal(third?.status, 'open');
  });

  it('leaves the one who means it with keys, at once', async () => {
    for (let i = 0; i < 8; i++) await begin(await member(), true);
    const genuine = await member();
    const kernel = new MemoryKernel(0xf0_0000);
    const pair = new Pair({
      ...{ local: idOf(genuine.context.identity.key), remote: genuine.context.peer },
      dataPlane: kernel,
      ...{ context: () => genuine.context, touch: () => {}, halfOpen: new HalfOpen() },
      open: async () => ({ stream: (await dial(genuine)).stream, seen: undefined }),
      control: {
        probe: async () => true,
        received: async () => 1,
        deleted: async () => {},
      },
      log: () => {},
    });
    owned.defer(() => pair.close({ tellPeer: false }));
    pair.acquire();
    await until('keys at both ends', () => pair.current !== undefined && genuine.established);
    assert.equal(genuine.kernel.keys[0], kernel.keys.at(-1));
    assert.equal(halfOpen.size, 5, 'what is proved is not half open, and made no room by others');
  });

  it('of one member takes nothing but its own run', async () => {
    halfOpen = new HalfOpen({ perPeer: { perSecond: 0, burst: 3 } });
    const [one, other] = [await member(), await member()];
    const answers = [];
    for (let i = 0; i < 5; i++) answers.push((await begin(one, true)).refusal);
    assert.deepEqual(answers, [undefined, undefined, undefined, 'overload', 'overload']);
    assert.equal(halfOpen.size, 1, 'a run at a time');
    assert.equal((await begin(other, true)).refusal, undefined);
  });

  it('is forgotten when the runs end', async () => {
    const { stream } = await begin(await member(), true);
    assert.equal(halfOpen.size, 1);
    stream.abort(new Error('gone'));
    await until('nothing half open', () => halfOpen.size === 0);
  });
});

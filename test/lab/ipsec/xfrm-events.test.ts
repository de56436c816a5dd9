import assert from 'node:assert/strict';
import { on } from 'node:events';
import {
  type PolicySpec,
  type StateSpec,
  type Template,
  XfrmClient,
  type XfrmEvent,
  XfrmKey,
  XfrmMonitor,
  type XfrmMonitorOptions,
} from '../../../src/ipsec/xfrm/index.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import { inside } from './inside.ts';

const V4 = { source: '192.0.2.1', destination: '192.0.2.2' };
const GCM = { name: 'rfc4106(gcm(aes))', key: XfrmKey.of(new Uint8Array(36)), icvBits: 128 };
const tunnel: Template = { ...V4, protocol: 'esp', mode: 'tunnel', reqid: 42 };
const out: PolicySpec = {
  direction: 'out',
  selector: { source: '0.0.0.0/0', destination: '10.9.0.2/32' },
  templates: [tunnel],
};
const state: StateSpec = { ...V4, spi: 0x1000, mode: 'tunnel', reqid: 42, aead: GCM };

/** A client, and the events in their order, for one namespace. */
function listen(ns: Netns, options?: XfrmMonitorOptions) {
  const stack = new DisposableStack();
  const client = inside(ns, () => stack.use(new XfrmClient()));
  const monitor = inside(ns, () => stack.use(new XfrmMonitor(options)));
  const events = on(monitor, 'event', { signal: AbortSignal.timeout(60_000) });
  const next = async <T extends XfrmEvent['type']>(
    type: T,
  ): Promise<Extract<XfrmEvent, { type: T }>> => {
    const { value } = await events.next();
    const event: XfrmEvent = value?.[0];
    if (!isOf(event, type)) assert.fail(`${event.type} instead of ${type}`);
    return event;
  };
  return { client, monitor, next, [Symbol.dispose]: () => stack.dispose() };
}

function isOf<T extends XfrmEvent['type']>(
  event: XfrmEvent,
  type: T,
): event is Extract<XfrmEvent, { type: T }> {
  return event.type === type;
}

/** Two namespaces; in the first, 10.9.0.1 sends to 10.9.0.2. */
async function pair() {
  await using stack = new AsyncDisposableStack();
  const a = stack.use(await createNetns('a'));
  const b = stack.use(await createNetns('b'));
  await connect(a, b, { addressesA: ['192.0.2.1/24'], addressesB: ['192.0.2.2/24'] });
  await a.ip('address', 'add', '10.9.0.1/32', 'dev', 'lo');
  await a.ip('route', 'add', '10.9.0.2', 'via', '192.0.2.2', 'src', '10.9.0.1');
  const owned = stack.move();
  return { a, b, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const ping = (ns: Netns, count = 1) =>
  ns.exec('ping', ['-c', String(count), '-i', '0.01', '-W', '0.1', '10.9.0.2']);

describe('xfrm events', () => {
  it('tell of states and policies that come, change and go', async () => {
    await using ns = await createNetns('us');
    using heard = listen(ns);
    const { client, next } = heard;
    await client.addState(state);
    const { state: added } = await next('state-new');
    assert.deepEqual([added.spi, added.reqid, added.aead?.keyBits], [0x1000, 42, 288]);
    assert.equal(added.aead?.key, undefined);
    await client.updateState({ ...state, lifetime: { bytes: { hard: 5n } } });
    assert.deepEqual((await next('state-update')).state.lifetime, { bytes: { hard: 5n } });
    await client.deleteState(state);
    const { state: deleted } = await next('state-delete');
    assert.deepEqual([deleted.spi, deleted.destination], [0x1000, '192.0.2.2']);
    await client.addPolicy({ ...out, ifId: 9 });
    const { policy } = await next('policy-new');
    assert.deepEqual([policy.ifId, policy.templates], [9, [tunnel]]);
    await client.updatePolicy({ ...out, ifId: 9, priority: 5 });
    assert.equal((await next('policy-update')).policy.priority, 5);
    await client.deletePolicy({ ...out, ifId: 9 });
    assert.deepEqual((await next('policy-delete')).policy.selector, out.selector);
    await client.addState(state);
    await client.addPolicy(out);
    await next('state-new');
    await next('policy-new');
    await client.flushStates();
    await next('state-flush');
    await client.flushPolicies();
    await next('policy-flush');
  });

  it('ACQUIRE names the packet, the policy and the ends', async () => {
    await using lab = await pair();
    using heard = listen(lab.a, { groups: ['acquire'] });
    const { client, next } = heard;
    await client.addPolicy(out);
    await ping(lab.a);
    const event = await next('acquire');
    assert.deepEqual(
      [event.source, event.destination, event.protocol],
      ['192.0.2.1', '192.0.2.2', 'esp'],
    );
    assert.equal(event.selector.source, '10.9.0.1/32');
    assert.equal(event.selector.destination, '10.9.0.2/32');
    // ping(8) tries out the way with a UDP socket before it sends.
    assert.ok([1, 17].includes(event.selector.protocol ?? 0));
    assert.deepEqual(event.templates, [tunnel]);
    assert.deepEqual(event.policy.selector, out.selector);
    // The state that answers it takes the place of the larval one.
    const larval = (await client.states()).find(({ spi }) => spi === 0);
    assert.equal(larval?.sequence, event.sequence);
    await client.addState({ ...state, sequence: event.sequence });
    assert.deepEqual(
      (await client.states()).map(({ spi }) => spi),
      [0x1000],
    );
  });

  it('EXPIRE comes soft, then hard, by packets', async () => {
    await using lab = await pair();
    using heard = listen(lab.a, { groups: ['expire'] });
    const { client, next } = heard;
    await client.addPolicy(out);
    await client.addState({ ...state, lifetime: { packets: { soft: 2n, hard: 4n } } });
    await ping(lab.a, 6);
    const soft = await next('expire');
    assert.deepEqual([soft.hard, soft.state.spi], [false, 0x1000]);
    const hard = await next('expire');
    assert.deepEqual([hard.hard, hard.state.spi], [true, 0x1000]);
    assert.equal((await client.states()).filter(({ spi }) => spi === 0x1000).length, 0);
  });

  it('EXPIRE comes by bytes and by time', async () => {
    await using lab = await pair();
    using heard = listen(lab.a, { groups: ['expire'] });
    const { client, next } = heard;
    await client.addPolicy(out);
    await client.addState({ ...state, lifetime: { bytes: { soft: 100n } } });
    await ping(lab.a, 3);
    assert.deepEqual((await next('expire')).state.lifetime, { bytes: { soft: 100n } });
    await client.deleteState(state);
    await client.addState({ ...state, lifetime: { seconds: { hard: 1n } } });
    assert.equal((await next('expire')).hard, true);
  });

  it('a policy expires', async () => {
    await using ns = await createNetns('us');
    using heard = listen(ns, { groups: ['expire'] });
    await heard.client.addPolicy({ ...out, lifetime: { seconds: { hard: 1n } } });
    const event = await heard.next('policy-expire');
    assert.deepEqual([event.hard, event.policy.selector], [true, out.selector]);
  });

  it('MIGRATE moves a policy with its state, keys and all', async () => {
    await using ns = await createNetns('us');
    using heard = listen(ns, { groups: ['migrate'] });
    const { client, next } = heard;
    await client.addPolicy({ ...out, ifId: 9 });
    await client.addState({ ...state, ifId: 9 });
    const migration = {
      oldSource: '192.0.2.1',
      oldDestination: '192.0.2.2',
      newSource: '2001:db8::1',
      newDestination: '2001:db8::2',
      protocol: 'esp',
      mode: 'tunnel',
      reqid: 42,
    } as const;
    const { direction, selector } = out;
    await client.migrate({ direction, selector, ifId: 9, migrations: [migration] });
    const event = await next('migrate');
    assert.deepEqual([event.direction, event.selector], [direction, selector]);
    assert.deepEqual(event.migrations, [migration]);
    const [moved, ...others] = await client.states({ withKeys: true });
    assert.deepEqual([moved?.destination, moved?.spi], ['2001:db8::2', 0x1000]);
    assert.deepEqual(moved?.aead?.key?.expose(), GCM.key.expose());
    assert.deepEqual(others, []);
    assert.equal((await client.policies())[0]?.templates[0]?.destination, '2001:db8::2');
  });

  it('tells of progress past a threshold, and when asked', async () => {
    await using lab = await pair();
    using heard = listen(lab.a, { groups: ['async-event'] });
    const { client, next } = heard;
    await client.addPolicy(out);
    await client.addState({ ...state, replay: { window: 128, esn: true } });
    await client.setAsyncThresholds(state, { packets: 3, interval: 0 });
    assert.equal((await next('async-event')).cause, 'set');
    await ping(lab.a, 5);
    const event = await next('async-event');
    assert.deepEqual([event.cause, event.spi, event.outbound], ['packets', 0x1000, 3n]);
    const now = await client.getAsync(state);
    assert.deepEqual([now.cause, now.outbound, now.usage?.packets], ['asked', 5n, 5n]);
    assert.equal(now.packets, 3);
  });

  it('an overrun is told, and what is missing can be read', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new XfrmClient());
    using monitor = inside(ns, () => new XfrmMonitor({ groups: ['state'], receiveBuffer: 4096 }));
    const events = on(monitor, 'event', { signal: AbortSignal.timeout(60_000) });
    // In one system call, so that nobody reads meanwhile.
    const specs = Array.from({ length: 64 }, (_, n) => ({ ...state, spi: 0x5000 + n }));
    assert.deepEqual(await client.addStates(specs), []);
    for await (const [event] of events) {
      if (event.type === 'overrun') break;
    }
    assert.equal((await client.states()).length, specs.length);
  });

  it('nothing is heard after close, and the process may end', async () => {
    await using ns = await createNetns('us');
    using heard = listen(ns);
    let count = 0;
    heard.monitor.on('event', () => count++);
    await heard.client.addState(state);
    await heard.next('state-new');
    heard.monitor.close();
    await heard.client.deleteState(state);
    await heard.client.states();
    assert.equal(count, 1);
  });
});

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { containing, Emitter, type ListenerFailure, onListenerFailure } from '../../src/events.ts';

class Source extends Emitter<{ news: [number, string]; error: [Error] }> {
  publish(number: number): boolean {
    return this.tell('news', number, 'text');
  }

  fail(error: Error): boolean {
    return this.tell('error', error);
  }
}

describe('events', () => {
  let failures: ListenerFailure[];
  let unheard: () => void;
  beforeEach(() => {
    failures = [];
    unheard = onListenerFailure((failure) => failures.push(failure));
  });
  afterEach(() => unheard());

  const messages = (): string[] =>
    failures.map(({ event, error }) => `${event}: ${error instanceof Error && error.message}`);

  it('P27 a listener that throws costs neither the others nor what told them', () => {
    const source = new Source();
    const heard: unknown[] = [];
    source.on('news', () => {
      throw new Error('first');
    });
    source.on('news', (...news) => heard.push(news));
    source.once('news', () => {
      throw new Error('once');
    });
    assert.ok(source.publish(1));
    assert.ok(source.publish(2));
    assert.deepEqual(heard, [
      [1, 'text'],
      [2, 'text'],
    ]);
    assert.deepEqual(messages(), ['news: first', 'news: once', 'news: first']);
  });

  it('P27 a listener whose promise is rejected is no unhandled rejection', async () => {
    const source = new Source();
    source.on('news', async () => {
      await setImmediate();
      throw new Error('later');
    });
    source.publish(1);
    await setImmediate();
    await setImmediate();
    assert.deepEqual(messages(), ['news: later']);
  });

  it('P27 an error that nobody listens for ends nothing', () => {
    assert.equal(new Source().fail(new Error('alone')), false);
  });

  it('can be waited for, and taken off while told', async () => {
    const source = new Source();
    const next = once(source, 'news');
    const calls: number[] = [];
    const second = (): number => calls.push(2);
    source.on('news', () => {
      calls.push(1);
      source.off('news', second);
    });
    source.on('news', second);
    source.publish(7);
    source.publish(8);
    assert.deepEqual(await next, [7, 'text']);
    assert.deepEqual(calls, [1, 2, 1]);
  });

  it('P27 of an event target are contained, too', async () => {
    const target = new EventTarget();
    target.addEventListener(
      'close',
      containing('close', () => {
        throw new Error('here');
      }),
    );
    target.dispatchEvent(new Event('close'));
    // Where Node would end the process.
    await setImmediate();
    assert.deepEqual(messages(), ['close: here']);
  });

  it('P27 without a daemon that logs it a failure is a warning of the process', async () => {
    unheard();
    const warned = once(process, 'warning');
    const source = new Source();
    source.on('news', () => {
      throw new Error('nobody logs');
    });
    source.publish(1);
    const [warning] = await warned;
    assert.match(String(warning), /a listener of "news" failed: Error: nobody logs/);
  });

  it('P27 every emitter of the project is one that contains its listeners', async () => {
    const root = new URL('../../src/', import.meta.url);
    const files = await readdir(root, { recursive: true });
    const bare: string[] = [];
    for (const file of files.filter((name) => name.endsWith('.ts') && name !== 'events.ts')) {
      const source = await readFile(new URL(file, root), 'utf8');
      if (/\bEventEmitter\b(?!\.)/.test(source.replaceAll(/^ *(\/\/|\*|\/\*).*$/gm, '')))
        bare.push(file);
    }
    assert.deepEqual(bare, []);
  });
});

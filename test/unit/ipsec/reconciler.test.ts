import assert from 'node:assert/strict';
import { Reconciler } from '../../../src/ipsec/guard/reconciler.ts';

/** Parts of a kernel, each of which may lack something or fail. */
class Part {
  lacking: string[] = [];
  failure: Error | undefined;
  runs = 0;
  async repair(): Promise<readonly string[]> {
    this.runs++;
    if (this.failure !== undefined) throw this.failure;
    const [...found] = this.lacking;
    this.lacking = [];
    return found;
  }
}

interface Told {
  readonly repaired: string[][];
  readonly soundness: (string | undefined)[];
}

/** @param clock milliseconds, which only the test moves on */
function world(parts: Part[], clock = { now: 0 }) {
  const told: Told = { repaired: [], soundness: [] };
  let wake = Promise.withResolvers<void>();
  const changed = (): void => {
    wake.resolve();
    wake = Promise.withResolvers<void>();
  };
  const reconciler = new Reconciler({
    parts,
    now: () => clock.now,
    onRepaired: (what) => void told.repaired.push([...what]),
    onUnsound: (error) => {
      told.soundness.push(error.message);
      changed();
    },
    onSound: () => {
      told.soundness.push(undefined);
      changed();
    },
  });
  return { reconciler, told, clock, next: () => wake.promise };
}

const until = async (holds: () => boolean): Promise<void> => {
  while (!holds()) await new Promise(setImmediate);
};

describe('reconciler', () => {
  it('P31 repairs all parts in their order, and is quiet when nothing is amiss', async () => {
    const [first, second] = [new Part(), new Part()];
    const { told, reconciler } = world([first, second]);
    await using _ = reconciler;
    first.lacking = ['guard'];
    second.lacking = ['route'];
    reconciler.poke();
    await until(() => told.repaired.length > 0);
    assert.deepEqual(told, { repaired: [['guard', 'route']], soundness: [] });
    assert.ok(reconciler.isSound);
  });

  it('P31 a part that fails stops no other one; it is told once, and when it is over', async () => {
    const [broken, other] = [new Part(), new Part()];
    const { reconciler, told, clock, next } = world([broken, other]);
    await using _ = reconciler;
    broken.failure = new Error('no permission');
    other.lacking = ['route'];
    const unsound = next();
    reconciler.poke();
    await until(() => broken.runs === 1);
    assert.ok(reconciler.isSound, 'once may be an accident');
    clock.now += 1_000;
    await unsound;
    assert.deepEqual(told, { repaired: [['route']], soundness: ['no permission'] });
    assert.equal(reconciler.isSound, false);
    broken.failure = undefined;
    const sound = next();
    clock.now += 20_000;
    await sound;
    assert.deepEqual(told.soundness, ['no permission', undefined]);
  });

  it('P31 what is undone again and again is a failure too, until it stays', async () => {
    const part = new Part();
    const { reconciler, told, clock, next } = world([part]);
    await using _ = reconciler;
    const unsound = next();
    for (let fight = 0; fight < 6; fight++) {
      part.lacking = ['guard'];
      clock.now += 500;
      reconciler.poke();
      await until(() => told.repaired.length > fight);
    }
    await unsound;
    assert.match(String(told.soundness), /again and again/);
    const { runs } = part;
    await until(() => part.runs > runs + 1);
    assert.equal(told.soundness.length, 1, 'it has not been quiet for long enough');
    const sound = next();
    clock.now += 20_000;
    await sound;
    assert.deepEqual(told.soundness.slice(1), [undefined]);
  });

  it('looks no more once it is closed, and waits for what is under way', async () => {
    const part = new Part();
    const { reconciler, told } = world([part]);
    part.lacking = ['guard'];
    reconciler.poke();
    await reconciler[Symbol.asyncDispose]();
    const { runs } = part;
    reconciler.poke();
    await new Promise(setImmediate);
    assert.equal(part.runs, runs);
    assert.deepEqual(told.soundness, []);
  });
});

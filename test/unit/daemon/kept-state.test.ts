import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openKeptStore } from '../../../src/daemon/kept-store.ts';
import { NodeState } from '../../../src/daemon/state.ts';

describe('what a state directory shows that there was', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-state-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  async function open(anew = false): Promise<void> {
    await using state = await NodeState.open(dir, {});
    (await openKeptStore(state, anew)).close();
  }
  const removeStore = async (): Promise<void> => {
    const files = await readdir(dir);
    const those = files.filter((name) => name.startsWith('admission.db'));
    await Promise.all(those.map((name) => rm(join(dir, name))));
  };

  it('P35 an admission store that is missing or empty is made anew only by the operator’s word', async () => {
    await open();
    await open();
    for (const lose of [removeStore, () => truncate(join(dir, 'admission.db'), 0)]) {
      await lose();
      await assert.rejects(open(), {
        code: 'ERR_ADMISSION_STORE_LOST',
        remedy: /restore it.*--new-admission-store/,
      });
      await open(true);
      await open();
    }
    await assert.rejects(open(true), { code: 'ERR_ADMISSION_STORE_THERE' });
  });

  it('P35 an audit log tells of a store that was, too', async () => {
    await writeFile(join(dir, 'audit.log'), '{"sequence":1}\n');
    await using state = await NodeState.open(await mkdtemp(join(dir, 'other-')), {});
    await assert.rejects(openKeptStore(Object.assign(Object.create(state), { dir }), false), {
      code: 'ERR_ADMISSION_STORE_LOST',
    });
  });

  it('P35 a node whose key is gone does not go on as another one', async () => {
    await open();
    await rm(join(dir, 'cache', 'node-key.entry'));
    const lost = { code: 'ERR_NODE_KEY_LOST', message: /admission-store, admission.db/ };
    await assert.rejects(NodeState.open(dir, {}), lost);
    await rm(join(dir, 'cache'), { recursive: true });
    await assert.rejects(NodeState.open(dir, {}), { code: 'ERR_NODE_KEY_LOST' });
  });
});

import assert from 'node:assert/strict';
import type { AuditEntry } from '../../../src/admission/audit.ts';
import { DuplicateDesk } from '../../../src/daemon/duplicate-desk.ts';
import { bytesOnly, identity } from '../overlay/harness.ts';

const service = (await identity()).id;
const member = async () => bytesOnly((await identity()).id, new Uint8Array());

describe('members whose key two machines use', () => {
  it('P34 stand in log, audit log and status, once for as long as it goes on', async () => {
    const logged: string[] = [];
    const audited: AuditEntry[] = [];
    const desk = new DuplicateDesk({
      audit: () => ({ append: async (entry) => void audited.push(entry) }),
      log: (event) => void logged.push(event),
    });
    const twice = await member();
    for (const other of ['y', 'y', 'z'])
      desk.note(service, { member: twice, places: ['x', other] });
    assert.deepEqual(logged, ['duplicate-node']);
    assert.deepEqual(
      audited.map(({ event, peerId, cause }) => [event, peerId, cause]),
      [['duplicate', String(twice.value.peerId), 'two machines use its node key: x and y']],
    );
    const [shown, ...none] = desk.of(service);
    assert.deepEqual([shown?.places, none], [['x', 'z'], []]);
    assert.deepEqual(desk.of((await identity()).id), []);
  });

  it('P5 are remembered in bounds, and before the audit log is open as well', async () => {
    const desk = new DuplicateDesk({ audit: () => undefined, log: () => {} });
    for (let i = 0; i < 300; i++)
      desk.note(service, { member: await member(), places: ['x', 'y'] });
    assert.equal(desk.of(service).length, 256);
  });
});

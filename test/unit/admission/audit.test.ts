import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import fc from 'fast-check';
import {
  type AuditEntry,
  AuditError,
  type AuditFilter,
  AuditLog,
  readAudit,
  verifyAudit,
} from '../../../src/admission/audit.ts';

describe('audit log', () => {
  let folder: string;
  let path: string;
  let now = 0;

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'icvpn-audit-'));
    path = join(folder, 'audit.jsonl');
    now = Date.parse('2026-01-02T03:04:05Z');
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  const entry = (change: Partial<AuditEntry> = {}): AuditEntry => ({
    event: 'admitted',
    serviceId: 'shop',
    peerId: 'peer',
    vmid: 'i-1',
    address: '192.0.2.1',
    ...change,
  });

  async function write(...entries: AuditEntry[]): Promise<void> {
    const log = await AuditLog.open(path, () => now);
    await Promise.all(entries.map((each) => log.append(each)));
    await log.close();
  }

  async function read(filter?: AuditFilter) {
    const records = [];
    for await (const record of readAudit(path, filter)) records.push(record);
    return records;
  }

  const lines = (): string[] => readFileSync(path, 'utf8').split('\n').slice(0, -1);

  it('chains each line to the hash of the one before, over restarts', async () => {
    await write(entry(), entry({ event: 'renewed' }));
    await write(entry({ event: 'revoked', cause: 'lost' }));
    const [first = '', second = '', third = ''] = lines();
    const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');
    assert.equal(JSON.parse(first).previous, '0'.repeat(64));
    assert.equal(JSON.parse(second).previous, sha256(first));
    assert.equal(JSON.parse(third).previous, sha256(second));
    assert.deepEqual(await verifyAudit(path), { sequence: 3, hash: sha256(third) });
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  it('shows any line altered, taken out, put in or swapped', async () => {
    await write(...Array.from({ length: 6 }, (_, i) => entry({ vmid: `i-${i}` })));
    const good = lines();
    const forge = (change: (all: string[]) => void): Promise<unknown> => {
      const all = [...good];
      change(all);
      writeFileSync(path, all.map((line) => `${line}\n`).join(''));
      return assert.rejects(verifyAudit(path), AuditError);
    };
    await forge((all) => all.splice(2, 1, (all[2] ?? '').replace('i-2', 'i-3')));
    await forge((all) => all.splice(2, 1));
    await forge((all) => all.splice(2, 0, all[2] ?? ''));
    await forge((all) => all.splice(1, 2, all[2] ?? '', all[1] ?? ''));
    await forge((all) => all.shift());
    await forge((all) => all.splice(3, 1, '{}'));
    await forge((all) => all.splice(3, 1, 'no JSON'));
    await forge((all) => all.splice(3, 1, ''));
  });

  it('shows that a byte was changed, whichever it is (but in the last line, that nobody follows)', async () => {
    await write(entry(), entry(), entry());
    const good = readFileSync(path);
    const end = good.lastIndexOf(0x0a, good.length - 2);
    await fc.assert(
      fc.asyncProperty(fc.nat(end), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bad = Buffer.from(good);
        bad[at] = (bad[at] ?? 0) ^ change;
        writeFileSync(path, bad);
        await assert.rejects(verifyAudit(path), AuditError);
      }),
      { numRuns: 60 },
    );
  });

  it('names the line, and refuses to go on with a log that does not verify', async () => {
    await write(entry(), entry(), entry());
    writeFileSync(path, readFileSync(path, 'utf8').replace('i-1', 'i-2'));
    await assert.rejects(
      AuditLog.open(path),
      (error) => error instanceof AuditError && error.line === 2,
    );
  });

  it('takes away the end of a line that a crash cut off, and goes on', async () => {
    await write(entry(), entry());
    appendFileSync(path, '{"sequence":3,"time":"2026-01-02T03:0');
    await write(entry({ event: 'renewed' }));
    assert.deepEqual(
      (await read()).map(({ event }) => event),
      ['admitted', 'admitted', 'renewed'],
    );
  });

  it('stays whole when the disk is full: what cannot be written is refused, and nothing before it is lost', async () => {
    const module = new URL('../../../src/admission/audit.ts', import.meta.url).href;
    const script = `
      const { AuditLog } = await import(${JSON.stringify(module)});
      const log = await AuditLog.open(${JSON.stringify(path)});
      let written = 0;
      for (;;) {
        try {
          await log.append({ event: 'admitted', serviceId: 'shop', vmid: 'i-' + written });
          written++;
        } catch {
          break;
        }
      }
      console.log(written);
    `;
    // The file may have 8 KiB: what is written beyond that is cut off, as on a full disk.
    const limited = ['-c', 'ulimit -f 8; exec "$0" --input-type=module -e "$1"'];
    const { stdout } = await promisify(execFile)('bash', [...limited, process.execPath, script]);
    const records = await read();
    assert.equal(records.length, Number(stdout));
    assert.ok(records.length > 10);
    await write(entry({ event: 'renewed' }));
    assert.equal((await read()).length, records.length + 1);
  });

  it('is read by time, VMID, event and service', async () => {
    const log = await AuditLog.open(path, () => now);
    const events = ['admitted', 'renewed', 'revoked', 'guessing'] as const;
    for (const [i, event] of events.entries()) {
      await log.append(entry({ event, vmid: `i-${i % 2}`, serviceId: i < 2 ? 'shop' : 'bank' }));
      now += 1000;
    }
    await log.close();
    const found = async (filter: AuditFilter) =>
      (await read(filter)).map(({ sequence }) => sequence);
    const base = Date.parse('2026-01-02T03:04:05Z');
    assert.deepEqual(await found({}), [1, 2, 3, 4]);
    assert.deepEqual(await found({ vmid: 'i-1' }), [2, 4]);
    assert.deepEqual(await found({ event: 'revoked' }), [3]);
    assert.deepEqual(await found({ serviceId: 'bank' }), [3, 4]);
    const [since, until] = [new Date(base + 1000), new Date(base + 3000)];
    assert.deepEqual(await found({ since, until }), [2, 3]);
    assert.deepEqual(await found({ since, until, vmid: 'i-0' }), [3]);
  });

  it('keeps the order of appends that do not wait for one another', async () => {
    await write(...Array.from({ length: 200 }, (_, i) => entry({ vmid: `i-${i}` })));
    assert.deepEqual(
      (await read()).map(({ vmid }) => vmid),
      Array.from({ length: 200 }, (_, i) => `i-${i}`),
    );
  });

  it('P5 writes one line with a count for refusals without end from one site', async () => {
    const log = await AuditLog.open(path, () => now);
    const refused = (host: number) =>
      entry({ event: 'refused', cause: 'wrong secret', address: `192.0.2.${host}` });
    for (let i = 0; i < 5000; i++) await log.append(refused(i % 250));
    await log.append({ ...refused(1), address: '198.51.100.1' });
    await log.close();
    const records = await read();
    assert.equal(records.length, 12);
    const counted = records.reduce((sum, { count = 1 }) => sum + count, 0);
    assert.equal(counted, 5001);
    assert.ok(records.some(({ address }) => address === '198.51.100.1'));
  });

  it('says what is wrong when there is no log', async () => {
    await assert.rejects(verifyAudit(join(folder, 'none')), AuditError);
  });
});

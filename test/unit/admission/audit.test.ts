import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
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
import { fileSystemError, onFileCalls } from '../files/watched-files.ts';

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

  const why = (records: readonly { event: string; cause?: string | undefined }[]) =>
    records.filter(({ event }) => event === 'segment').map(({ cause }) => cause);
  /** What can be read, and where the chain breaks. */
  async function readOn() {
    const breaks: AuditError[] = [];
    const records = [];
    for await (const record of readAudit(path, {}, (error) => breaks.push(error))) {
      records.push(record);
    }
    return { records, breaks };
  }

  it('P35 a changed byte stops no super-peer, and shows when the log is read', async () => {
    await write(entry(), entry(), entry());
    writeFileSync(path, readFileSync(path, 'utf8').replace('i-1', 'i-2'));
    await write(entry({ event: 'renewed' }));
    const { records, breaks } = await readOn();
    assert.equal(records.length, 4);
    assert.deepEqual(
      breaks.map(({ line }) => line),
      [2],
    );
  });

  it('P35 a damaged last line begins another file that says so, and nothing is thrown away', async () => {
    await write(entry(), entry(), entry());
    const text = readFileSync(path, 'utf8');
    writeFileSync(path, `${text.slice(0, -20)}\n`);
    await write(entry({ event: 'renewed' }));
    const { records, breaks } = await readOn();
    assert.deepEqual(
      records.map(({ event }) => event),
      ['admitted', 'admitted', 'segment', 'renewed'],
    );
    assert.deepEqual(why(records), ['the last line of the file before is damaged']);
    assert.ok(breaks.length > 0);
  });

  it('P35 an emptied, lost or shortened log goes on with a line that says so', async () => {
    await write(entry(), entry(), entry());
    const lose = [
      [() => writeFileSync(path, ''), /is empty or lost; it went to line 3/],
      [() => rmSync(path), /is empty or lost; it went to line 5/],
      [() => writeFileSync(path, `${lines()[0]}\n`), /lines 7 to 7 at least are missing/],
    ] as const;
    for (const [change, cause] of lose) {
      change();
      await write(entry({ event: 'renewed' }));
      const { records, breaks } = await readOn();
      assert.match(why(records).at(-1) ?? '', cause);
      assert.equal(records.at(-1)?.event, 'renewed');
      if (records.length > 2) assert.ok(breaks.length > 0);
    }
  });

  it('P35 goes on in files of a bounded size and number, in one chain', async () => {
    const log = await AuditLog.open(path, () => now++, { maxFile: 1000 });
    for (let i = 0; i < 100; i++) await log.append(entry({ vmid: `i-${i}` }));
    await log.close();
    const { records, breaks } = await readOn();
    assert.deepEqual(breaks, []);
    assert.equal(records.at(-1)?.vmid, 'i-99');
    const all = readdirSync(folder).filter((name) => name.startsWith('audit.jsonl.0'));
    assert.equal(all.length, 8);
    for (const name of readdirSync(folder)) {
      assert.ok(statSync(join(folder, name)).size < 1500, name);
      assert.equal(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    }
    await verifyAudit(path);
    const sequences = records.map(({ sequence }) => sequence);
    const first = sequences[0] ?? 0;
    assert.ok(first > 1, 'the oldest lines have gone');
    assert.deepEqual(
      sequences,
      sequences.map((_, i) => first + i),
    );
    await write(entry());
    assert.deepEqual((await readOn()).breaks, []);
    // A crash between two files.
    renameSync(path, `${path}.${String(records.length + first).padStart(12, '0')}-9999999999999`);
    await write(entry({ event: 'renewed' }));
    assert.deepEqual((await readOn()).breaks, []);
    assert.equal((await readOn()).records.at(-2)?.cause, 'the file before is full');
  });

  it('P35 what gives or takes something is on the disk when it is acknowledged; a refusal need not be', async () => {
    const steps: string[] = [];
    const log = await AuditLog.open(path, () => now);
    await log.close();
    const stop = onFileCalls((call) => steps.push(call));
    try {
      const watched = await AuditLog.open(path, () => now);
      for (const event of ['admitted', 'renewed', 'revoked', 'refused'] as const) {
        steps.length = 0;
        await watched.append(entry({ event }));
        const synced = event === 'refused' ? ['write'] : ['write', 'sync file'];
        assert.deepEqual(steps, synced, event);
      }
      await watched.close();
    } finally {
      stop();
    }
  });

  it('P35 a full disk refuses what is to be written down, and the log tells how much it lacks', async () => {
    let full = false;
    const stop = onFileCalls((call) => {
      if (full && call === 'write') throw fileSystemError('ENOSPC');
    });
    try {
      const log = await AuditLog.open(path, () => now);
      await log.append(entry());
      full = true;
      for (let i = 0; i < 3; i++) {
        await assert.rejects(log.append(entry()), { code: 'ERR_DISK_FULL' });
      }
      full = false;
      await log.append(entry({ event: 'renewed' }));
      await log.close();
    } finally {
      stop();
    }
    const records = await read();
    assert.deepEqual(
      records.map(({ event, count }) => [event, count]),
      [
        ['admitted', undefined],
        ['gap', 3],
        ['renewed', undefined],
      ],
    );
  });

  it('P28 strangers from however many sites, at however many services, write no more than a little', async () => {
    const log = await AuditLog.open(path, () => now);
    const bytes = () => statSync(path).size;
    for (let i = 0; i < 20_000; i++) {
      const address = `10.${i % 200}.${i % 7}.1`;
      await log.append(
        entry({ event: 'refused', serviceId: `s${i}`, cause: `c${i % 3}`, address }),
      );
    }
    assert.ok(bytes() < 60 * 400, `${bytes()} bytes in a minute`);
    await log.close();
    const records = await read();
    assert.ok(records.length <= 60 + 17);
    assert.equal(
      records.reduce((sum, { count = 1 }) => sum + count, 0),
      20_000,
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

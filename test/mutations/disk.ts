/** What was acknowledged is on the disk. */
import type { Mutation } from './mutation.ts';

const RECORD_FILES = ['test/unit/overlay/record-files.test.ts'];
const AUDIT = ['test/unit/admission/audit.test.ts'];

export const DISK_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P35',
    title: 'a record is acknowledged before it is on the disk',
    file: 'src/overlay/record-store.ts',
    find: 'const failure = await unstored?.outcome;',
    replace: 'const failure = unstored === undefined ? await known.outcome : undefined;',
    tests: RECORD_FILES,
  },
  {
    promise: 'P35',
    title: 'revocations are written when there is time',
    file: 'src/overlay/record-store.ts',
    find: 'const unstored = kind.durable ? this.#write(fresh, tell) : undefined;',
    replace: 'const unstored = kind.longest === 0 ? this.#write(fresh, tell) : undefined;',
    tests: RECORD_FILES,
  },
  {
    promise: 'P35',
    title: 'the directory of the records is not synced',
    file: 'src/files/atomic.ts',
    find: '    await syncDirectory(dir);\n    return errors;',
    replace: '    return errors;',
    tests: RECORD_FILES,
  },
  {
    promise: 'P35',
    title: 'audit lines are not synced',
    file: 'src/admission/audit.ts',
    find: 'if (all.some(({ event }) => DURABLE.includes(event))) await this.#file.datasync();',
    replace: '',
    tests: AUDIT,
  },
  {
    promise: 'P35',
    title: 'an emptied audit log begins anew in silence',
    file: 'src/admission/audit.ts',
    find: 'if (noted === undefined || noted.sequence <= (head?.sequence ?? 0)) return undefined;',
    replace: 'if (noted === undefined || head === undefined) return undefined;',
    tests: AUDIT,
  },
  {
    promise: 'P35',
    title: 'a ticket is used up before it is known whether there is an address',
    file: 'src/admission/server-session.ts',
    find: 'this.#checkUse(tickets.ticketUse(ticket, this.#remote.peerId));',
    replace: 'this.#checkUse(tickets.useTicket(ticket, this.#remote.peerId, now));',
    tests: ['test/unit/admission/ticket.test.ts'],
  },
  {
    promise: 'P33',
    title: 'a used ticket that was forgotten is taken again',
    file: 'src/admission/store.ts',
    find: 'WHERE ? > forgotten.not_after',
    replace: 'WHERE ? > 0',
    tests: ['test/unit/admission/store.test.ts'],
  },
  {
    promise: 'P35',
    title: 'a lost admission store is made anew in silence',
    file: 'src/daemon/kept-store.ts',
    find: '{ make: anew || !had }',
    replace: '{ make: had || !had }',
    tests: ['test/unit/daemon/kept-state.test.ts'],
  },
  {
    promise: 'P35',
    title: 'two daemons run on one state directory',
    file: 'src/files/lock.ts',
    find: 'const errno = flock(file.fd, LOCK_EX | LOCK_NB);',
    replace: 'const errno = flock(file.fd, LOCK_NB) & 0;',
    tests: ['test/unit/cli/daemon.test.ts'],
  },
  {
    promise: 'P35',
    title: 'a part that fails to close keeps the daemon there',
    file: 'src/cli/daemon.ts',
    find: '      ended.reject(failure);\n',
    replace: '',
    tests: ['test/unit/cli/daemon.test.ts'],
  },
];

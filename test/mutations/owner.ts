/** The owner's acts: one at a time, over what is published, all or nothing. */
import type { Mutation } from './mutation.ts';

const PUBLISHING = ['test/unit/owner/publishing.test.ts'];
const TRANSACTIONS = ['test/unit/owner/transactions.test.ts'];
const LIST = ['test/unit/owner/list.test.ts'];

export const OWNER_MUTATIONS: readonly Mutation[] = [
  {
    promise: 'P29',
    title: 'two acts are on one directory at once',
    file: 'src/files/lock.ts',
    find: 'const errno = flock(file.fd, LOCK_EX | LOCK_NB);',
    replace: 'const errno = flock(file.fd, LOCK_NB * 2);',
    tests: ['test/unit/files/lock.test.ts', ...PUBLISHING],
  },
  {
    promise: 'P29',
    title: 'a list holds only what this directory knew',
    file: 'src/owner/review.ts',
    find: 'const lists = defined([own.revocations, ...published.revocations]);',
    replace: 'const lists = defined([own.revocations]);',
    tests: PUBLISHING,
  },
  {
    promise: 'P29',
    title: 'a sequence goes back',
    file: 'src/owner/review.ts',
    find: 'Math.max(floor + 1, Date.now());',
    replace: 'Math.min(floor + 1, Date.now());',
    tests: ['test/unit/owner/service.test.ts', ...PUBLISHING],
  },
  {
    promise: 'P33',
    title: 'an old copy goes on with its secret',
    file: 'src/owner/descriptor.ts',
    find: 'change.newSecret || admitAnew || behind !== undefined;',
    replace: 'change.newSecret || admitAnew;',
    tests: PUBLISHING,
  },
  {
    promise: 'P33',
    title: 'an old copy begins an epoch that there was',
    file: 'src/owner/descriptor.ts',
    find: 'newEpoch ? floors.epoch + 1 : terms.epoch;',
    replace: 'newEpoch ? state.descriptor.value.epoch + 1 : terms.epoch;',
    tests: PUBLISHING,
  },
  {
    promise: 'P33',
    title: 'members renew after all secrets were to be replaced',
    file: 'src/owner/descriptor.ts',
    find: 'const previous = admitAnew ? undefined : state.admissionSecrets;',
    replace: 'const previous = state.admissionSecrets;',
    tests: ['test/unit/owner/service.test.ts'],
  },
  {
    promise: 'P29',
    title: 'what some super-peer lacks is told as done',
    file: 'src/cli/owner.ts',
    find: 'if (delivery.whole) return;',
    replace: 'return;',
    tests: PUBLISHING,
  },
  {
    promise: 'P29',
    title: 'bootstrap data is written although its act failed',
    file: 'src/owner/directory.ts',
    find: 'await this.#putBack(staged);',
    replace: 'if (staged !== undefined) await place(staged).catch(() => undefined);',
    tests: TRANSACTIONS,
  },
  {
    promise: 'P29',
    title: 'an act that a crash interrupted is not ended',
    file: 'src/owner/directory.ts',
    find: 'if (staged !== undefined) await place(staged).catch(() => undefined);',
    replace: 'if (staged !== undefined) await unstage(staged);',
    tests: TRANSACTIONS,
  },
  {
    promise: 'P33',
    title: 'bars are forgotten when a credential has ended',
    file: 'src/owner/list.ts',
    find: 'since >= (serial === undefined ? barred : over)',
    replace: 'since >= Math.max(barred, over)',
    tests: LIST,
  },
  {
    promise: 'P33',
    title: 'a ticket that was taken back admits',
    file: 'src/admission/server-session.ts',
    find: 'if (ticket !== undefined && ticketRevoked(service, ticket.id)) {',
    replace: 'if (ticket !== undefined && ticketRevoked(service, new Uint8Array())) {',
    tests: ['test/unit/admission/ticket.test.ts'],
  },
  {
    promise: 'P3',
    title: 'whoever asks is told what a super-peer holds',
    file: 'src/overlay/owner-query.ts',
    find: '!signer.equals(serviceId) || ',
    replace: '',
    tests: ['test/unit/overlay/publish.test.ts'],
  },
  {
    promise: 'P35',
    title: 'a new name is not on the disk when that is said',
    file: 'src/files/atomic.ts',
    find: 'await rename(temporary, path);\n    await syncDirectory(dirname(path));',
    replace: 'await rename(temporary, path);',
    tests: ['test/unit/files/atomic.test.ts'],
  },
];

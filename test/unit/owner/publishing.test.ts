/**
 * The owner's commands against super-peers that run: nothing that was said is lost, whatever happens at once,
 * in part, or to an old copy of the directory.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, readFile, writeFile } from 'node:fs/promises';
import { runCli } from '../../../src/cli/program.ts';
import { readOwner } from '../../../src/owner/directory.ts';
import { parseBootstrap } from '../../../src/records/bootstrap.ts';
import { until } from '../daemon/until.ts';
import { nth } from '../overlay/harness.ts';
import { anyPeerId, OwnerWorld, type Run, TestSuperPeer } from './world.ts';

const CLI = new URL('../../../src/cli/main.ts', import.meta.url).pathname;

/** Another process, as another shell or cron would start it. */
async function elsewhere(...args: string[]): Promise<Run> {
  const child = spawn(process.execPath, [CLI, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [out, err] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [code] = await once(child, 'close');
  return { code: Number(code), out, err };
}

describe("the owner's word", () => {
  let world: OwnerWorld;
  beforeEach(async () => {
    world = await OwnerWorld.make(2);
    await world.done('service', 'publish');
  });
  afterEach(() => world[Symbol.asyncDispose]());
  const everywhere = <T>(ask: (superPeer: (typeof world.superPeers)[number]) => T): T[] =>
    world.superPeers.map(ask);

  it('P29 of four processes that revoke at once, four are in force at every super-peer', async () => {
    const members = await Promise.all(Array.from({ length: 4 }, anyPeerId));
    const runs = await Promise.all(
      members.map((each) => elsewhere('revoke', each, '--dir', world.dir, '--keep-epoch')),
    );
    for (const { code, err } of runs) assert.equal(code, 0, err);
    for (const revoked of everywhere((each) => each.revoked(world.serviceId))) {
      assert.deepEqual(revoked, members.toSorted());
    }
  });

  it('P29 from a restored copy takes no revocation back, and no sequence goes back', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    const [first, second] = [await anyPeerId(), await anyPeerId()];
    await world.done('revoke', first, '--keep-epoch');
    await world.done('revoke', second, '--keep-epoch', '--dir', copy);
    for (const revoked of everywhere((each) => each.revoked(world.serviceId))) {
      assert.deepEqual(revoked, [first, second].toSorted());
    }
    const others = world.path('others');
    await cp(world.dir, others, { recursive: true });
    // A clock that has gone on is all that an old copy has when it asks nobody.
    await world.done('revoke', first, '--keep-epoch');
    await world.done('revoke', first, '--keep-epoch', '--offline', '--dir', others);
    const [mine, theirs] = [await readOwner(world.dir), await readOwner(others)];
    assert.ok((theirs.revocations?.value.sequence ?? 0) > (mine.revocations?.value.sequence ?? 0));
    // Said without a super-peer, on each copy: the next to publish puts it together.
    const [third, fourth] = [await anyPeerId(), await anyPeerId()];
    await world.done('revoke', third, '--keep-epoch', '--offline');
    await world.done('revoke', fourth, '--keep-epoch', '--offline', '--dir', copy);
    assert.match(await world.done('service', 'publish', '--dir', copy), /^published/);
    await world.done('service', 'publish');
    for (const revoked of everywhere((each) => each.revoked(world.serviceId))) {
      assert.deepEqual(revoked, [first, second, third, fourth].toSorted());
    }
  });

  it('P33 from a restored copy never brings an old epoch or a replaced secret back', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    const old = parseBootstrap(await readFile(world.path('shop.json'), 'utf8')).secret;
    for (const flag of ['--new-secret', '--new-epoch']) {
      await world.done('service', 'update', flag, '--bootstrap', world.path('shop.json'));
      await world.done('service', 'publish');
    }
    const epochs = () => everywhere((each) => each.descriptor(world.serviceId)?.epoch);
    assert.deepEqual(epochs(), [3, 3]);
    const refused = await world.icvpn('service', 'publish', '--dir', copy);
    assert.equal(refused.code, 3);
    assert.match(
      refused.err,
      /is an old copy: it holds the secrets of epoch 1, and epoch 3 is pub/,
    );
    assert.deepEqual(epochs(), [3, 3]);
    // A revocation counts all the same.
    const member = await anyPeerId();
    const revoking = await world.icvpn('revoke', member, '--keep-epoch', '--dir', copy);
    assert.equal(revoking.code, 3);
    for (const revoked of everywhere((each) => each.revoked(world.serviceId))) {
      assert.deepEqual(revoked, [member]);
    }

    const file = world.path('new.json');
    const { code, err } = await world.icvpn(
      ...['service', 'update', '--bootstrap', file, '--dir', copy],
    );
    assert.equal(code, 0, err);
    assert.match(err, /was an old copy: the service secret that it held may have been replaced/);
    await world.done('service', 'publish', '--dir', copy);
    assert.deepEqual(epochs(), [4, 4]);
    const { secret } = parseBootstrap(await readFile(file, 'utf8'));
    const between = parseBootstrap(await readFile(world.path('shop.json'), 'utf8')).secret;
    assert.equal(new Set([secret, old, between]).size, 3);
  });

  it('P33 a revocation from a restored copy begins an epoch with a new secret, and says so', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    const { secret } = await readOwner(copy);
    await world.done('service', 'update', '--new-secret');
    await world.done('service', 'publish');
    const { code, err } = await world.icvpn('revoke', await anyPeerId(), '--dir', copy);
    assert.equal(code, 0, err);
    assert.match(
      err,
      /was an old copy: .* has a new one\. Members renew; new VMs need new bootstrap/,
    );
    assert.notEqual((await readOwner(copy)).secret, secret);
    assert.deepEqual(
      everywhere((each) => each.descriptor(world.serviceId)?.epoch),
      [3, 3],
    );
  });

  it('P33 two copies that each begin an epoch do not both call it the same', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    await world.done('service', 'update', '--new-epoch');
    await world.done('service', 'publish');
    await world.done('service', 'update', '--new-epoch', '--dir', copy);
    const { epoch, sequence } = (await readOwner(copy)).descriptor.value;
    assert.equal(epoch, 3);
    assert.ok(sequence > ((await readOwner(world.dir)).descriptor.value.sequence ?? 0));
    await world.done('service', 'publish', '--dir', copy);
  });

  it('P33 two copies that begin the same epoch in silence: the published one stays, the other is told', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    await world.done('service', 'update', '--new-epoch', '--offline');
    await world.done('service', 'update', '--new-epoch', '--offline', '--dir', copy);
    await world.done('service', 'publish');
    const { code, err } = await world.icvpn('service', 'publish', '--dir', copy);
    assert.equal(code, 3);
    assert.match(err, /an old copy: it holds the secrets of epoch 2, and epoch 2 is published/);
    const first = (await readOwner(world.dir)).descriptor.value.sequence;
    assert.deepEqual(
      everywhere((each) => each.descriptor(world.serviceId)?.sequence),
      [first, first],
    );
    await world.done('service', 'update', '--dir', copy);
    await world.done('service', 'publish', '--dir', copy);
    assert.deepEqual(
      everywhere((each) => each.descriptor(world.serviceId)?.epoch),
      [3, 3],
    );
  });

  it('P29 a super-peer named since the copy is not forgotten: its card is asked for', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    await using third = await TestSuperPeer.make();
    await third.start();
    const card = world.path('third.card');
    await writeFile(card, (await third.card()).bytes);
    await world.done('service', 'update', '--super-peer', card);
    await world.done('service', 'publish');
    // Of the same epoch nothing is lacking: secrets stay as they are sealed.
    await world.done('service', 'update', '--dir', copy);
    await world.done('service', 'publish', '--dir', copy);
    assert.equal(third.descriptor(world.serviceId)?.admitters.length, 3);
    const { code, err } = await world.icvpn('revoke', await anyPeerId(), '--dir', copy);
    assert.equal(code, 1);
    assert.match(
      err,
      /names super-peer .*, whose card .*--super-peer, or take it out with --remove/,
    );
    assert.deepEqual(third.revoked(world.serviceId), []);
    await world.done('service', 'update', '--new-epoch', '--super-peer', card, '--dir', copy);
  });

  it('P34 a command that is stopped while it hands over tells what is missing', async () => {
    await nth(world.superPeers, 1).stop();
    const stop = new AbortController();
    const words = ['revoke', await anyPeerId(), '--wait', '3600', '--dir', world.dir];
    let err = '';
    const output = {
      out: () => undefined,
      err: (text: string): void => {
        err += text;
        if (text.includes('still trying')) stop.abort();
      },
    };
    const code = await runCli(words, { output, signal: stop.signal });
    assert.equal(code, 3);
    assert.match(err, /1 of 2 super-peers have not taken what is signed; it is kept/);
  });

  it('P29 what succeeded in part says so by its exit code, is shown, and goes on until whole', async () => {
    const [first, second] = [nth(world.superPeers, 0), nth(world.superPeers, 1)];
    await second.stop();
    const member = await anyPeerId();
    const revoking = await world.icvpn('revoke', member, '--wait', '0', '--json');
    assert.equal(revoking.code, 3);
    const { revoked, renewed } = JSON.parse(revoking.out);
    for (const each of [revoked, renewed]) {
      assert.equal(each[0].failure, null);
      assert.match(each[1].failure, /no answer from/);
    }
    const { code, message } = JSON.parse(revoking.err).error;
    assert.equal(code, 'ERR_NOT_WHOLE');
    assert.match(message, /1 of 2 super-peers have not taken/);
    assert.deepEqual(first.revoked(world.serviceId), [member]);

    const status = await world.icvpn('service', 'status', '--json');
    assert.equal(status.code, 3);
    const { whole, superPeers } = JSON.parse(status.out);
    assert.equal(whole, false);
    assert.equal(superPeers[0].revocations, 'newest');
    assert.match(superPeers[1].failure, /no answer from/);

    await second.start();
    // An act of another kind brings what is missing, too.
    await writeFile(world.path('policy.json'), '{"version":1}');
    await world.done('policy', 'publish', world.path('policy.json'));
    assert.deepEqual(second.revoked(world.serviceId), [member]);
    assert.equal(second.descriptor(world.serviceId)?.epoch, 2);
    assert.match(await world.done('service', 'status'), /newest +newest +newest/);
  });

  it('P29 a super-peer that comes back meanwhile is waited for', async () => {
    const second = nth(world.superPeers, 1);
    await second.stop();
    const member = await anyPeerId();
    const revoking = world.icvpn('revoke', member, '--keep-epoch', '--wait', '40');
    const first = nth(world.superPeers, 0);
    await until('the first has it', () => first.revoked(world.serviceId).length === 1);
    await second.start();
    const { code, err } = await revoking;
    assert.equal(code, 0, err);
    assert.deepEqual(second.revoked(world.serviceId), [member]);
  });

  it('P34 a super-peer that refuses is named with its reason, and not waited for', async () => {
    nth(world.superPeers, 1).allowed = false;
    const { code, out, err } = await world.icvpn('service', 'publish', '--wait', '3600');
    assert.equal(code, 3);
    assert.match(
      out,
      /^published at .*\nnot published at .*: the super-peer refuses: .* does not serve/,
    );
    assert.match(err, /then go on with icvpn service publish --dir/);
  });

  it('P29 a command that signs and reaches nobody changes nothing, unless it is told to', async () => {
    for (const each of world.superPeers) await each.stop();
    const before = await readOwner(world.dir);
    await writeFile(world.path('policy.json'), '{"version":1}');
    const member = await anyPeerId();
    for (const words of [
      ['revoke', member],
      ['service', 'update', '--new-secret'],
      ['policy', 'publish', world.path('policy.json')],
      ['service', 'revoke-ticket', '0123456789abcdef0123456789abcdef'],
    ]) {
      const { code, err } = await world.icvpn(...words);
      assert.equal(code, 1);
      assert.match(err, /none of the 2 super-peers says what is published: .*--offline/);
      assert.deepEqual(await readOwner(world.dir), before);
    }
    await world.done('revoke', member, '--offline');
    for (const each of world.superPeers) await each.start();
    await world.done('service', 'publish');
    for (const revoked of everywhere((each) => each.revoked(world.serviceId))) {
      assert.deepEqual(revoked, [member]);
    }
  });

  it('P33 tickets are taken back, by id and all at once, also by a copy that does not know them', async () => {
    const copy = world.path('copy');
    await cp(world.dir, copy, { recursive: true });
    const make = async (name: string): Promise<string> => {
      const file = ['--bootstrap', world.path(name)];
      return JSON.parse(await world.done('service', 'ticket', ...file, '--json')).ticket;
    };
    const [one, two, three] = [await make('1.json'), await make('2.json'), await make('3.json')];
    await world.done('service', 'revoke-ticket', one);
    await world.done('service', 'revoke-ticket', three, '--dir', copy);
    await world.done('service', 'revoke-ticket', '--all');
    const ids = (await readOwner(world.dir)).revocations?.value.tickets.map(({ id }) =>
      Buffer.from(id).toString('hex'),
    );
    assert.deepEqual(ids?.toSorted(), [one, two, three].toSorted());
    const status = JSON.parse(await world.done('service', 'status', '--json'));
    assert.equal(status.revokedTickets, 3);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { multiaddr } from '@multiformats/multiaddr';
import { forgetSecret, keepService, knownService } from '../../../src/daemon/member/bootstrap.ts';
import { obtainStanding, type StandingWish } from '../../../src/daemon/obtain-standing.ts';
import { hasEnded, loadStanding, saveStanding } from '../../../src/daemon/standing.ts';
import { type Bootstrap, type Log, NodeState, SuperPeer } from '../../../src/index.ts';
import { createHost } from '../../../src/overlay/host.ts';
import { freePort } from '../overlay/free-port.ts';
import { identity } from '../overlay/harness.ts';
import { until } from './until.ts';
import { type Arranged, arrange, publish, servingLog } from './world.ts';

/** Seconds. */
const LIFETIME = 2;

describe('the standing of a member', () => {
  const owned = new AsyncDisposableStack();
  let dir: string;
  let arranged: Arranged;
  let bootstrap: Bootstrap;
  let state: NodeState;
  let wish: StandingWish;
  let logged: string[];
  let vms = 0;

  before(async function () {
    this.timeout(60_000);
    dir = await mkdtemp(join(tmpdir(), 'icvpn-standing-'));
    owned.defer(() => rm(dir, { recursive: true }));
    const signal = AbortSignal.timeout(50_000);
    arranged = await arrange(dir, 1, signal, LIFETIME);
    ({ bootstrap } = arranged.service);
    const { serviceId } = bootstrap;
    const serves = Promise.withResolvers<void>();
    const [place] = arranged.places;
    assert.ok(place);
    const { stateDir, listen } = place;
    owned.use(
      await SuperPeer.start({
        ...{ stateDir, listen: [listen], announce: [], overlay: arranged.overlay, signal },
        ...{ allowedServices: [serviceId], log: servingLog(serviceId, serves.resolve) },
      }),
    );
    await publish(arranged, signal);
    await serves.promise;
  });
  after(() => owned.disposeAsync());

  beforeEach(async () => {
    logged = [];
    state = owned.use(await NodeState.open(join(dir, `vm${vms++}`), {}));
    const host = await createHost({ key: state.key, listen: [], announce: [] });
    owned.defer(() => host.close());
    const log: Log = (event) => void logged.push(event);
    const { serviceId, superPeers, secret } = bootstrap;
    const signal = new AbortController().signal;
    wish = { host, superPeers, serviceId, secret, log, signal, patience: 1 };
  });

  const withoutSecret = (): StandingWish => ({ ...wish, secret: undefined });

  it('is what the cache has, under the name that it was admitted with', async () => {
    const first = await obtainStanding(state, { ...wish, vmid: 'a', roles: ['db'] });
    const again = await obtainStanding(state, withoutSecret());
    // On a slow machine it may have ended: then it was renewed, and not admitted anew.
    assert.ok(again.credential.value.peerId.equals(first.credential.value.peerId));
    assert.deepEqual(again.credential.value.roles, ['db']);
    assert.equal(logged.filter((event) => event === 'was-admitted').length, 1);
    const other = owned.use(await NodeState.open(join(dir, 'nameless'), {}));
    const host = await createHost({ key: other.key, listen: [], announce: [] });
    owned.defer(() => host.close());
    const { credential } = await obtainStanding(other, { ...wish, host });
    assert.equal(credential.value.vmid, hostname());
  });

  it('P34 another name or other roles are not ignored: admitted anew, or refused with the reason', async () => {
    await obtainStanding(state, { ...wish, vmid: 'a', roles: ['db'] });
    for (const change of [{ vmid: 'b' }, { roles: ['db', 'web'] }, { roles: [] }]) {
      await assert.rejects(obtainStanding(state, { ...withoutSecret(), ...change }), {
        code: 'ERR_IDENTITY_CHANGED',
        message: /^this VM was admitted as a with the roles db, not as /,
      });
    }
    const { credential } = await obtainStanding(state, { ...wish, vmid: 'b', roles: ['web'] });
    assert.deepEqual([credential.value.vmid, credential.value.roles], ['b', ['web']]);
    assert.ok(logged.includes('identity-changed'));
    const kept = await loadStanding(state.cache);
    assert.equal(kept?.credential.value.vmid, 'b');
  });

  it('P36 comes back after its credential has ended, without the secret', async () => {
    const first = await obtainStanding(state, { ...wish, vmid: 'a', roles: ['db'] });
    await until('it has ended', () => hasEnded(first));
    const back = await obtainStanding(state, withoutSecret());
    assert.ok(!hasEnded(back));
    const { vmid, roles } = back.credential.value;
    assert.deepEqual([vmid, roles], ['a', ['db']]);
    assert.deepEqual(
      logged.filter((event) => event !== 'was-admitted'),
      ['credential-ended', 'renewed'],
    );
  });

  it('P36 where no super-peer takes the renewal key, a secret helps, and else it is said', async () => {
    const first = await obtainStanding(state, { ...wish, vmid: 'a' });
    await until('it has ended', () => hasEnded(first));
    const renewalKey = Uint8Array.from(first.renewalKey).fill(1, 0, 8);
    await saveStanding(state.cache, { ...first, renewalKey });
    await assert.rejects(obtainStanding(state, withoutSecret()), {
      code: 'ERR_ADMISSION_REFUSED',
      remedy: /--bootstrap/,
    });
    const back = await obtainStanding(state, wish);
    assert.equal(back.credential.value.vmid, 'a');
  });

  it('P36 waits for a super-peer for as long as it takes, and says so', async () => {
    const first = await obtainStanding(state, { ...wish, vmid: 'a' });
    await until('it has ended', () => hasEnded(first));
    const stop = new AbortController();
    const { id: peerId } = await identity();
    const at = multiaddr(`/ip4/127.0.0.1/tcp/${await freePort()}/p2p/${peerId}`);
    const superPeers = [{ peerId, multiaddr: at }];
    const waiting = obtainStanding(state, { ...withoutSecret(), superPeers, signal: stop.signal });
    await until('it says that it waits', () => logged.includes('waiting'));
    stop.abort(new Error('enough'));
    await assert.rejects(waiting, { name: 'AbortError' });
  });

  it('P34 a clock that is behind the credential in the cache is named', async () => {
    await obtainStanding(state, { ...wish, vmid: 'a' });
    const { now } = Date;
    try {
      Date.now = () => now() - 3600_000;
      await assert.rejects(obtainStanding(state, withoutSecret()), {
        code: 'ERR_CLOCK',
        message: /^the clock of this machine is 36\d\d s behind|35\d\d s behind/,
      });
    } finally {
      Date.now = now;
    }
  });

  it('P23 the secret leaves the cache when there is a way back', async () => {
    await keepService(state, bootstrap);
    assert.equal((await knownService(state, undefined)).secret, bootstrap.secret);
    await forgetSecret(state, bootstrap);
    const { secret, ...rest } = await knownService(state, undefined);
    assert.equal(secret, undefined);
    const { secret: _, ...given } = bootstrap;
    assert.deepEqual(
      { ...rest, superPeers: rest.superPeers.map(String) },
      {
        ...given,
        superPeers: given.superPeers.map(String),
      },
    );
  });
});

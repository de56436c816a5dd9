import assert from 'node:assert/strict';
import { Renewal } from '../../../src/daemon/renewal.ts';
import type { Standing } from '../../../src/daemon/standing.ts';
import { createHost } from '../../../src/overlay/host.ts';
import { bytesOnly, descriptorOf, identity } from '../overlay/harness.ts';
import { until } from './until.ts';

describe('renewal at a member', () => {
  const { now } = Date;
  afterEach(() => {
    Date.now = now;
  });

  it('P36 is due by the clock, also when the machine was suspended and its timers stood still', async () => {
    const service = await identity();
    const vm = await identity();
    const host = await createHost({ key: vm.key, listen: [] });
    const seconds = Math.floor(now() / 1000);
    const opened = bytesOnly(vm.id, new Uint8Array());
    const value = { ...opened.value, notBefore: seconds, notAfter: seconds + 86_400 };
    const descriptor = descriptorOf(service.id, []);
    const standing: Standing = {
      credential: { ...opened, value },
      descriptor: { value: descriptor, bytes: new Uint8Array(), signer: service.id },
      epochPsk: new Uint8Array(32),
      renewalKey: new Uint8Array(32),
    };
    let asked = 0;
    const renewal = new Renewal(standing, {
      ...{ host, key: vm.key, serviceId: service.id, log: () => {}, lookEvery: 5 },
      superPeers: () => {
        asked++;
        return [];
      },
      cache: { put: async () => {} },
      onRenewed: () => {},
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(asked, 0, 'nothing is due yet');
    Date.now = () => now() + 100_000_000;
    await until('it asks', () => asked > 0);
    await until('it says why nothing came of it', () => renewal.problem !== undefined);
    assert.match(renewal.problem ?? '', /renews the credential \(none is known\)/);
    await renewal[Symbol.asyncDispose]();
    await host.close();
  });
});

/**
 * An admitted member that knows an old policy only, and offers it: `STATE MULTIADDR FILE`, where FILE
 * holds the old record and MULTIADDR is another member. Prints `{ offered, sequence, superPeer }`: the
 * old sequence, the one that it was told in return, and what a super-peer says to the old record.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { multiaddr } from '@multiformats/multiaddr';
import { loadStanding } from '../../src/daemon/standing.ts';
import { NodeState } from '../../src/daemon/state.ts';
import { TIER_2, Tier } from '../../src/daemon/tier.ts';
import { IcvpnError } from '../../src/errors.ts';
import { createHost } from '../../src/overlay/host.ts';
import { publishRecord } from '../../src/overlay/publish.ts';
import { POLICY_RECORD } from '../../src/overlay/stored-kinds.ts';
import { superPeerAddresses } from '../../src/records/bootstrap.ts';

const [stateDir = '', member = '', file = ''] = process.argv.slice(2);
const signal = AbortSignal.timeout(60_000);
await using state = await NodeState.open(stateDir, {});
const standing = await loadStanding(state.cache);
const [superPeer] = standing ? superPeerAddresses(standing.descriptor.value) : [];
if (standing === undefined || superPeer === undefined) throw new Error('no standing');
const directory = await mkdtemp(join(tmpdir(), 'icvpn-old-'));
const host = await createHost({ key: state.key, listen: [] });
try {
  await using tier = await Tier.start({
    ...{ kind: TIER_2, host, directory, descriptor: standing.descriptor, log: () => {} },
    credential: () => standing.credential.bytes,
  });
  const old = Uint8Array.from(await readFile(file));
  const { opened } = await tier.records.putSealed(POLICY_RECORD, old, { signal });
  await tier.learn([multiaddr(member)], { signal });
  const refusal = await publishRecord(host, superPeer.multiaddr, POLICY_RECORD, old, {
    signal,
  }).catch((error: unknown) => error);
  console.log(
    JSON.stringify({
      offered: opened.value.sequence,
      sequence: tier.trust.policy?.sequence,
      superPeer: refusal instanceof IcvpnError ? refusal.code : 'took it',
    }),
  );
} finally {
  await host.close();
  await rm(directory, { recursive: true });
}

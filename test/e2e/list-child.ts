/**
 * Attaches to the directory as the node of a state directory, once, and prints what came as it came:
 * `{ key, update }`, the attribute key and the sealed list in base64, or `{ refused: code }`.
 */

import { randomBytes } from 'node:crypto';
import { requestAttributeKey } from '../../src/daemon/attribute-protocol.ts';
import { loadStanding } from '../../src/daemon/standing.ts';
import { NodeState } from '../../src/daemon/state.ts';
import { IcvpnError } from '../../src/errors.ts';
import { DIRECTORY_FRAMES, DIRECTORY_SUFFIX, frame } from '../../src/overlay/directory.ts';
import { Gate } from '../../src/overlay/gate.ts';
import { createHost } from '../../src/overlay/host.ts';
import { AddressPlan } from '../../src/records/address-plan.ts';
import { superPeerAddresses } from '../../src/records/bootstrap.ts';
import { MessageStream } from '../../src/wire/message-stream.ts';

await using state = await NodeState.open(process.argv[2] ?? '', {});
const standing = await loadStanding(state.cache);
const at = standing && superPeerAddresses(standing.descriptor.value)[0]?.multiaddr;
if (standing === undefined || at === undefined) throw new Error('no standing');
const { serviceId, epoch } = standing.credential.value;
const admitters = standing.descriptor.value.admitters.map(({ peerId }) => peerId);
const host = await createHost({ key: state.key, listen: [] });
const gate = new Gate(host, {
  overlayId: serviceId,
  credential: () => standing.credential.bytes,
  trust: () => ({ epoch, admitters, addresses: new AddressPlan(standing.descriptor.value) }),
});
await gate.start();
const signal = AbortSignal.timeout(60_000);
try {
  const key = await requestAttributeKey(gate, at, { signal });
  const stream = await gate.open(at, DIRECTORY_SUFFIX, { signal });
  const frames = new MessageStream(stream, DIRECTORY_FRAMES);
  const attach = { nonce: randomBytes(32), session: Date.now(), multiaddrs: [], known: undefined };
  await frames.write(frame({ attach }), { signal });
  const { update = new Uint8Array() } = await frames.read({ signal });
  await frames.write(frame({ goodbye: 1 }), { signal });
  const [keyText, updateText] = [key, update].map((each) => Buffer.from(each).toString('base64'));
  console.log(JSON.stringify({ key: keyText, update: updateText }));
} catch (error) {
  if (!(error instanceof IcvpnError)) throw error;
  console.log(JSON.stringify({ refused: error.code }));
} finally {
  await gate.close();
  await host.close();
}

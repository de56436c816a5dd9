/** Uses every part of the overlay once and closes it; the process must then end by itself. */
import type { Trust } from '../../../src/overlay/gate.ts';
import { PublishServer } from '../../../src/overlay/publish.ts';
import {
  addresses,
  credentialFor,
  identity,
  listen,
  MemberNode,
  SuperPeer,
  trustIn,
} from './harness.ts';

const [overlay, service, one, two] = [
  await identity(),
  await identity(),
  await identity(),
  await identity(),
];
const trust = (): Trust => trustIn([one.id]);
const host = await listen(one.key);
const superPeer = new SuperPeer(host, one.key, overlay.id, trust, service.id, trust);
await superPeer.start();
const { records } = superPeer.tier1;
const publisher = new PublishServer({ host, records, allow: () => true });
await publisher.start();
const credential = await credentialFor(service.id, one.key, two.id);
const member = new MemberNode(await listen(two.key), two.key, service.id, credential, trust, () => [
  addresses(host),
]);
await member.start();
await member.directory.attach();
await member.directory.goodbye();
await member.close();
await publisher.close();
await superPeer.close();
process.stdout.write('closed\n');

import { createInterface } from 'node:readline';
import { DataPlane } from '../../../src/ipsec/dataplane.ts';

// A gateway's data plane with one peer, to be killed. Takes what to open and the peer as one line of
// JSON, says `open`, then holds it.

for await (const line of createInterface({ input: process.stdin })) {
  const { options, peer, underlay } = JSON.parse(line);
  const plane = await DataPlane.open(options);
  await plane.addPeer(peer, underlay);
  process.stdout.write('open\n');
}

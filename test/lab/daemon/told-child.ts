/** Prints the addresses that a node listening everywhere would tell others. @param argv.2 a super-peer's address */
import { generateKeyPair } from '@libp2p/crypto/keys';
import { OwnAddresses } from '../../../src/daemon/own-addresses.ts';
import { createHost } from '../../../src/overlay/host.ts';

const own = new OwnAddresses({
  virtual: [],
  superPeers: () => process.argv.slice(2),
  log: (event, fields) => process.stderr.write(`${event} ${JSON.stringify(fields)}\n`),
});
await own.refresh();
const host = await createHost({
  key: await generateKeyPair('Ed25519'),
  listen: ['/ip4/0.0.0.0/tcp/4242', '/ip6/::/tcp/4242'],
  announceFilter: own.announced,
});
process.stdout.write(`${JSON.stringify(host.multiaddrs())}\n`);
await host.close();

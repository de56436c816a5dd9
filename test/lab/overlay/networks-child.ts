/**
 * Peers of one overlay at the addresses given, and a node that finds them through the last of them, twice:
 * with the limit of tier 1 (two of a network in a bucket), and with none. Prints what is in its routing tables.
 */
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { TIER_1 } from '../../../src/daemon/tier.ts';
import { Dht, type DhtOptions } from '../../../src/overlay/dht.ts';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import { createHost, type Host } from '../../../src/overlay/host.ts';
import { RecordStore } from '../../../src/overlay/record-store.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { addresses, credentialFor, identity, trustIn } from '../../unit/overlay/harness.ts';

const [overlay, superPeer] = [await identity(), await identity()];
const trust = (): Trust => trustIn([superPeer.id]);

async function node(listen: string | undefined, options?: DhtOptions) {
  const key = await generateKeyPair('Ed25519');
  const id = peerIdFromPrivateKey(key);
  const host = await createHost({ key, listen: listen === undefined ? [] : [listen] });
  const credential = await credentialFor(overlay.id, superPeer.key, id);
  const shown = () => credential.bytes;
  const gate = new Gate(host, { overlayId: overlay.id, credential: shown, trust });
  const dht = new Dht(gate, new RecordStore({ kinds: [DESCRIPTOR_RECORD] }), options);
  await gate.start();
  await dht.start();
  return { id, host, dht };
}

type Node = Awaited<ReturnType<typeof node>>;
const peers: (Node & { readonly listen: string })[] = [];
for (const listen of process.argv.slice(2)) {
  const peer = await node(listen);
  await peer.dht.join(peers.slice(0, 1).map(({ host }) => addresses(host)));
  peers.push({ ...peer, listen });
}
const entry = peers.at(-1)?.host;
if (entry === undefined) throw new Error('no peers');

/** It does not listen, so that every connection of it leads to an address of the list. */
async function explore(from: Host, options?: DhtOptions): Promise<object> {
  const { id, dht } = await node(undefined, options);
  await dht.join([addresses(from)]);
  for (let i = 0; i < 6; i++) await dht.closest(`key ${i}`);
  return { self: id.toString(), table: dht.peers().map(String) };
}

const known = peers.map(({ id, listen }) => ({ id: id.toString(), listen }));
// As super-peers have it.
const { maxPerNetwork = Number.POSITIVE_INFINITY } = TIER_1;
const [limited, free] = [await explore(entry, { maxPerNetwork }), await explore(entry)];
console.log(JSON.stringify({ known, limited, free }));
process.exit(0);

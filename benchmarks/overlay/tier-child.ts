/** Some of the nodes of a tier 2, as a process of its own. Started by `lookup.ts`. */
import { privateKeyFromProtobuf } from '@libp2p/crypto/keys';
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import type { Trust } from '../../src/overlay/gate.ts';
import {
  addresses,
  credentialFor,
  identity,
  listen,
  Tier,
} from '../../test/unit/overlay/harness.ts';
import { offer } from '../child.ts';

export interface TierCalls {
  /** Keys in base64. */
  readonly start: readonly [{ readonly service: string; readonly superPeer: string }, null];
  /**
   * Starts so many nodes that join by nodes with these addresses, or by nobody.
   *
   * @returns the addresses of each
   */
  readonly join: readonly [
    { readonly count: number; readonly known: readonly Addresses[] },
    readonly Addresses[],
  ];
  /** Looks up one key for each number, each from another node. */
  readonly lookup: readonly [{ readonly numbers: readonly number[] }, readonly Found[]];
  /** Peers in the routing table of each. */
  readonly tables: readonly [null, readonly number[]];
}

type Addresses = readonly string[];

export interface Found {
  readonly hops: number;
  readonly questions: number;
  readonly ms: number;
}

const tiers: Tier[] = [];
let keys:
  | { readonly service: Ed25519PrivateKey; readonly superPeer: Ed25519PrivateKey }
  | undefined;

function ed25519(base64: string): Ed25519PrivateKey {
  const key = privateKeyFromProtobuf(Buffer.from(base64, 'base64'));
  if (key.type !== 'Ed25519') throw new Error('an Ed25519 key');
  return key;
}

async function join(known: readonly Addresses[]): Promise<Addresses> {
  if (keys === undefined) throw new Error('start first');
  const [service, superPeer] = [keys.service, keys.superPeer].map(peerIdFromPrivateKey);
  if (service?.type !== 'Ed25519' || superPeer?.type !== 'Ed25519') throw new Error('Ed25519');
  const { key, id } = await identity();
  const credential = await credentialFor(service, keys.superPeer, id);
  const trust = (): Trust => ({ epoch: 1, admitters: [superPeer] });
  const tier = new Tier(await listen(key), service, () => credential.bytes, trust);
  await tier.start();
  const targets = known.map((each) => each.map((text) => multiaddr(text)));
  // On a busy machine a handshake may run out of time.
  for (let tries = 5; targets.length > 0 && tries > 0; tries--) {
    if ((await tier.dht.join(targets).catch(() => 0)) > 0) break;
  }
  await tier.dht.closest(id.toString());
  tiers.push(tier);
  return addresses(tier.gate.host).map(String);
}

offer<TierCalls>({
  async start({ service, superPeer }) {
    keys = { service: ed25519(service), superPeer: ed25519(superPeer) };
    return null;
  },
  join: ({ count, known }) => Promise.all(Array.from({ length: count }, () => join(known))),
  async lookup({ numbers }) {
    const all: Found[] = [];
    for (const number of numbers) {
      const tier = tiers[number % tiers.length];
      if (tier === undefined) throw new Error('join first');
      const began = performance.now();
      const { hops, questions } = await tier.dht.closest(`key ${number}`);
      all.push({ hops, questions, ms: performance.now() - began });
    }
    return all;
  },
  tables: async () => tiers.map(({ dht }) => dht.size),
});

/** Some of the nodes of a tier 2, as a process of its own. Started by `lookup.ts`. */
import { multiaddr } from '@multiformats/multiaddr';
import type { Trust } from '../../src/overlay/gate.ts';
import {
  addresses,
  credentialFor,
  type Identity,
  identity,
  listen,
  nth,
  Tier,
  trustIn,
} from '../../test/unit/overlay/harness.ts';
import { offer } from '../child.ts';
import { identityFrom } from './identity-text.ts';
import { joinPatiently } from './join.ts';

export interface TierCalls {
  /** As `identity-text.ts` writes them. */
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
  /** Looks up the key of that number, each from another node. */
  readonly lookup: readonly [{ readonly number: number }, Found];
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
let identities: { readonly service: Identity; readonly superPeer: Identity } | undefined;

async function join(known: readonly Addresses[]): Promise<Addresses> {
  if (identities === undefined) throw new Error('start first');
  const { service, superPeer } = identities;
  const { key, id } = await identity();
  const credential = await credentialFor(service.id, superPeer.key, id);
  const trust = (): Trust => trustIn([superPeer.id]);
  const tier = new Tier(await listen(key), service.id, () => credential.bytes, trust);
  await tier.start();
  const targets = known.map((each) => each.map((text) => multiaddr(text)));
  await joinPatiently(tier.dht, targets);
  await tier.dht.closest(id.toString());
  tiers.push(tier);
  return addresses(tier.gate.host).map(String);
}

offer<TierCalls>({
  async start({ service, superPeer }) {
    identities = { service: identityFrom(service), superPeer: identityFrom(superPeer) };
    return null;
  },
  join: ({ count, known }) => Promise.all(Array.from({ length: count }, () => join(known))),
  async lookup({ number }) {
    const tier = nth(tiers, number % tiers.length);
    const began = performance.now();
    const { hops, questions } = await tier.dht.closest(`key ${number}`);
    return { hops, questions, ms: performance.now() - began };
  },
  tables: async () => tiers.map(({ dht }) => dht.size),
});

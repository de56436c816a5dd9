import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { peerIdFromString } from '@libp2p/peer-id';
import { createNetns, type Netns } from '../netns.ts';

// On the wire: peers at addresses of four networks, and a node that learns of them from one another.
//
//   10.1.0.0/16   ten of one that rents many addresses in one place
//   fd00:1:1::/48 ten more of the same
//   10.2.0.0/16   two            10.3.0.0/16   the one through which the node comes

interface Explored {
  readonly self: string;
  readonly table: readonly string[];
}

interface Found {
  readonly known: readonly { readonly id: string; readonly listen: string }[];
  readonly limited: Explored;
  readonly free: Explored;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);

describe('networks of the routing table', function () {
  this.timeout(480_000);
  let ns: Netns;
  let found: Found;
  before(async () => {
    ns = await createNetns('networks');
    const many = range(10).flatMap((i) => [`10.1.${i}.1`, `fd00:1:1:${i}::1`]);
    const all = [...many, ...range(2).map((i) => `10.2.${i}.1`), '10.3.0.1'];
    for (const address of all) {
      await ns.ip('address', 'add', `${address}/${address.includes(':') ? 128 : 32}`, 'dev', 'lo');
    }
    const listen = all.map((each) => `/${each.includes(':') ? 'ip6' : 'ip4'}/${each}/tcp/4001`);
    await using child = ns.node(new URL('./networks-child.ts', import.meta.url), listen);
    found = parse(await child.line(450_000));
  });
  after(() => ns[Symbol.asyncDispose]());

  it('has at most two of a /16 or /48 in each bucket, whatever peers say of one another', () => {
    const counts = places(found.limited);
    assert.ok(found.limited.table.length > 2);
    for (const [place, count] of counts) assert.ok(count <= 2, `${count} of ${place}`);
    const networks = new Set([...counts.keys()].map((place) => place.split(' ')[1]));
    assert.ok(networks.has('10.1') && networks.has('10.2'), [...networks].join());
  });

  it('would have more without the limit', () => {
    assert.ok(Math.max(...places(found.free).values()) > 2);
    assert.ok(found.free.table.length > found.limited.table.length);
  });

  /** Of each bucket and network, how many are in the table. */
  function places({ self, table }: Explored): Map<string, number> {
    const counts = new Map<string, number>();
    for (const id of table) {
      const listen = found.known.find((each) => each.id === id)?.listen;
      const address = listen?.split('/')[2] ?? '';
      const network = address.includes(':')
        ? address.split(':').slice(0, 3).join(':')
        : address.split('.').slice(0, 2).join('.');
      const place = `${commonBits(self, id)} ${network}`;
      counts.set(place, (counts.get(place) ?? 0) + 1);
    }
    return counts;
  }
});

/** How many leading bits two peers share in Kademlia's key space. */
function commonBits(a: string, b: string): number {
  const [one, two] = [a, b].map((id) => {
    const { bytes } = peerIdFromString(id).toMultihash();
    return [...createHash('sha256').update(bytes).digest()]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('');
  });
  let bits = 0;
  while (bits < 256 && one?.[bits] === two?.[bits]) bits++;
  return bits;
}

const parse = (line: string): Found => JSON.parse(line);

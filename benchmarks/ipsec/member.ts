/**
 * One of two members, without admission and directory: a data plane, a libp2p host, and the exchange
 * on a stream between two of them as soon as the kernel asks for keys.
 *
 * Takes a Setup as the first line, says its multiaddr; takes the peer's; then commands, each answered
 * with `done`: `drop` removes the SAs, `cold` also closes the connection.
 */
import { createInterface } from 'node:readline';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { multiaddr } from '@multiformats/multiaddr';
import { DataPlane } from '../../src/ipsec/dataplane.ts';
import {
  EXCHANGE_PROTOCOL_SUFFIX,
  type ExchangeHooks,
  type ExchangeResult,
  runInitiator,
  runResponder,
} from '../../src/keymgmt/exchange/protocol.ts';
import { createHost } from '../../src/overlay/host.ts';
import { A, B, OPTIONS, reversed, UNDERLAYS } from '../../test/lab/ipsec/planes.ts';
import { contextOf, idOf, issue } from '../../test/unit/exchange/fixture.ts';

export interface Setup {
  readonly role: 'a' | 'b';
  /** 32 bytes each, hexadecimal. */
  readonly seeds: Record<'owner' | 'superPeer' | 'a' | 'b' | 'psk', string>;
}

const PROTOCOL = `/icvpn/benchmark/${EXCHANGE_PROTOCOL_SUFFIX}`;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const line = async (): Promise<string> => (await lines.next()).value ?? 'null';
const say = (line: unknown) => process.stdout.write(`${JSON.stringify(line)}\n`);

const setup: Setup = JSON.parse(await line());
const key = (name: keyof Setup['seeds']) =>
  generateKeyPairFromSeed('Ed25519', Buffer.from(setup.seeds[name], 'hex'));
const service = {
  owner: await key('owner'),
  superPeer: await key('superPeer'),
  psk: Buffer.from(setup.seeds.psk, 'hex'),
  epoch: 1,
};
const [own, peer] = setup.role === 'a' ? [A, B] : [B, A];
const ownKey = await key(setup.role);
const remote = idOf(await key(setup.role === 'a' ? 'b' : 'a'));
const underlay = setup.role === 'a' ? UNDERLAYS.IPv4 : reversed(UNDERLAYS.IPv4);
const local = { key: ownKey, credential: await issue(service, ownKey) };

await using stack = new AsyncDisposableStack();
const { virtualAddresses } = own;
const dataPlane = stack.use(await DataPlane.open({ ...OPTIONS, virtualAddresses }));
const host = await createHost({ key: ownKey, listen: [`/ip4/${underlay.local}/tcp/4242`] });
stack.defer(() => host.close());
say(host.multiaddrs().find((each) => each.includes(underlay.local)));
const at = multiaddr(JSON.parse(await line()));

let established = Promise.withResolvers<ExchangeResult>();
const context = contextOf(service, local, remote);
const peerId = remote.toString();
await dataPlane.addPeer({ id: peerId, virtualAddresses: peer.virtualAddresses }, underlay);
const hooks: ExchangeHooks = {
  allocateSpi: () => dataPlane.allocateSpi(peerId),
  installInbound: ({ inbound }) => dataPlane.installInbound(peerId, inbound.spi, inbound),
  installOutbound: ({ outbound }) => dataPlane.installOutbound(peerId, outbound.spi, outbound),
  release: async () => undefined,
};
async function exchange(run: () => Promise<ExchangeResult>): Promise<void> {
  try {
    established.resolve(await run());
  } catch (error) {
    established.reject(error);
  }
}
let asked = false;
dataPlane.on('acquire', () => {
  // The kernel asks again while the first packet waits.
  if (asked) return;
  asked = true;
  void exchange(async () => {
    const stream = await host.libp2p.dialProtocol(at, PROTOCOL);
    return runInitiator(stream, context, hooks);
  });
});
await host.libp2p.handle(PROTOCOL, (stream) => {
  void exchange(() => runResponder(stream, context, hooks));
});
say('ready');

for await (const said of { [Symbol.asyncIterator]: () => lines }) {
  const command: unknown = JSON.parse(said);
  const { inboundSpi, outboundSpi } = await established.promise;
  established = Promise.withResolvers();
  asked = false;
  await dataPlane.removeSa(peerId, outboundSpi, 'out');
  await dataPlane.removeSa(peerId, inboundSpi, 'in');
  if (command === 'cold') await host.libp2p.hangUp(remote);
  say('done');
}

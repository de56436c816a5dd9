/** An overlay and a service on this machine, and VMs that come to it from addresses of their own. */
import { join } from 'node:path';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { identify } from '@libp2p/identify';
import type { Ed25519PeerId, Ed25519PrivateKey, Stream } from '@libp2p/interface';
import type { KadDHTComponents } from '@libp2p/kad-dht';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { createLibp2p } from 'libp2p';
import type { Admission } from '../../../src/admission/client.ts';
import { ADMISSION_PROTOCOL, requestAdmission } from '../../../src/admission/client.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import {
  type Bootstrap,
  createService,
  type Log,
  makeCard,
  NodeState,
  openCard,
  publishAtAll,
  type SuperPeerAddress,
} from '../../../src/index.ts';
import { Arrivals } from '../../../src/overlay/arrivals.ts';
import { Guards } from '../../../src/overlay/guard/guards.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { DESCRIPTOR_RECORD } from '../../../src/overlay/stored-kinds.ts';
import { Strangers } from '../../../src/overlay/strangers.ts';
import { Surplus } from '../../../src/overlay/surplus.ts';
import { freePort } from '../overlay/free-port.ts';

/** What the start of one super-peer takes. */
export interface Place {
  readonly stateDir: string;
  readonly listen: string;
}

export interface Arranged {
  readonly places: readonly Place[];
  readonly overlay: Bootstrap;
  readonly service: Awaited<ReturnType<typeof createService>>;
}

/** Makes an overlay of `count` super-peers and a service that they all serve; starts nothing. */
export async function arrange(
  dir: string,
  count: number,
  signal: AbortSignal,
  /** Of credentials, in seconds. */
  credentialLifetime = 3600,
): Promise<Arranged> {
  const places: Place[] = [];
  const superPeers = [];
  for (let i = 0; i < count; i++) {
    const listen = `/ip4/127.0.0.1/tcp/${await freePort()}`;
    const place = { stateDir: join(dir, `sp${i}`), listen };
    await using state = await NodeState.open(place.stateDir, {});
    superPeers.push(await openCard(await makeCard(state, [parseTcpMultiaddr(place.listen)])));
    places.push(place);
  }
  const common = { superPeers, credentialLifetime, signal };
  const prefixes = { overlay: '100.127.0.0', shop: '100.64.0.0' };
  const create = (name: keyof typeof prefixes) =>
    createService({
      ...{ ...common, name, dir: join(dir, name) },
      ipv4Prefix: { network: prefixes[name], length: 16 },
      overlay: name === 'overlay',
    });
  const { bootstrap: overlay } = await create('overlay');
  return { places, overlay, service: await create('shop') };
}

/** Hands the service's descriptor to the super-peers, which must run. */
export async function publish({ service }: Arranged, signal: AbortSignal): Promise<void> {
  const { descriptor } = service;
  await publishAtAll(descriptor.value, DESCRIPTOR_RECORD, descriptor.bytes, { signal });
}

/** A log that tells when a super-peer begins to serve a service, which is soon after `publish`. */
export function servingLog(serviceId: Ed25519PeerId, onServes: () => void): Log {
  return (event, { service } = {}) => {
    if (event === 'serves' && String(service) === serviceId.toString()) onServes();
  };
}

/** A node as `createHost` makes it, except that it dials from `address`. */
export async function hostFrom(
  address: string,
  listen: string[] = [],
): Promise<Host & { key: Ed25519PrivateKey }> {
  const key = await generateKeyPair('Ed25519');
  const dialOpts = { noDelay: true, localAddress: address };
  const libp2p = await createLibp2p({
    privateKey: key,
    addresses: { listen },
    transports: [tcp({ dialOpts })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux({ enableKeepAlive: false })],
    connectionMonitor: { enabled: false },
    services: {
      identify: identify({ runOnConnectionOpen: false }),
      ping: ping(),
      inside: (components: KadDHTComponents) => ({ components }),
    },
  });
  return {
    ...{ key, libp2p, peerId: peerIdFromPrivateKey(key) },
    components: libp2p.services.inside.components,
    strangers: new Strangers(() => libp2p.getConnections()),
    arrivals: new Arrivals(),
    guards: new Guards(() => true),
    surplus: new Surplus(() => libp2p.getConnections()),
    identify: (connection) => void libp2p.services.identify.identify(connection),
    multiaddrs: () => [parseTcpMultiaddr(`/ip4/${address}/tcp/4242`)],
    close: async () => libp2p.stop(),
  };
}

/** The n-th address of 127.0.0.0/8 that is a host of its own, 50 of them in each /24. */
export function loopbackAddress(n: number): string {
  const site = Math.floor(n / 50);
  return `127.${1 + (site >> 8)}.${site & 255}.${1 + (n % 50)}`;
}

export type Vm = Awaited<ReturnType<typeof hostFrom>>;

export async function admissionStream(vm: Vm, at: SuperPeerAddress): Promise<Stream> {
  const signal = AbortSignal.timeout(30_000);
  return vm.libp2p.dialProtocol(at.multiaddr, ADMISSION_PROTOCOL, { signal });
}

/** A whole admission: dial, Noise, SRP, confirmation, credential, membership record. */
export async function admit(
  vm: Vm,
  at: SuperPeerAddress,
  { serviceId, secret }: Bootstrap,
): Promise<Admission> {
  return requestAdmission(await admissionStream(vm, at), {
    ...{ key: vm.key, superPeer: at.peerId, serviceId, secret, roles: [] },
    ...{ vmid: `i-${vm.peerId.toString().slice(-12)}`, multiaddrs: vm.multiaddrs() },
  });
}

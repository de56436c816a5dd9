/** A service, its super-peers and VMs, on libp2p over the loopback interface. */
import assert from 'node:assert/strict';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Ed25519PeerId, Ed25519PrivateKey, Stream } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { createLibp2p, type Libp2p } from 'libp2p';
import {
  type AdmissionSecrets,
  generateSealingKey,
  makeAdmissionSecrets,
  sealSecrets,
} from '../../../src/admission/sealed.ts';
import { makeServiceSecret } from '../../../src/admission/secret.ts';
import {
  ADMISSION_PROTOCOL,
  AdmissionServer,
  type AdmissionServerOptions,
  type Applicant,
  type ServedService,
} from '../../../src/admission/server.ts';
import { SrpPool } from '../../../src/admission/srp/pool.ts';
import type { Credential } from '../../../src/records/credential.ts';
import {
  DESCRIPTOR,
  openDescriptor,
  type ServiceDescriptor,
} from '../../../src/records/descriptor.ts';
import { type Opened, seal } from '../../../src/records/envelope.ts';
import { Ipv4Pool } from '../../../src/records/virtual-address.ts';

export interface Identity {
  readonly key: Ed25519PrivateKey;
  readonly id: Ed25519PeerId;
}

export async function makeIdentity(): Promise<Identity> {
  const key = await generateKeyPair('Ed25519');
  const id = peerIdFromPrivateKey(key);
  return { key, id };
}

export interface Service {
  readonly owner: Identity;
  readonly secret: string;
  readonly served: ServedService;
}

/** A service of `owner`'s that `superPeers` may admit to. */
export async function makeService(
  superPeers: readonly Ed25519PeerId[],
  options: {
    owner?: Identity;
    secret?: string;
    change?: Partial<ServiceDescriptor>;
    secrets?: AdmissionSecrets;
  } = {},
): Promise<Service> {
  const owner = options.owner ?? (await makeIdentity());
  const secret = options.secret ?? makeServiceSecret();
  const secrets = options.secrets ?? (await makeAdmissionSecrets({ serviceId: owner.id, secret }));
  const admitters = await Promise.all(
    superPeers.map(async (superPeer, i) => {
      const sealingKey = generateSealingKey().publicKey;
      const to = { serviceId: owner.id, superPeer, sealingKey };
      const sealedSecrets = await sealSecrets(secrets, to);
      return {
        peerId: superPeer,
        multiaddrs: [],
        range: { first: 16 * i, count: 16 },
        sealedSecrets,
      };
    }),
  );
  const descriptor: ServiceDescriptor = {
    serviceId: owner.id,
    name: 'shop',
    sequence: 1,
    epoch: 1,
    ipv4Prefix: { network: '100.64.0.0', length: 16 },
    credentialLifetime: 3600,
    attributePublicKey: undefined,
    epochId: undefined,
    retired: [],
    admitters,
    ...options.change,
  };
  const bytes = await seal(DESCRIPTOR, descriptor, owner.key);
  return { owner, secret, served: { descriptor: await openDescriptor(bytes), secrets } };
}

export async function makeNode(key: Ed25519PrivateKey): Promise<Libp2p> {
  return createLibp2p({
    privateKey: key,
    addresses: { listen: ['/ip4/127.0.0.1/tcp/0'] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { inboundConnectionThreshold: 10_000, maxIncomingPendingConnections: 1000 },
  });
}

export interface AdmittedRecord {
  readonly applicant: Applicant;
  readonly credential: Opened<Credential>;
}

export interface SuperPeer extends Identity {
  readonly node: Libp2p;
  readonly server: AdmissionServer;
  readonly admitted: AdmittedRecord[];
  /** By ServiceID; tests add to it and take away. */
  readonly services: Map<string, ServedService>;
}

/** One for all tests: it takes a third of a second to start. It keeps no process alive. */
const srp = new SrpPool();

/** Nodes and servers that a test made, to be stopped after it. */
export class World {
  readonly #stops: (() => Promise<void>)[] = [];

  async node(key: Ed25519PrivateKey): Promise<Libp2p> {
    const node = await makeNode(key);
    this.#stops.push(() => Promise.resolve(node.stop()));
    return node;
  }

  async superPeer(
    identity: Identity,
    options: Partial<AdmissionServerOptions> = {},
  ): Promise<SuperPeer> {
    const node = await this.node(identity.key);
    const admitted: AdmittedRecord[] = [];
    const services = new Map<string, ServedService>();
    const taken = new Set<string>();
    const server = new AdmissionServer({
      key: identity.key,
      srp,
      services: (id) => services.get(id),
      async leaseIpv4(service, peerId) {
        const { serviceId, ipv4Prefix, admitters } = service.descriptor.value;
        const own = admitters.find((each) => each.peerId.equals(identity.id));
        assert.ok(own);
        const pool = new Ipv4Pool(ipv4Prefix, own.range);
        const ipv4 = pool.pick(serviceId, peerId, (a) => taken.has(a));
        assert.ok(ipv4);
        taken.add(ipv4);
        return { ipv4, since: 1000 };
      },
      onAdmitted: async (_service, applicant, credential) => {
        admitted.push({ applicant, credential });
      },
      ...options,
    });
    this.#stops.push(() => server.close());
    await node.handle(ADMISSION_PROTOCOL, (stream, connection) =>
      server.handle(stream, connection),
    );
    return { ...identity, node, server, admitted, services };
  }

  async stop(): Promise<void> {
    await Promise.all(this.#stops.splice(0).map((stop) => stop()));
  }
}

/** Opens an admission stream from one node to another. */
export async function dial(from: Libp2p, to: Libp2p): Promise<Stream> {
  const connection = await from.dial(to.getMultiaddrs());
  return connection.newStream(ADMISSION_PROTOCOL);
}

export function serve(superPeer: SuperPeer, ...services: Service[]): void {
  for (const { owner, served } of services) superPeer.services.set(owner.id.toString(), served);
}

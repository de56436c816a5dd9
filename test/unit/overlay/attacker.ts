/** A node that keeps to no rule of Yamux, of multistream-select or of the protocols above. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { noise } from '@chainsafe/libp2p-noise';
import { yamux } from '@chainsafe/libp2p-yamux';
import { generateKeyPair } from '@libp2p/crypto/keys';
import type {
  Connection,
  Ed25519PrivateKey,
  MessageStream,
  Stream,
  StreamMuxer,
} from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import type { Multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';

export const ENDLESS = new Uint8Array(1024 * 1024).fill(0x80);

/** A header of Yamux. */
export function frame(type: number, flags: number, stream: number, length: number): Uint8Array {
  const header = new DataView(new ArrayBuffer(12));
  header.setUint8(1, type);
  header.setUint16(2, flags);
  header.setUint32(4, stream);
  header.setUint32(8, length);
  return new Uint8Array(header.buffer);
}

/** A connection whose inside is in the attacker's hands. */
export interface Line {
  readonly connection: Connection;
  /** What Noise encrypts. */
  readonly secured: MessageStream;
  readonly muxer: StreamMuxer;
  /** Resolves when the connection has ended. */
  readonly ended: Promise<void>;
  /** Opens a stream that negotiates no protocol. */
  open(): Promise<Stream>;
}

export class Attacker {
  readonly key: Ed25519PrivateKey;
  readonly #address: string;
  readonly #nodes: { stop(): unknown }[] = [];

  private constructor(key: Ed25519PrivateKey, address: string) {
    this.key = key;
    this.#address = address;
  }

  /** @param address of this machine, where its connections come from */
  static async at(address = '127.0.0.1'): Promise<Attacker> {
    return new Attacker(await generateKeyPair('Ed25519'), address);
  }

  get id() {
    return peerIdFromPrivateKey(this.key);
  }

  async dial(to: Multiaddr[], options: { early?: boolean } = {}): Promise<Line> {
    const { promise, resolve } = Promise.withResolvers<Pick<Line, 'secured' | 'muxer'>>();
    const make = yamux({ enableKeepAlive: false });
    const dialOpts = { noDelay: true, localAddress: this.#address };
    const node = await createLibp2p({
      privateKey: this.key,
      addresses: { listen: [] },
      transports: [tcp({ dialOpts })],
      connectionEncrypters: [
        (components) => {
          const encrypter = noise()(components);
          if (options.early ?? true) return encrypter;
          const { protocol } = encrypter;
          const skip = { skipStreamMuxerNegotiation: true };
          return {
            protocol,
            secureInbound: (stream, given) =>
              encrypter.secureInbound(stream, { ...given, ...skip }),
            secureOutbound: (stream, given) =>
              encrypter.secureOutbound(stream, { ...given, ...skip }),
          };
        },
      ],
      streamMuxers: [
        () => {
          const factory = make();
          return {
            protocol: factory.protocol,
            createStreamMuxer: (secured) => {
              const muxer = factory.createStreamMuxer(secured);
              resolve({ secured, muxer });
              return muxer;
            },
          };
        },
      ],
      connectionMonitor: { enabled: false },
    });
    this.#nodes.push(node);
    const connection = await node.dial(to, { signal: AbortSignal.timeout(30_000) });
    const { secured, muxer } = await promise;
    const ended = new Promise<void>((done) => {
      if (connection.status !== 'open') done();
      else connection.addEventListener('close', () => done(), { once: true });
    });
    return { connection, secured, muxer, ended, open: () => muxer.createStream() };
  }

  /** A bare connection to the port of `to`. */
  async socket(to: Multiaddr[]): Promise<Socket> {
    const parts = to[0]?.getComponents();
    assert.ok(parts);
    const port = Number(parts.find(({ name }) => name === 'tcp')?.value);
    const socket = connect({ port, host: '127.0.0.1', localAddress: this.#address });
    socket.on('error', () => {});
    this.#nodes.push({ stop: () => socket.destroy() });
    await once(socket, 'connect');
    return socket;
  }

  async close(): Promise<void> {
    await Promise.all(this.#nodes.map((each) => each.stop()));
  }
}

/** Resolves when a bare connection has ended. */
export function closed(socket: Socket): Promise<void> {
  if (socket.destroyed) return Promise.resolve();
  socket.resume();
  return new Promise((resolve) => {
    socket.once('close', () => resolve());
  });
}

/** Sends without regard for what the other end takes, or whether it is there. */
export function send(to: Pick<MessageStream, 'send'>, ...pieces: Uint8Array[]): void {
  try {
    for (const each of pieces) to.send(each);
  } catch {
    // It is gone: that is what is waited for.
  }
}

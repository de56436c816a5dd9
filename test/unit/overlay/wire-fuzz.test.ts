/**
 * Whatever comes over the wire, from whomever: bounded, and everybody else is served.
 *
 * ```
 *  stranger, member, super-peer that no service names, named super-peer
 *        │ every protocol id, every way of misbehaving
 *        ▼
 *  a super-peer, a member ◀── others, which are served
 * ```
 *
 * Some protocols, drawn anew, once; with `FUZZ_ROUNDS` all of them, as often. `FUZZ_SEED` repeats a run.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import type { Connection, Ed25519PeerId, Stream } from '@libp2p/interface';
import { Gate, type Trust } from '../../../src/overlay/gate.ts';
import type { Host } from '../../../src/overlay/host.ts';
import { PublishServer } from '../../../src/overlay/publish.ts';
import { encodeLength } from '../../../src/wire/message-parser.ts';
import { Dice } from '../admission/fuzz.ts';
import { ENDLESS, send } from './attacker.ts';
import {
  addresses,
  Cleanup,
  credentialFor,
  type Identity,
  identity,
  listen,
  MemberNode,
  memberGate,
  SuperPeer,
  trustIn,
} from './harness.ts';
import { distort } from './hostile-messages.ts';
import { overlayParsers } from './parsers.ts';

const ROUNDS = Number(process.env['FUZZ_ROUNDS'] ?? 0);
/** Protocols that a short run tries of each node. */
const FEW = 3;
const SEED = process.env['FUZZ_SEED'] ?? String(randomInt(2 ** 31));
const STRANGER = 64 * 1024;
const ALL = 32 * 1024 * 1024;
const LIMIT = { signal: AbortSignal.timeout((ROUNDS + 1) * 300_000) };

const overlay = await identity();
const service = await identity();
const samples = (await overlayParsers()).flatMap(({ valid }) => valid);
const framed = (bytes: Uint8Array): Buffer => Buffer.concat([encodeLength(bytes.length), bytes]);

type Role = 'stranger' | 'member' | 'unnamed super-peer' | 'named super-peer';
const ROLES: readonly Role[] = ['stranger', 'member', 'unnamed super-peer', 'named super-peer'];
type Misbehave = (stream: Stream, random: () => number) => void;

const sample = (random: () => number): Uint8Array =>
  samples[Math.floor(random() * samples.length)] ?? new Uint8Array();
const noise = (length: number, random: () => number): Uint8Array =>
  Uint8Array.from({ length }, () => Math.floor(random() * 256));

const WAYS: Readonly<Record<string, Misbehave>> = {
  'a length without end': (stream) => send(stream, ENDLESS),
  'half a message': (stream, random) => {
    const whole = framed(sample(random));
    send(stream, whole.subarray(0, Math.ceil(random() * whole.length)));
  },
  'half a message, then the end': (stream, random) => {
    send(stream, framed(sample(random)).subarray(0, 9));
    stream.close().catch(() => undefined);
  },
  'a flood of empty messages': (stream) => send(stream, new Uint8Array(300_000)),
  'a flood of noise': (stream, random) => {
    for (let n = 0; n < 200; n++) send(stream, framed(noise(Math.floor(random() * 300), random)));
  },
  'messages of other protocols': (stream, random) => {
    for (let n = 0; n < 20; n++) send(stream, framed(sample(random)));
  },
  'garbage in every field': (stream, random) => {
    for (let n = 0; n < 40; n++) send(stream, framed(distort(sample(random), random)));
  },
  'questions whose answers nobody reads': (stream, random) => {
    stream.pause();
    for (let n = 0; n < 100; n++) send(stream, framed(distort(sample(random), random)));
  },
};

describe(`the wire, from anybody (seed ${SEED})`, () => {
  const dice = new Dice(SEED);
  const random = (): number => dice.below(2 ** 30) / 2 ** 30;
  const cleanup = new Cleanup();
  let superPeer: SuperPeer;
  let member: MemberNode;
  let admitter: Identity;
  let second: Identity;
  const trust = (): Trust => trustIn([admitter.id, second.id]);

  before(async () => {
    [admitter, second] = await Promise.all([identity(), identity()]);
    const host = await listen(admitter.key);
    superPeer = new SuperPeer(host, admitter.key, overlay.id, trust, service.id, trust);
    cleanup.add(superPeer);
    await superPeer.start();
    const { records } = superPeer.tier1;
    const allow = (id: Ed25519PeerId): boolean => id.equals(service.id);
    await cleanup.add(new PublishServer({ host, records, allow })).start();
    const { key, id } = await identity();
    const credential = await credentialFor(service.id, admitter.key, id);
    superPeer.membership.add(credential, []);
    const own = await listen(key);
    member = new MemberNode(own, key, service.id, credential, trust, () => [addresses(host)]);
    cleanup.add(member);
    await member.start();
    await member.directory.attach();
  });
  after(() => cleanup.run());

  /** Passes the gates that are open to its role. */
  async function join(role: Role, node: Host): Promise<Host> {
    const { key, id } = await identity();
    // Hellos of one peer are limited: each time another one is named.
    if (role === 'named super-peer') second = { key, id };
    const host = await listen(key);
    const gates: [Ed25519PeerId, Uint8Array | undefined][] = [];
    if (role === 'member') {
      gates.push([service.id, (await credentialFor(service.id, admitter.key, id)).bytes]);
    } else if (role === 'unnamed super-peer') {
      gates.push([overlay.id, (await credentialFor(overlay.id, admitter.key, id)).bytes]);
    } else if (role === 'named super-peer') {
      gates.push([overlay.id, undefined], [service.id, undefined]);
    }
    for (const [overlayId, credential] of gates) {
      const gate = new Gate(host, { overlayId, credential: () => credential, trust });
      await gate.start();
      // A member takes no part in tier 1, and a super-peer that no service names in no service.
      const takesPart = overlayId.equals(service.id) || node === superPeer.host;
      if (takesPart) await gate.admit(addresses(node), LIMIT);
    }
    return host;
  }

  function drawn(protocols: readonly string[]): readonly string[] {
    if (ROUNDS > 0) return protocols;
    const rest = [...protocols];
    return Array.from({ length: FEW }, () => rest.splice(dice.below(rest.length), 1)).flat();
  }

  /** What one connection and all strangers hold in a node. */
  function isBounded(node: Host, of: Ed25519PeerId, role: Role): void {
    assert.ok(node.guards.memory.total <= ALL);
    const held = (connection: Connection): number =>
      connection.streams.reduce(
        (sum, each) => sum + each.readBufferLength + each.writeBufferLength,
        0,
      );
    const all = node.libp2p.getConnections().reduce((sum, each) => sum + held(each), 0);
    assert.ok(all <= ALL, `${all} bytes`);
    if (role !== 'stranger') return;
    for (const connection of node.libp2p.getConnections(of)) {
      assert.ok(held(connection) <= STRANGER, `${held(connection)} bytes`);
    }
  }

  async function everybodyElseIsServed(): Promise<void> {
    const { key } = await identity();
    const host = await listen(key);
    const { gate } = await memberGate(host, service.id, admitter);
    for (const node of [superPeer.host, member.host]) {
      await gate.admit(addresses(node), LIMIT);
      await host.libp2p.services.ping.ping(addresses(node), LIMIT);
    }
    await gate.close();
    await host.close();
    assert.equal(member.directory.members().length >= 1, true);
  }

  for (const role of ROLES) {
    for (const [what, misbehave] of Object.entries(WAYS)) {
      it(`P5 P24 bears ${what}, in every protocol, from a ${role}`, async () => {
        let opened = 0;
        for (let round = 0; round < Math.max(1, ROUNDS); round++) {
          for (const node of [superPeer.host, member.host]) {
            for (const protocol of drawn(node.libp2p.getProtocols())) {
              const host = await join(role, node);
              try {
                const connection = await host.libp2p.dial(addresses(node), LIMIT);
                const stream = await connection.newStream(protocol, LIMIT);
                opened++;
                misbehave(stream, random);
                // An answer on a second stream tells that the first one has been read.
                await host.libp2p.services.ping.ping(addresses(node), LIMIT);
                isBounded(node, host.peerId, role);
              } catch (error) {
                // The connection is gone: so it must be for much of this.
                assert.ok(error instanceof Error);
                assert.notEqual(error.name, 'AssertionError', error.message);
              } finally {
                await host.close();
              }
            }
          }
          await everybodyElseIsServed();
        }
        assert.ok(opened > 0);
      });
    }
  }
});

/** What strangers can do at the door, over libp2p. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Stream } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { Admission } from '../../../src/admission/accept.ts';
import { AuditLog, readAudit } from '../../../src/admission/audit.ts';
import { requestAdmission, requestRenewal } from '../../../src/admission/client.ts';
import { AdmissionBusyError, AdmissionRefusedError } from '../../../src/admission/errors.ts';
import { Answer, Opening, Proof, Reply } from '../../../src/admission/messages.ts';
import { solve } from '../../../src/admission/puzzle.ts';
import { makeServiceSecret } from '../../../src/admission/secret.ts';
import type { AdmissionLimits } from '../../../src/admission/server.ts';
import { SrpEngine } from '../../../src/admission/srp/engine.ts';
import { SUITE_SRP_2048 } from '../../../src/admission/srp/group.ts';
import { keyModExp } from '../../../src/admission/srp/modexp.ts';
import { makeTicket } from '../../../src/admission/ticket.ts';
import {
  dial,
  type Identity,
  makeIdentity,
  makeService,
  type Service,
  type SuperPeer,
  serve,
  World,
} from './world.ts';

const engine = new SrpEngine(SUITE_SRP_2048, keyModExp(SUITE_SRP_2048.group));

describe('strangers at the door', () => {
  let world: World;
  let superPeer: SuperPeer;
  let shop: Service;
  let folder: string;
  let audit: AuditLog;

  async function arrange(limits: Partial<AdmissionLimits> = {}): Promise<void> {
    superPeer = await world.superPeer(await makeIdentity(), { limits, audit });
    shop = await makeService([superPeer.id]);
    serve(superPeer, shop);
  }

  beforeEach(async () => {
    world = new World();
    folder = mkdtempSync(join(tmpdir(), 'icvpn-door-'));
    audit = await AuditLog.open(join(folder, 'audit.jsonl'));
  });
  afterEach(async () => {
    await world.stop();
    await audit.close();
    rmSync(folder, { recursive: true });
  });

  async function connect(): Promise<{ vm: Identity; stream: Stream; again(): Promise<Stream> }> {
    const vm = await makeIdentity();
    const node = await world.node(vm.key);
    const again = () => dial(node, superPeer.node);
    return { vm, again, stream: await again() };
  }

  async function admit(secret: string, options: { vm?: Identity } = {}): Promise<Admission> {
    const vm = options.vm ?? (await makeIdentity());
    const stream = await dial(await world.node(vm.key), superPeer.node);
    const vmid = `i-${vm.id.toString().slice(-6)}`;
    const common = { key: vm.key, superPeer: superPeer.id, serviceId: shop.owner.id };
    return requestAdmission(stream, { ...common, secret, vmid, roles: [], multiaddrs: [] });
  }

  async function logged() {
    const records = [];
    for await (const record of readAudit(join(folder, 'audit.jsonl'))) records.push(record);
    return records;
  }

  const hello = (change: { service?: Service; identity?: string; A?: Uint8Array } = {}) => ({
    version: 1,
    suite: 1,
    serviceId: (change.service ?? shop).owner.id,
    identity: change.identity ?? 'member',
    nonce: randomBytes(32),
    A: change.A ?? engine.clientPublic(randomBytes(32)),
    ticket: undefined,
  });

  /** Runs the protocol without knowing anything, and keeps what comes back. */
  async function probe(admit: ReturnType<typeof hello>): Promise<Uint8Array[]> {
    const link = lpStream((await connect()).stream);
    await link.write(Opening.encode({ admit, renew: undefined }));
    let first = (await link.read()).subarray();
    const { puzzle } = Reply.decode(first);
    if (puzzle !== undefined) {
      await link.write(
        Answer.encode({ answer: await solve(puzzle, new AbortController().signal) }),
      );
      first = (await link.read()).subarray();
    }
    const proof = { M1: randomBytes(32), confirmation: randomBytes(32), request: randomBytes(64) };
    await link.write(Proof.encode(proof));
    return [first, (await link.read()).subarray()];
  }

  it('P3 see the same for a wrong secret, an unknown identity and an unknown service', async () => {
    await arrange();
    const stranger = await makeService([superPeer.id]);
    const runs = {
      'wrong secret': await probe(hello()),
      'unknown identity': await probe(hello({ identity: 'admin' })),
      'unknown service': await probe(hello({ service: stranger })),
    };
    const replies = Object.values(runs).map((run) => run.map((raw) => Reply.decode(raw)));
    for (const [challenge, refusal] of replies) {
      assert.ok(challenge?.challenge && !challenge.busy);
      assert.deepEqual(refusal?.refusal, { reason: 1, text: '' });
    }
    // A service may have a human's secret, and so may a decoy: the parameters take six bytes.
    const sizes = Object.values(runs).map(([first, second]) => [
      (first?.length ?? 0) - (Reply.decode(first ?? new Uint8Array()).challenge?.kdf ? 8 : 0),
      second?.length,
    ]);
    assert.equal(new Set(sizes.map(String)).size, 1, JSON.stringify(sizes));
    const causes = (await logged()).map(({ cause }) => cause);
    assert.deepEqual(causes, Object.keys(runs), 'the operator is told precisely');
  });

  it('P3 see the same salt for a name each time, and another for another name', async () => {
    await arrange();
    const saltOf = async (identity: string) => {
      const [first] = await probe(hello({ identity }));
      const salt = Reply.decode(first ?? new Uint8Array()).challenge?.salt;
      assert.ok(salt);
      return Buffer.from(salt).toString('hex');
    };
    const [one, again, other] = [await saltOf('a'), await saltOf('a'), await saltOf('b')];
    assert.equal(one, again);
    assert.notEqual(one, other);
  });

  it('P3 see one salt in all suites, whether there is such a service or not', async () => {
    await arrange();
    const unknown = await makeService([superPeer.id]);
    for (const service of [shop, unknown]) {
      const seen = new Set<string>();
      for (const suite of [1, 2]) {
        const [first] = await probe({ ...hello({ service }), suite });
        const challenge = Reply.decode(first ?? new Uint8Array()).challenge;
        assert.ok(challenge);
        seen.add(JSON.stringify([Buffer.from(challenge.salt).toString('hex'), challenge.kdf]));
      }
      assert.equal(seen.size, 1, [...seen].join());
    }
  });

  it('P3 learn nothing from a ticket that is not for this super-peer', async () => {
    await arrange();
    const elsewhere = (await makeIdentity()).id;
    const notAfter = Math.floor(Date.now() / 1000) + 60;
    const text = await makeTicket({ ownerKey: shop.owner.key, superPeer: elsewhere, notAfter });
    await assert.rejects(admit(text), /for the super-peer/);
    assert.deepEqual(await logged(), []);
  });

  it('P2 get the same refusal for every A that SRP forbids, and never an M2', async () => {
    await arrange();
    const { N } = SUITE_SRP_2048.group;
    const minusOne = Uint8Array.from(N);
    minusOne[255] = (minusOne[255] ?? 0) - 1;
    const forbidden = [
      new Uint8Array(256),
      new Uint8Array(256).fill(1, 255),
      minusOne,
      N,
      new Uint8Array(256).fill(255),
    ];
    for (const A of forbidden) {
      const [, last] = await probe(hello({ A }));
      const answer = Reply.decode(last ?? new Uint8Array());
      assert.equal(answer.grant, undefined);
      assert.deepEqual(answer.refusal, { reason: 1, text: '' });
    }
    assert.equal(superPeer.admitted.length, 0);
  });

  /** Resolves when the super-peer ended the stream. */
  async function ended(stream: Stream): Promise<void> {
    if (stream.status === 'open')
      await new Promise((resolve) => stream.addEventListener('close', resolve));
  }

  it('P5 lose the stream when they say nothing, and their place', async () => {
    await arrange({ unproven: 1_000 });
    const { stream } = await connect();
    stream.send(Uint8Array.of(0xff));
    await ended(stream);
    assert.equal(superPeer.server.halfOpen, 0);
  });

  it('P5 lose the stream when they fall silent after the challenge', async () => {
    await arrange({ unproven: 2_000 });
    const { stream } = await connect();
    const link = lpStream(stream);
    await link.write(Opening.encode({ admit: hello(), renew: undefined }));
    await link.read();
    assert.equal(superPeer.server.halfOpen, 1);
    await ended(stream);
    assert.equal(superPeer.server.halfOpen, 0);
  });

  for (const [name, bytes] of [
    ['announce a long message', Uint8Array.of(0xff, 0xff, 0x3f)],
    ['send 64 KiB unasked', new Uint8Array(66_000).fill(1)],
    ['send rubbish', Uint8Array.of(3, 0xff, 0xff, 0xff)],
    ['send an opening that asks for nothing', Uint8Array.of(0)],
    ['send a length without end', new Uint8Array(20).fill(0x80)],
  ] as const) {
    it(`P5 lose the stream when they ${name}, and nobody else does`, async () => {
      await arrange();
      const { stream } = await connect();
      stream.send(bytes);
      await ended(stream);
      assert.equal(superPeer.server.halfOpen, 0);
      await admit(shop.secret);
    });
  }

  it('P5 are told that it is busy when all places are taken; then places come free', async () => {
    await arrange({ halfOpen: 1 });
    const { stream } = await connect();
    const link = lpStream(stream);
    await link.write(Opening.encode({ admit: hello(), renew: undefined }));
    await link.read();
    await assert.rejects(admit(shop.secret), AdmissionBusyError);
    stream.abort(new Error('gone'));
    while (superPeer.server.halfOpen > 0) await new Promise((resolve) => setImmediate(resolve));
    await admit(shop.secret);
  });

  it('P5 solve a puzzle under load, and VMs do so by themselves', async () => {
    await arrange({ ratePerHost: { rate: 0.001, burst: 4 } });
    await admit(shop.secret);
    await admit(shop.secret);
    const link = lpStream((await connect()).stream);
    await link.write(Opening.encode({ admit: hello(), renew: undefined }));
    const { puzzle } = Reply.decode((await link.read()).subarray());
    assert.ok(puzzle && puzzle.bits >= 12);
    await link.write(Uint8Array.of(0x0a, 8, 1, 2, 3, 4, 5, 6, 7, 8));
    assert.ok(Reply.decode((await link.read()).subarray()).refusal);
    await admit(shop.secret);
    await assert.rejects(admit(shop.secret), AdmissionBusyError);
  });

  it('P5 who fill SRP do not keep a member from renewing', async () => {
    await arrange({ srp: 2, halfOpen: 8 });
    const vm = await makeIdentity();
    const { credential, renewalKey } = await admit(shop.secret, { vm });
    for (let i = 0; i < 2; i++) {
      const link = lpStream((await connect()).stream);
      await link.write(Opening.encode({ admit: hello(), renew: undefined }));
      await link.read();
    }
    await assert.rejects(admit(shop.secret), AdmissionBusyError);
    const node = await world.node(vm.key);
    const stream = await dial(node, superPeer.node);
    const common = { key: vm.key, superPeer: superPeer.id, serviceId: shop.owner.id };
    const own = { credential, renewalKey, multiaddrs: [] };
    const next = await requestRenewal(stream, { ...common, ...own });
    assert.notDeepEqual(next.credential.value.serial, credential.value.serial);
  });

  it('who guess are slowed down and reported, and lock nobody out, not even from their own address', async () => {
    await arrange();
    for (let i = 0; i < 5; i++) {
      await assert.rejects(admit(makeServiceSecret()), AdmissionRefusedError);
    }
    const begin = performance.now();
    await admit(shop.secret);
    assert.ok(performance.now() - begin >= 250);
    const events = (await logged()).map(({ event }) => event);
    // The fourth guess is the first too many, and is reported once.
    const [four, rest] = [events.slice(0, 4), events.slice(4)];
    assert.deepEqual(new Set(four), new Set(['refused']));
    assert.deepEqual(rest, ['guessing', 'refused', 'admitted']);
  });

  it('P23 leave no secret in the audit log, and neither do members', async () => {
    await arrange();
    const wrong = makeServiceSecret();
    await assert.rejects(admit(wrong));
    const { epochPsk, renewalKey, credential } = await admit(shop.secret);
    const text = readFileSync(join(folder, 'audit.jsonl'), 'latin1');
    const { verifier, salt, renewalSecret } = shop.served.secrets;
    const binary = [epochPsk, renewalKey.subarray(0, 32), verifier, salt, renewalSecret];
    const forms = binary.flatMap((raw) =>
      (['hex', 'base64', 'base64url', 'latin1'] as const).map((as) =>
        Buffer.from(raw).toString(as).slice(0, 24),
      ),
    );
    for (const secret of [...forms, wrong.slice(13), shop.secret.slice(13)]) {
      assert.ok(!text.includes(secret));
    }
    const serial = Buffer.from(credential.value.serial).toString('hex');
    assert.ok(text.includes(serial), 'and it does tell what was given');
  });

  it('who close the super-peer end all streams and leave nothing running', async () => {
    await arrange();
    const { stream } = await connect();
    const link = lpStream(stream);
    await link.write(Opening.encode({ admit: hello(), renew: undefined }));
    await link.read();
    const end = ended(stream);
    await superPeer.server.close();
    await end;
    assert.equal(superPeer.server.halfOpen, 0);
  });
});

import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { generateSealingKey } from '../../../src/admission/sealed.ts';
import { formatPrefix } from '../../../src/codec/ip.ts';
import { parseTcpMultiaddr } from '../../../src/codec/multiaddr.ts';
import { readDescriptor, readOwner } from '../../../src/owner/directory.ts';
import { signPolicy } from '../../../src/owner/policy.ts';
import { createService } from '../../../src/owner/service.ts';
import { seal } from '../../../src/records/envelope.ts';
import { openCard, SUPER_PEER_CARD } from '../../../src/records/super-peer-card.ts';
import { ipv6Prefix } from '../../../src/records/virtual-address.ts';

const bytes = (json: object): Uint8Array =>
  new TextEncoder().encode(JSON.stringify({ version: 1, ...json }));

describe("owner's policy", () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'icvpn-owner-'));
    const key = await generateKeyPair('Ed25519');
    const peerId = peerIdFromPrivateKey(key);
    const multiaddrs = [parseTcpMultiaddr('/ip4/127.0.0.1/tcp/4242')];
    const { publicKey: sealingKey } = generateSealingKey();
    const card = await seal(SUPER_PEER_CARD, { peerId, sealingKey, multiaddrs }, key);
    await createService({
      ...{ dir, name: 'shop', credentialLifetime: 3600 },
      ipv4Prefix: { network: '100.64.0.0', length: 16 },
      superPeers: [await openCard(card)],
      signal: new AbortController().signal,
    });
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('is signed with the key of the service, each one above the last', async () => {
    const { value: service } = await readDescriptor(dir);
    const first = await signPolicy({ dir, document: bytes({ rules: [] }) });
    assert.ok(first.signer.equals(service.serviceId));
    const second = await signPolicy({ dir, document: bytes({}) });
    assert.ok(second.value.sequence > first.value.sequence);
    assert.equal((await readOwner(dir)).policy?.value.sequence, second.value.sequence);
  });

  it('P22 is not signed when it cannot be read or its tests fail', async () => {
    const test = { from: '*', to: '*', port: 'icmp', expect: 'allow' };
    await assert.rejects(signPolicy({ dir, document: bytes({ rule: [] }) }), {
      code: 'ERR_POLICY_FIELD',
    });
    const failing = signPolicy({ dir, document: bytes({ rules: [], tests: [test] }) });
    await assert.rejects(failing, { code: 'ERR_POLICY_TEST' });
    assert.equal((await readOwner(dir)).policy, undefined);
  });

  it("does not route the service's own addresses", async () => {
    const { serviceId } = (await readDescriptor(dir)).value;
    for (const subnet of ['100.64.3.0/24', '100.0.0.0/8', formatPrefix(ipv6Prefix(serviceId))]) {
      const routes = [{ gateway: 'role:gw', subnets: ['10.0.0.0/8', subnet] }];
      await assert.rejects(signPolicy({ dir, document: bytes({ routes }) }), {
        code: 'ERR_POLICY_ROUTE',
        message: /routes\[0\]\.subnets\[1\]/,
      });
    }
  });
});

/**
 * What sealed member lists cost: node benchmarks/abe/lists.ts [n]
 *
 * Prints JSON: medians in milliseconds of sealing and opening a list of 25 and of 250 members, with a new
 * data key and with a kept one, the same for one bucket of a membership shard as tier 1 stores it, and the
 * keys that an authority's thread issues in a second. No network.
 */
import { randomBytes } from 'node:crypto';
import { generateKeyPair } from '@libp2p/crypto/keys';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import {
  decrypt,
  encodeMasterKey,
  encodePublicKey,
  encrypt,
  generateKey,
  initAbe,
  setup,
} from '../../src/keymgmt/abe/index.ts';
import { memberAttributes, requesterPolicy } from '../../src/keymgmt/discovery/attributes.ts';
import { Authority } from '../../src/keymgmt/discovery/authority.ts';
import { DataKeyReader, DataKeys } from '../../src/keymgmt/discovery/data-key.ts';
import { openMemberList, sealMemberList } from '../../src/keymgmt/discovery/member-list.ts';
import { openShard, sealShard } from '../../src/keymgmt/discovery/shard-seal.ts';
import { type Measured, measure } from './measure.ts';

const n = Number(process.argv[2] ?? 50);
/** A credential of about 330 bytes, two addresses, a PeerID. */
const BYTES_PER_MEMBER = 450;

await initAbe();
const { publicKey, masterKey } = setup();
const superPeer = await generateKeyPair('Ed25519');
const serviceId = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
const peerId = peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
const facts = { serviceId, peerId, vmid: 'i-0a1b2c3d', epoch: 7 };
const key = generateKey(masterKey, memberAttributes(facts));
const now = Math.floor(Date.now() / 1000);
const requester = { peerId, nonce: Uint8Array.from(randomBytes(16)) };
const admitters = [peerIdFromPrivateKey(superPeer)];
const context = { serviceId, epoch: 7, admitters, now, requester };

const results: Record<string, Measured> = {};
for (const members of [25, 250]) {
  const content = Uint8Array.from(randomBytes(members * BYTES_PER_MEMBER));
  const list = { serviceId, epoch: 7, sequence: 1, notAfter: now + 600, requester, content };
  const keys = new DataKeys((policy, dataKey) => encrypt(publicKey, policy, dataKey));
  const reader = new DataKeyReader((wrapped) => decrypt(key, wrapped));
  let sealed = new Uint8Array(0);
  const seal = async (): Promise<void> => {
    sealed = Uint8Array.from(
      await sealMemberList(list, await keys.get(requesterPolicy(peerId, serviceId)), superPeer),
    );
  };
  const open = async (): Promise<void> => {
    await openMemberList(sealed, reader.unwrap, context);
  };
  const anew = (forget: () => void, work: () => Promise<void>) => (): Promise<void> => {
    forget();
    return work();
  };
  results[`seal for ${members}, new data key`] = await measure(
    n,
    anew(() => keys.clear(), seal),
  );
  results[`seal for ${members}, kept data key`] = await measure(n, seal);
  results[`open ${members}, new data key`] = await measure(
    n,
    anew(() => reader.clear(), open),
  );
  results[`open ${members}, kept data key`] = await measure(n, open);
}

// What a join costs at its super-peer, and at the others: 250 members in 16 buckets.
const bucket = Uint8Array.from(randomBytes(16 * BYTES_PER_MEMBER));
const shardKeys = new DataKeys((policy, dataKey) => encrypt(publicKey, policy, dataKey));
const shardReader = new DataKeyReader((wrapped) => decrypt(key, wrapped));
let shard = new Uint8Array(0);
const sealBucket = async (): Promise<void> => {
  shard = Uint8Array.from(await sealShard(bucket, facts, shardKeys));
};
const openBucket = async (): Promise<void> => {
  await openShard(shard, () => shardReader.unwrap);
};
results['seal a bucket of 16, new data key'] = await measure(n, () => {
  shardKeys.clear();
  return sealBucket();
});
results['seal a bucket of 16, kept data key'] = await measure(n, sealBucket);
results['open a bucket of 16, new data key'] = await measure(n, () => {
  shardReader.clear();
  return openBucket();
});
results['open a bucket of 16, kept data key'] = await measure(n, openBucket);

const authority = await Authority.start({
  publicKey: encodePublicKey(publicKey),
  masterKey: encodeMasterKey(masterKey),
});
for (let i = 0; i < 5; i += 1) await authority.issue(facts);
const before = process.cpuUsage();
const start = performance.now();
await Promise.all(Array.from({ length: n }, () => authority.issue(facts)));
const issued = (1000 * n) / (performance.now() - start);
const used = process.cpuUsage(before);
const issuedPerCore = (1e6 * n) / (used.user + used.system);
await authority.close();

console.log(
  JSON.stringify(
    {
      node: process.version,
      keysPerSecond: Number(issued.toFixed(1)),
      keysPerProcessorSecond: Number(issuedPerCore.toFixed(1)),
      results,
    },
    undefined,
    2,
  ),
);

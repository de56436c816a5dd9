/**
 * What attribute-based encryption costs: node benchmarks/abe/main.ts [n]
 *
 * Prints JSON: medians in milliseconds of wall-clock and processor time. One pairing by this module's
 * library and one by @noble/curves stand beside them, as yardsticks of the same run.
 */
import { bls12_381 as noble } from '@noble/curves/bls12-381.js';
import { g1Generator, g2Generator, pairingProduct } from '../../src/keymgmt/abe/groups.ts';
import {
  decodeAttributeKey,
  decodePublicKey,
  decrypt,
  encodeAttributeKey,
  encodePublicKey,
  encrypt,
  generateKey,
  initAbe,
  setup,
} from '../../src/keymgmt/abe/index.ts';
import { type Measured, measure } from './measure.ts';

const n = Number(process.argv[2] ?? 100);
const before = performance.now();
await initAbe();
const init = performance.now() - before;

const results: Record<string, Measured> = {};
const pair = { p: g1Generator(), q: g2Generator() };
results['pairing'] = await measure(n, () => void pairingProduct([pair]));
const [P, Q] = [noble.G1.Point.BASE, noble.G2.Point.BASE];
results['pairing, noble'] = await measure(n, () => void noble.pairing(P, Q));

const { publicKey, masterKey } = setup();
results['setup'] = await measure(Math.min(n, 30), () => void setup());
const attributes = { PeerID: 'p1', ServiceID: 's1', epoch: '7', VMID: 'v1' };
const key = generateKey(masterKey, attributes);
const plaintext = new Uint8Array(32);
const leaves = Object.entries(attributes).map(([label, value]) => `${label}: ${value}`);
for (const count of [2, 3, 4]) {
  const policy = leaves.slice(0, count).join(' and ');
  results[`encrypt, AND of ${count}`] = await measure(
    n,
    () => void encrypt(publicKey, policy, plaintext),
  );
  const ciphertext = encrypt(publicKey, policy, plaintext);
  results[`decrypt, AND of ${count}`] = await measure(n, () => void decrypt(key, ciphertext));
}
const three = Object.fromEntries(Object.entries(attributes).slice(0, 3));
results['generate key, 3 attributes'] = await measure(n, () => void generateKey(masterKey, three));

const keyBytes = encodeAttributeKey(key);
results['decode attribute key'] = await measure(n, () => void decodeAttributeKey(keyBytes));
const publicBytes = encodePublicKey(publicKey);
results['decode public key'] = await measure(n, () => void decodePublicKey(publicBytes));

console.log(
  JSON.stringify({ node: process.version, init: Number(init.toFixed(1)), results }, undefined, 2),
);

/** The thread that holds the master key of one service's attribute authority; see authority.ts. */
import { parentPort, workerData } from 'node:worker_threads';
import {
  type AttributeKey,
  decodeMasterKey,
  decodePublicKey,
  decrypt,
  encodeAttributeKey,
  encrypt,
  generateKey,
  initAbe,
  wipeAttributeKey,
  wipeMasterKey,
} from '../abe/index.ts';
import type { AuthorityAnswer, AuthorityJob, AuthorityKeys } from './authority.ts';

const port = parentPort;
if (port === null) throw new Error('authority-thread.ts runs in a worker thread only');
const answer = (message: AuthorityAnswer): void => port.postMessage(message);

await initAbe();
const encoded: AuthorityKeys = workerData;
const publicKey = decodePublicKey(encoded.publicKey);
const masterKey = decodeMasterKey(encoded.masterKey);
encoded.masterKey.fill(0);

/** For what this super-peer reads itself: one service has one authority, so that these are always the same. */
let own: { readonly name: string; readonly key: AttributeKey } | undefined;

function ownKey(attributes: Record<string, string>): AttributeKey {
  const name = JSON.stringify(attributes);
  if (own?.name !== name) {
    if (own) wipeAttributeKey(own.key);
    own = { name, key: generateKey(masterKey, attributes) };
  }
  return own.key;
}

function run(job: Exclude<AuthorityJob, { task: 'close' }>): Uint8Array {
  if (job.task === 'encrypt') {
    try {
      return encrypt(publicKey, job.policy, job.plaintext);
    } finally {
      job.plaintext.fill(0);
    }
  }
  if (job.task === 'decrypt') return decrypt(ownKey(job.attributes), job.ciphertext);
  const key = generateKey(masterKey, job.attributes);
  try {
    return encodeAttributeKey(key);
  } finally {
    wipeAttributeKey(key);
  }
}

port.on('message', (job: AuthorityJob) => {
  if (job.task === 'close') {
    wipeMasterKey(masterKey);
    if (own) wipeAttributeKey(own.key);
    port.close();
    return;
  }
  try {
    answer({ kind: 'done', result: run(job) });
  } catch (error) {
    answer({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
  }
});
answer({ kind: 'ready' });

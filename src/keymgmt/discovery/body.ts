/**
 * Bytes under a data key, with what a reader needs to get that key.
 *
 *     header    = { data key under a policy, IV }
 *     body      = AES-256-GCM(data key, IV, content), associated data SHA-256(header)
 *
 * Says nothing about who sealed it: statements of member lists and envelopes of records do.
 */
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from 'node:crypto';
import { DecodeError, type MessageCodec } from '../../codec/protobuf.ts';
import type { DataKey, UnwrapKey } from './data-key.ts';
import { type ListFault, MemberListError } from './errors.ts';
import { header, IV_BYTES, TAG_BYTES } from './messages.ts';

const CIPHER = 'aes-256-gcm';

export interface SealedBody {
  readonly header: Uint8Array;
  readonly body: Uint8Array;
}

export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return Uint8Array.from(hash.digest());
}

/** @throws MemberListError (ERR_MEMBER_LIST) with this fault for what `codec` does not read */
export function decodePart<T>(codec: MessageCodec<T>, fault: ListFault, bytes: Uint8Array): T {
  try {
    return codec.decode(bytes);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new MemberListError(fault, `a member list: ${cause.message}`, { cause });
  }
}

/** @param dataKey its clear half is not kept and not overwritten */
export function sealBody(content: Uint8Array, dataKey: DataKey): SealedBody {
  const iv = randomFillSync(new Uint8Array(IV_BYTES));
  const headerBytes = header.encode({ wrappedKey: dataKey.wrapped, iv });
  const cipher = createCipheriv(CIPHER, dataKey.key, iv).setAAD(sha256(headerBytes));
  const body = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
  return { header: headerBytes, body };
}

/**
 * @param unwrap gives the data key, for this function to overwrite
 * @throws MemberListError (ERR_MEMBER_LIST, `content`); what `unwrap` throws, if it is for others
 */
export async function openBody(sealed: SealedBody, unwrap: UnwrapKey): Promise<Uint8Array> {
  const { wrappedKey, iv } = decodePart(header, 'content', sealed.header);
  const dataKey = await unwrap(wrappedKey);
  try {
    return decryptBody(dataKey, iv, sealed);
  } finally {
    dataKey.fill(0);
  }
}

function decryptBody(key: Uint8Array, iv: Uint8Array, { header, body }: SealedBody): Uint8Array {
  const end = body.length - TAG_BYTES;
  try {
    const decipher = createDecipheriv(CIPHER, key, iv, { authTagLength: TAG_BYTES })
      .setAAD(sha256(header))
      .setAuthTag(body.subarray(end));
    // A copy with memory of its own, which is not Node's pool of Buffers.
    return new Uint8Array(
      Buffer.concat([decipher.update(body.subarray(0, end)), decipher.final()]),
    );
  } catch (cause) {
    throw new MemberListError('content', 'a member list: its body does not open', { cause });
  }
}

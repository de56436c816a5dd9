/**
 * How a member gets its attribute key, once in each epoch: `/icvpn/<ServiceID>/attributes/1.0.0`.
 *
 * ```
 *  member                       super-peer                authority's thread
 *   │ gate: my credential           │                             │
 *   ├──────────────────────────────▶│                             │
 *   │ {issue}                       │                             │
 *   ├──────────────────────────────▶│ ServiceID, PeerID, VMID,    │
 *   │                               │ epoch of that credential    │
 *   │                               ├────────────────────────────▶│ 20 ms
 *   │ {key}                         │◀────────────────────────────┤
 *   │◀──────────────────────────────┤                             │
 * ```
 *
 * The request says nothing about the member: a key is for what Noise and the credential proved.
 */
import type { AbortOptions, Stream } from '@libp2p/interface';
import { bytes, type Infer, message, optional, required, uint32 } from '../codec/protobuf.ts';
import { IcvpnError } from '../errors.ts';
import type { Authority } from '../keymgmt/discovery/authority.ts';
import { Allowance } from '../overlay/allowance.ts';
import type { Gate, Pass, Target } from '../overlay/gate.ts';
import { timeLimit } from '../overlay/host.ts';
import { MessageStream } from '../wire/message-stream.ts';

export const ATTRIBUTES_SUFFIX = 'attributes/1.0.0';
/** Milliseconds for a key to be made and brought. */
const LIMIT = 15_000;
/** A member needs one key an epoch; it may lose its cache now and then. */
const KEYS_PER_MEMBER = { perSecond: 1 / 60, burst: 4 };
const MAX_METERED = 8_192;

/** Bytes of an encoded attribute key; one with the four labels of discovery has about 4,400. */
export const MAX_ATTRIBUTE_KEY = 16 * 1024;

const REQUEST = message({ issue: required(1, uint32({ max: 1 })) });
const REPLY = message({
  key: optional(1, bytes({ max: MAX_ATTRIBUTE_KEY })),
  refused: optional(2, uint32({ max: 1 })),
});
type Request = Infer<typeof REQUEST>;
type Reply = Infer<typeof REPLY>;
const MAX_REPLY = MAX_ATTRIBUTE_KEY + 16;

export class AttributeKeyError extends IcvpnError {
  constructor(message: string, options?: ErrorOptions) {
    super(
      'ERR_ATTRIBUTE_KEY',
      message,
      'another super-peer is tried; if all refuse, look into their logs',
      options,
    );
  }
}

/**
 * Serves keys to members that passed the gate.
 *
 * @param authority of an epoch; undefined where there is none
 */
export async function serveAttributeKeys(
  gate: Gate,
  authority: (epoch: number) => Promise<Authority> | undefined,
): Promise<void> {
  const allowance = new Allowance(KEYS_PER_MEMBER, Date.now, MAX_METERED);
  await gate.handle(
    ATTRIBUTES_SUFFIX,
    async (stream, _connection, pass) => {
      const signal = timeLimit(LIMIT, gate.closed);
      const frames = new MessageStream<Request, Reply>(stream, {
        ...{ reads: REQUEST, writes: REPLY },
        maxLength: 16,
      });
      await frames.read({ signal });
      const key = await issue(pass, allowance, authority, signal);
      await frames.write({ key, refused: key === undefined ? 1 : undefined }, { signal });
      key?.fill(0);
      await stream.close({ signal });
    },
    { maxInboundStreams: 1 },
  );
}

async function issue(
  pass: Pass,
  allowance: Allowance,
  authority: (epoch: number) => Promise<Authority> | undefined,
  signal: AbortSignal,
): Promise<Uint8Array | undefined> {
  if (pass === 'admitter' || !allowance.take(pass.value.peerId.toString(), 1)) return undefined;
  return (await authority(pass.value.epoch))?.issue(pass.value, { signal });
}

/**
 * Asks one super-peer for this member's key.
 *
 * @returns the encoded key, for the caller to overwrite
 * @throws GateError; AttributeKeyError when the super-peer gives none
 */
export async function requestAttributeKey(
  gate: Gate,
  superPeer: Target,
  options: AbortOptions = {},
): Promise<Uint8Array> {
  const signal = timeLimit(LIMIT, options.signal, gate.closed);
  const stream: Stream = await gate.open(superPeer, ATTRIBUTES_SUFFIX, { signal });
  try {
    const frames = new MessageStream<Reply, Request>(stream, {
      ...{ reads: REPLY, writes: REQUEST },
      maxLength: MAX_REPLY,
    });
    await frames.write({ issue: 1 }, { signal });
    const { key } = await frames.read({ signal });
    await stream.close({ signal });
    if (key !== undefined) return key;
  } catch (error) {
    stream.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
  throw new AttributeKeyError(`${String(superPeer)} gives this member no attribute key`);
}

/**
 * `/icvpn/<overlay>/hello/1.0.0`: two nodes show each other their credentials. Drawn in `gate.ts`.
 *
 * A node whose credential once held is told the newest descriptor with the refusal. Else it could not learn that
 * the service has moved on: what would tell it is behind the gate that refuses it.
 */
import type { PeerId, Stream } from '@libp2p/interface';
import { bytes, message, optional, uint32 } from '../codec/protobuf.ts';
import { remark } from '../codec/text.ts';
import { CREDENTIAL } from '../records/credential.ts';
import { DESCRIPTOR } from '../records/descriptor.ts';
import { MessageStream } from '../wire/message-stream.ts';
import { GateError, type Pass } from './pass.ts';

/** Exported for the tests of its bounds. */
export const HELLO = message({
  credential: optional(1, bytes({ max: CREDENTIAL.maxLength })),
  refused: optional(2, remark({ max: 256 })),
  /** With a refusal, to a node that is no stranger: the epoch that the node which refuses knows. */
  epoch: optional(3, uint32()),
  /** With a refusal, to a node that may know it: the newest descriptor. */
  descriptor: optional(4, bytes({ max: DESCRIPTOR.maxLength })),
});
const SHORT = { reads: HELLO, writes: HELLO, maxLength: CREDENTIAL.maxLength + 512 };
/** The node that dials reads a descriptor, too. */
const LONG = { ...SHORT, maxLength: SHORT.maxLength + DESCRIPTOR.maxLength };

/** What a node that refuses tells besides. */
export interface RefusalNews {
  /** Undefined to strangers. */
  readonly epoch: number | undefined;
  readonly descriptor: Uint8Array | undefined;
}

/** One end of a hello. */
export interface HelloSide {
  readonly stream: Stream;
  readonly remote: PeerId;
  /** This node's credential. */
  readonly shown: Uint8Array | undefined;
  /** @throws GateError */
  readonly judge: (remote: PeerId, shown: Uint8Array | undefined) => Promise<Pass>;
  readonly signal: AbortSignal;
}

const hello = (fields: Partial<ReturnType<typeof HELLO.decode>>) => ({
  ...{ credential: undefined, refused: undefined, epoch: undefined, descriptor: undefined },
  ...fields,
});

/**
 * The end that dialled.
 *
 * @param onRefused called with what the other end tells when it refuses
 * @throws GateError, and what libp2p throws
 */
export async function greet(
  side: HelloSide,
  onRefused: (news: RefusalNews) => void,
): Promise<Pass> {
  const { stream, remote, shown, judge, signal } = side;
  const frames = new MessageStream(stream, LONG);
  await frames.write(hello({ credential: shown }), { signal });
  const { credential, refused, epoch, descriptor } = await frames.read({ signal });
  await stream.close({ signal });
  if (refused === undefined) return judge(remote, credential);
  onRefused({ epoch, descriptor });
  throw new GateError('ERR_REFUSED', `${remote} refuses: ${refused}`);
}

/**
 * The other end.
 *
 * @param enter called before the answer leaves, since the other end may use the gate as soon as it
 *   has it
 * @param news what to tell a node that is refused, by what it showed
 * @returns why the other end was refused; undefined when it passed
 */
export async function answer(
  side: HelloSide,
  enter: (pass: Pass) => void,
  news: (shown: Uint8Array | undefined) => Promise<RefusalNews>,
): Promise<GateError | undefined> {
  const { stream, remote, shown, judge, signal } = side;
  const frames = new MessageStream(stream, SHORT);
  const { credential } = await frames.read({ signal });
  let fault: GateError | undefined;
  try {
    enter(await judge(remote, credential));
    await frames.write(hello({ credential: shown }), { signal });
  } catch (error) {
    if (!(error instanceof GateError)) throw error;
    fault = error;
    const refused = error.message.slice(0, 200);
    await frames.write(hello({ refused, ...(await news(credential)) }), { signal });
  }
  await stream.close({ signal });
  return fault;
}

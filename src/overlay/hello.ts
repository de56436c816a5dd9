/** `/icvpn/<overlay>/hello/1.0.0`: two nodes show each other their credentials. Drawn in `gate.ts`. */
import type { PeerId, Stream } from '@libp2p/interface';
import { bytes, message, optional } from '../codec/protobuf.ts';
import { remark } from '../codec/text.ts';
import { CREDENTIAL } from '../records/credential.ts';
import { MessageStream } from '../wire/message-stream.ts';
import { GateError, type Pass } from './pass.ts';

/** Exported for the tests of its bounds. */
export const HELLO = message({
  credential: optional(1, bytes({ max: CREDENTIAL.maxLength })),
  refused: optional(2, remark({ max: 256 })),
});
const HELLO_FRAMES = { reads: HELLO, writes: HELLO, maxLength: CREDENTIAL.maxLength + 512 };

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

/** The end that dialled. @throws GateError, and what libp2p throws */
export async function greet(side: HelloSide): Promise<Pass> {
  const { stream, remote, shown, judge, signal } = side;
  const frames = new MessageStream(stream, HELLO_FRAMES);
  await frames.write({ credential: shown, refused: undefined }, { signal });
  const { credential, refused } = await frames.read({ signal });
  await stream.close({ signal });
  if (refused !== undefined) throw new GateError('ERR_REFUSED', `${remote} refuses: ${refused}`);
  return judge(remote, credential);
}

/**
 * The other end.
 *
 * @param enter called before the answer leaves, since the other end may use the gate as soon as it
 *   has it
 * @returns why the other end was refused; undefined when it passed
 */
export async function answer(
  side: HelloSide,
  enter: (pass: Pass) => void,
): Promise<GateError | undefined> {
  const { stream, remote, shown, judge, signal } = side;
  const frames = new MessageStream(stream, HELLO_FRAMES);
  const { credential } = await frames.read({ signal });
  let fault: GateError | undefined;
  try {
    enter(await judge(remote, credential));
    await frames.write({ credential: shown, refused: undefined }, { signal });
  } catch (error) {
    if (!(error instanceof GateError)) throw error;
    fault = error;
    const refused = error.message.slice(0, 200);
    await frames.write({ credential: undefined, refused }, { signal });
  }
  await stream.close({ signal });
  return fault;
}

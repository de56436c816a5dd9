/** Sequence numbers and the replay window (RFC 4303 section 3.4.3, appendix A for extended numbers). */
import { MalformedError, ValueError } from '../netlink/errors.ts';
import { attribute, concat } from '../netlink/framing.ts';
import { XFRMA, XFRMA_REPLAY_ESN_MAX } from './kernel/constants.ts';
import { xfrmReplayState, xfrmReplayStateEsn } from './kernel/state.ts';

export interface Replay {
  /** Packets, up to 4,096; 0 turns the check off. With `esn` the kernel wants at least 1, except for `direction: 'out'`. */
  readonly window: number;
  /** Extended sequence numbers, of 64 bits. */
  readonly esn?: boolean | undefined;
  /** Number of the last packet sent. */
  readonly outbound?: bigint | undefined;
  /** Highest number received. */
  readonly inbound?: bigint | undefined;
}

/** As the kernel tells it. */
export interface ReplayStatus extends Replay {
  readonly esn: boolean;
  readonly outbound: bigint;
  readonly inbound: bigint;
}

/** The window that `xfrm_usersa_info` itself can say. */
const SMALL_WINDOW = 32;
const LOW = 0xffff_ffffn;

/** What a replay setting becomes: the field of the fixed structure, and the attribute. */
export interface EncodedReplay {
  readonly field: number;
  readonly attributes: Uint8Array[];
}

/** @throws ValueError if the window is over 4,096 or a number too large. */
export function encodeReplay(replay: Replay | undefined): EncodedReplay {
  if (replay === undefined) return { field: 0, attributes: [] };
  const { window, esn = false, outbound = 0n, inbound = 0n } = replay;
  if (!Number.isInteger(window) || window < 0 || window > XFRMA_REPLAY_ESN_MAX) {
    throw new ValueError('replay.window', `an integer from 0 to ${XFRMA_REPLAY_ESN_MAX}`);
  }
  for (const [name, value] of Object.entries({ outbound, inbound })) {
    if (value < 0n || value >> (esn ? 64n : 32n) !== 0n) {
      throw new ValueError(`replay.${name}`, `a number of ${esn ? 64 : 32} bits`);
    }
  }
  const low = { oseq: Number(outbound & LOW), seq: Number(inbound & LOW) };
  if (!esn && window <= SMALL_WINDOW) {
    const started = outbound !== 0n || inbound !== 0n;
    const state = xfrmReplayState.encode({ ...low, bitmap: 0 });
    return { field: window, attributes: started ? [attribute(XFRMA.REPLAY_VAL, state)] : [] };
  }
  const words = Math.ceil(window / 32);
  const head = xfrmReplayStateEsn.encode({
    bmpLen: words,
    ...low,
    oseqHi: Number(outbound >> 32n),
    seqHi: Number(inbound >> 32n),
    replayWindow: window,
  });
  const payload = concat([head, new Uint8Array(words * 4)]);
  return { field: 0, attributes: [attribute(XFRMA.REPLAY_ESN_VAL, payload)] };
}

/** @throws MalformedError */
export function decodeReplay(
  field: number,
  esn: boolean,
  attributes: ReadonlyMap<number, Uint8Array>,
): ReplayStatus {
  const extended = attributes.get(XFRMA.REPLAY_ESN_VAL);
  if (extended !== undefined) {
    const { bmpLen, oseq, seq, oseqHi, seqHi, replayWindow } = xfrmReplayStateEsn.decode(extended);
    if (replayWindow > bmpLen * 32 || bmpLen > XFRMA_REPLAY_ESN_MAX / 32) {
      throw new MalformedError(`replay window of ${replayWindow} in ${bmpLen} words`);
    }
    const number = (high: number, low: number): bigint => (BigInt(high) << 32n) | BigInt(low);
    return {
      window: replayWindow,
      esn,
      outbound: number(oseqHi, oseq),
      inbound: number(seqHi, seq),
    };
  }
  const plain = attributes.get(XFRMA.REPLAY_VAL);
  const { oseq, seq } = plain ? xfrmReplayState.decode(plain) : { oseq: 0, seq: 0 };
  return { window: field, esn, outbound: BigInt(oseq), inbound: BigInt(seq) };
}

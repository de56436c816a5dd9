/** NEWAE, GETAE: replay numbers and usage of a state, and when the kernel tells of them by itself. */
import { concat, decodeAttributes } from '../netlink/framing.ts';
import { formatAddress, parseAddress } from './address.ts';
import { get, put, putMark } from './attributes.ts';
import type { AsyncEvent } from './event.ts';
import { XFRMA } from './kernel/constants.ts';
import { xfrmAeventId, xfrmLifetimeCur } from './kernel/state.ts';
import { decodeUsage } from './lifetime.ts';
import { protocols } from './names.ts';
import { decodeReplay } from './replay.ts';
import type { StateId } from './state.ts';
import { optional } from './state-codec.ts';

/** XFRM_AE_* */
const AE = { RTHR: 1, RVAL: 2, LVAL: 4, ETHR: 8, CR: 16, CE: 32, CU: 64 } as const;

/** When to send an {@link AsyncEvent}; 0 turns one off. */
export interface AsyncThresholds {
  /** Packets since the last one. */
  readonly packets?: number | undefined;
  /** Tenths of a second since the last one. */
  readonly interval?: number | undefined;
}

/** xfrm_aevent_id, the mark, and what is to be set. */
export function encodeAsync(id: StateId, thresholds: AsyncThresholds = {}): Uint8Array {
  const destination = parseAddress(id.destination, 'destination');
  const saId = {
    daddr: destination.bytes,
    spi: id.spi,
    family: destination.family,
    proto: protocols.encode(id.protocol ?? 'esp', 'protocol'),
  };
  const flags = AE.RTHR | AE.ETHR | AE.RVAL | AE.LVAL;
  return concat([
    xfrmAeventId.encode({ saId, saddr: new Uint8Array(16), flags, reqid: 0 }),
    ...putMark(id.mark),
    ...put(XFRMA.REPLAY_THRESH, 'u32', thresholds.packets),
    ...put(XFRMA.ETIMER_THRESH, 'u32', thresholds.interval),
  ]);
}

/** Undefined if it is of no IPsec protocol. @throws MalformedError */
export function decodeAsync(body: Uint8Array): AsyncEvent | undefined {
  const { saId, saddr, flags, reqid } = xfrmAeventId.decode(body);
  const attributes = decodeAttributes(body.subarray(xfrmAeventId.size), XFRMA.PAD);
  const protocol = protocols.decode(saId.proto);
  if (protocol === undefined) return undefined;
  const usage = attributes.get(XFRMA.LTIME_VAL);
  const { outbound, inbound } = decodeReplay(0, false, attributes);
  return {
    type: 'async-event',
    source: formatAddress(saId.family, saddr),
    destination: formatAddress(saId.family, saId.daddr),
    spi: saId.spi,
    protocol,
    reqid,
    cause: flags & AE.CR ? 'packets' : flags & AE.CE ? 'interval' : flags & AE.CU ? 'set' : 'asked',
    outbound,
    inbound,
    ...optional('usage', usage && decodeUsage(xfrmLifetimeCur.decode(usage))),
    ...optional('packets', get(attributes, XFRMA.REPLAY_THRESH, 'u32')),
    ...optional('interval', get(attributes, XFRMA.ETIMER_THRESH, 'u32')),
  };
}

/** A subscription to the kernel's IPsec events. */
import { Emitter } from '../../events.ts';
import { NetlinkListener } from '../netlink/listener.ts';
import { NETLINK_XFRM } from '../netlink/socket.ts';
import type { XfrmEvent } from './event.ts';
import { decodeEvent } from './event-codec.ts';
import { XFRMNLGRP } from './kernel/constants.ts';

/** Groups by name, as in `ip xfrm monitor [acquire|expire|SA|policy|aevent|report]`. */
const GROUPS = {
  acquire: XFRMNLGRP.ACQUIRE,
  expire: XFRMNLGRP.EXPIRE,
  state: XFRMNLGRP.SA,
  policy: XFRMNLGRP.POLICY,
  'async-event': XFRMNLGRP.AEVENTS,
  report: XFRMNLGRP.REPORT,
  migrate: XFRMNLGRP.MIGRATE,
  mapping: XFRMNLGRP.MAPPING,
} as const;
export type XfrmGroup = keyof typeof GROUPS;

export interface XfrmMonitorOptions {
  /** What to hear; everything if left out. */
  readonly groups?: readonly XfrmGroup[];
  /** Bytes that the kernel keeps for a busy listener, 1 MiB if left out. */
  readonly receiveBuffer?: number;
}

interface Events {
  /** @param port of the netlink socket whose request caused it ({@link XfrmClient.port}); 0 if none did */
  event: [event: XfrmEvent, port: number];
  error: [error: Error];
}

/**
 * Emits `event` for what happens in the network namespace that the process was in when it was made,
 * from that moment on. Nothing is buffered here: what a busy process does not read the kernel keeps
 * up to `receiveBuffer`, then drops, and an `overrun` event says so.
 *
 * `error` tells of a failed socket, or of a message that could not be read; without a listener it is
 * thrown, as Node does.
 *
 * Equivalent to: `ip xfrm monitor`
 */
export class XfrmMonitor extends Emitter<Events> implements Disposable {
  readonly #listener: NetlinkListener;

  constructor(options: XfrmMonitorOptions = {}) {
    super();
    const names: readonly XfrmGroup[] = options.groups ?? [
      'acquire',
      'expire',
      'state',
      'policy',
      'async-event',
      'report',
      'migrate',
      'mapping',
    ];
    this.#listener = new NetlinkListener({
      protocol: NETLINK_XFRM,
      groups: names.map((name) => GROUPS[name]),
      receiveBuffer: options.receiveBuffer,
      onMessage: (message) => {
        const event = decodeEvent(message);
        if (event !== undefined) this.tell('event', event, message.port);
      },
      onOverrun: () => this.tell('event', { type: 'overrun' }, 0),
      onError: (error) => this.tell('error', error),
    });
  }

  close(): void {
    this.#listener.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

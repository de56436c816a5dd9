import type { GatedHandler } from '../../overlay/gate.ts';

/**
 * Serves at most `max` streams at a time to each peer, however many connections it has; the others
 * are reset.
 */
export function perPeer(max: number, handler: GatedHandler): GatedHandler {
  const open = new Map<string, number>();
  return async (stream, connection, pass) => {
    const id = connection.remotePeer.toString();
    const before = open.get(id) ?? 0;
    if (before >= max) return stream.abort(new Error('too many streams at a time'));
    open.set(id, before + 1);
    try {
      await handler(stream, connection, pass);
    } finally {
      const left = (open.get(id) ?? 1) - 1;
      if (left === 0) open.delete(id);
      else open.set(id, left);
    }
  };
}

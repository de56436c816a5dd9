import assert from 'node:assert/strict';
import type { Netns } from '../netns.ts';

const CHILD = new URL('stream-child.ts', import.meta.url);

/** A steady UDP and a steady TCP stream from one namespace to an address in another. */
export interface Streams extends AsyncDisposable {
  /** Waits until ten more datagrams have come. */
  tick(): Promise<void>;
  /**
   * Ends both and asserts that every datagram and every byte has come, and that TCP sent no
   * segment again but such as the other end says it had already: on a busy machine some are only late.
   */
  endWithNothingLost(): Promise<void>;
}

export async function startStreams(from: Netns, to: Netns, address: string): Promise<Streams> {
  await using stack = new AsyncDisposableStack();
  const listener = stack.use(to.node(CHILD, ['listen', address]));
  assert.equal(await listener.receive(), 'ready');
  const sender = stack.use(from.node(CHILD, ['send', address]));
  assert.equal(await listener.receive(), 'TICK'); // both are under way: a SYN has no duplicate SACK
  const before = await tcpCounters(from);
  const owned = stack.move();
  return {
    async tick() {
      assert.equal(await listener.receive(), 'TICK');
    },
    async endWithNothingLost() {
      process.kill(sender.pid, 'SIGTERM');
      const sent = await sender.receive();
      let received = await listener.receive();
      while (received === 'TICK') received = await listener.receive();
      assert.deepEqual(received, sent);
      const after = await tcpCounters(from);
      const again = after.sentAgain - before.sentAgain;
      const needless = after.hadAlready - before.hadAlready;
      assert.ok(again <= needless, `${again} segments sent again, ${needless} of them needlessly`);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Segments that were sent again (RFC 4022), and those of which a duplicate SACK said so (RFC 2883). */
async function tcpCounters(ns: Netns): Promise<{ sentAgain: number; hadAlready: number }> {
  const files = await ns.run('cat', ['/proc/net/snmp', '/proc/net/netstat']);
  const rows = files.split('\n').map((line) => line.split(' '));
  const read = (group: string, name: string): number => {
    const [names, values] = rows.filter(([label]) => label === group);
    const value = values?.[names?.indexOf(name) ?? -1];
    assert.ok(value !== undefined, `no counter ${name}`);
    return Number(value);
  };
  return {
    sentAgain: read('Tcp:', 'RetransSegs'),
    hadAlready: read('TcpExt:', 'TCPDSACKRecvSegs'),
  };
}

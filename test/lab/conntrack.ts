/** The kernel's memory of connections, in one network namespace. */
import { linkError } from '../../src/ipsec/link/errors.ts';
import { NetlinkClient } from '../../src/ipsec/netlink/client.ts';
import { NETLINK_NETFILTER } from '../../src/ipsec/netlink/socket.ts';
import { inside } from './ipsec/inside.ts';
import type { Netns } from './netns.ts';

/** IPCTNL_MSG_CT_DELETE of linux/netfilter/nfnetlink_conntrack.h, in the subsystem NFNL_SUBSYS_CTNETLINK. */
const DELETE = 0x0102;
/** struct nfgenmsg of no family: all connections. */
const EVERYTHING = new Uint8Array(4);

/** A NAT forgets what it translated, as at a reboot. Equivalent to: `conntrack --flush` */
export async function forgetConnections(ns: Netns): Promise<void> {
  const open = () => new NetlinkClient({ protocol: NETLINK_NETFILTER, refuse: linkError });
  const client = inside(ns, open);
  const request = { operation: 'forget connections', type: DELETE, flags: 0, body: EVERYTHING };
  try {
    await client.request(request, () => undefined);
  } finally {
    client.close();
  }
}

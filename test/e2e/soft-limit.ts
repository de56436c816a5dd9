/**
 * Makes the kernel say that an SA has reached its soft limit: `node soft-limit.ts SOURCE DESTINATION SPI`
 * prints `ready`, and does so at the first line that it is sent.
 * What a key manager sends to the kernel as XFRM_MSG_EXPIRE, the kernel tells to everybody who listens.
 */
import { once } from 'node:events';
import { NetlinkClient } from '../../src/ipsec/netlink/client.ts';
import { NETLINK_XFRM } from '../../src/ipsec/netlink/socket.ts';
import { xfrmError } from '../../src/ipsec/xfrm/errors.ts';
import { XFRM_MSG } from '../../src/ipsec/xfrm/kernel/constants.ts';
import { xfrmUserExpire } from '../../src/ipsec/xfrm/kernel/event.ts';
import { xfrmUserspiInfo } from '../../src/ipsec/xfrm/kernel/state.ts';
import { encodeSpiRequest } from '../../src/ipsec/xfrm/state-codec.ts';

const [source = '', destination = '', spi = ''] = process.argv.slice(2);
const request = encodeSpiRequest({ source, destination, mode: 'tunnel' });
const { info } = xfrmUserspiInfo.decode(request);
const state = { ...info, id: { ...info.id, spi: Number(spi) } };
const client = new NetlinkClient({ protocol: NETLINK_XFRM, refuse: xfrmError });
try {
  console.log('ready');
  await once(process.stdin, 'data');
  const body = xfrmUserExpire.encode({ state, hard: 0 });
  await client.request({ operation: 'expire state', type: XFRM_MSG.EXPIRE, body }, () => undefined);
} finally {
  client.close();
  process.stdin.destroy();
}

import { setTimeout as delay } from 'node:timers/promises';
import { DataPlane } from '../../../src/ipsec/dataplane.ts';
import { A, OPTIONS, UNDERLAYS } from './planes.ts';

// A data plane with much to do, to be killed: opens, says `open`, then makes and removes peers and
// SAs until it dies.

const keys = () => ({ key: new Uint8Array(32).fill(1), salt: new Uint8Array(4) });

async function churn(plane: DataPlane, number: number): Promise<void> {
  const id = `peer ${number}`;
  const virtualAddresses = { ipv6: `fd00:1::${number + 100}`, ipv4: `10.90.1.${number}` };
  for (let spi = 0x1000 * number; ; spi++) {
    await plane.addPeer({ id, virtualAddresses }, UNDERLAYS.IPv4);
    await plane.installInbound(id, await plane.allocateSpi(id), keys());
    await plane.installOutbound(id, spi, keys());
    await plane.updatePeerUnderlay(id, UNDERLAYS.IPv6);
    await plane.allocateSpi(id);
    await plane.removePeer(id);
    await delay(0); // lets others in
  }
}

const opened = DataPlane.open({ ...OPTIONS, virtualAddresses: A.virtualAddresses });
process.stdout.write('opening\n');
const plane = await opened;
process.stdout.write('open\n');
await Promise.all([churn(plane, 1), churn(plane, 2)]);

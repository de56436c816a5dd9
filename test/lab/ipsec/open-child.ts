import { IcvpnError } from '../../../src/errors.ts';
import { DataPlane } from '../../../src/ipsec/dataplane.ts';
import { A, OPTIONS } from './planes.ts';

// Opens a data plane and closes it; says how that went.

try {
  await using plane = await DataPlane.open({ ...OPTIONS, virtualAddresses: A.virtualAddresses });
  process.stdout.write(`open ${plane.listenerCount('error')}\n`);
} catch (error) {
  if (!(error instanceof IcvpnError)) throw error;
  process.stdout.write(`${error.code}\n`);
}

/** The owner's policy: checked, signed, and kept beside the descriptor. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatPrefix } from '../codec/ip.ts';
import type { PolicyDocument } from '../policy/document.ts';
import { readPolicy } from '../policy/embedded-tests.ts';
import { overlap, parseSubnet } from '../policy/subnet.ts';
import type { ServiceDescriptor } from '../records/descriptor.ts';
import { type Opened, open, seal } from '../records/envelope.ts';
import { POLICY, type PolicyRecord } from '../records/policy-record.ts';
import { ipv6Prefix } from '../records/virtual-address.ts';
import { OwnerError, readDescriptor, readOwnerKey } from './directory.ts';

/** Kept so that the next one gets a higher sequence. */
const policyPath = (dir: string): string => join(dir, 'policy');

/**
 * Signs a policy document as the service's newest.
 *
 * @param document JSON, UTF-8
 * @returns the record, to be published
 * @throws PolicyError when it cannot be read or its tests fail, OwnerError ERR_POLICY_ROUTE
 */
export async function signPolicy(dir: string, document: Uint8Array): Promise<Opened<PolicyRecord>> {
  const { value: service } = await readDescriptor(dir);
  refuseVirtual(readPolicy(document), service);
  const { serviceId } = service;
  const before = (await readSignedPolicy(dir))?.value.sequence ?? 0;
  // The time, so that an owner that lost its directory's copy goes on above what it published.
  const sequence = Math.max(before + 1, Date.now());
  const bytes = await seal(POLICY, { serviceId, sequence, document }, await readOwnerKey(dir));
  await writeFile(policyPath(dir), bytes, { mode: 0o644 });
  return open(POLICY, bytes);
}

/** The newest policy that the owner of `dir` signed; undefined when there is none. */
export async function readSignedPolicy(dir: string): Promise<Opened<PolicyRecord> | undefined> {
  try {
    return await open(POLICY, Uint8Array.from(await readFile(policyPath(dir))));
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
}

/** A gateway that announced members' own addresses would take their packets. */
function refuseVirtual({ routes }: PolicyDocument, service: ServiceDescriptor): void {
  const virtual = [service.ipv4Prefix, ipv6Prefix(service.serviceId)].map(formatPrefix);
  for (const [i, { subnets }] of routes.entries()) {
    for (const [j, subnet] of subnets.entries()) {
      const clash = virtual.find((each) => overlap(parseSubnet(each), subnet));
      if (clash === undefined) continue;
      throw new OwnerError(
        'ERR_POLICY_ROUTE',
        `policy, routes[${i}].subnets[${j}]: ${subnet.text} overlaps ${clash}, the service's own addresses`,
        'route other subnets, or make the service with another --ipv4',
      );
    }
  }
}

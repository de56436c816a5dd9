/**
 * Where in the kernel a member is, in its state directory: `icvpn down` finds by it what a daemon that is over has left.
 *
 * ```
 *  start: written ──▶ down: gone        stop, crash: stays, as the guard does ──▶ down: guard and file go
 * ```
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { IcvpnError } from '../../errors.ts';
import { removeFile, replaceFile } from '../../files/atomic.ts';
import { DataPlane, type DataPlaneOptions, type GuardLeft } from '../../ipsec/dataplane.ts';
import { nft } from '../../ipsec/firewall/nft.ts';
import { removal, tableName } from '../../ipsec/firewall/rules.ts';
import { lockState } from '../state-lock.ts';

export type KernelPlace = Pick<
  DataPlaneOptions,
  'interfaceName' | 'ifId' | 'virtualAddresses' | 'prefixes'
>;

const fileIn = (stateDir: string): string => join(stateDir, 'kernel.json');

/** @throws FileError */
export function rememberPlace(stateDir: string, place: KernelPlace): Promise<void> {
  return replaceFile(fileIn(stateDir), new TextEncoder().encode(`${JSON.stringify(place)}\n`));
}

export const forgetPlace = (stateDir: string): Promise<void> => removeFile(fileIn(stateDir));

/**
 * Takes away what a member that is over has left in the kernel.
 *
 * @returns undefined if it has left nothing
 * @throws IcvpnError `ERR_STATE` if the file is damaged, `ERR_ALREADY_RUNNING`; as {@link DataPlane.open}
 */
export async function takeAwayLeft(stateDir: string): Promise<GuardLeft | undefined> {
  const place = await readPlace(stateDir);
  if (place === undefined) return undefined;
  await using _ = await lockState(stateDir, 'icvpn down');
  const left = await DataPlane.takeAway(place);
  await nft(removal(tableName(place.ifId)), {});
  if (!left.kept) await forgetPlace(stateDir);
  return left;
}

async function readPlace(stateDir: string): Promise<KernelPlace | undefined> {
  let text: string;
  try {
    text = await readFile(fileIn(stateDir), 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return placeOf(JSON.parse(text));
  } catch (cause) {
    throw new IcvpnError(
      'ERR_STATE',
      `${fileIn(stateDir)} is damaged`,
      'Start the member again, which writes it anew, then run icvpn down.',
      { cause },
    );
  }
}

/** @throws TypeError where something is missing */
function placeOf(json: unknown): KernelPlace {
  const { interfaceName, ifId, virtualAddresses, prefixes } = fields(json);
  if (typeof interfaceName !== 'string' || typeof ifId !== 'number') throw new TypeError('fields');
  return {
    interfaceName,
    ifId,
    virtualAddresses: both(virtualAddresses),
    prefixes: both(prefixes),
  };
}

function both(json: unknown): { ipv4: string; ipv6: string } {
  const { ipv4, ipv6 } = fields(json);
  if (typeof ipv4 !== 'string' || typeof ipv6 !== 'string') throw new TypeError('addresses');
  return { ipv4, ipv6 };
}

function fields(json: unknown): Record<string, unknown> {
  if (typeof json !== 'object' || json === null) throw new TypeError('no object');
  return { ...json };
}

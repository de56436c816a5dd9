/** Why there are no security associations with a member, for `icvpn status`. Pure. */
import { isIPv6 } from 'node:net';
import { GateError } from '../overlay/pass.ts';

export interface NoSaStatus {
  /**
   * `idle`: nothing was sent to it yet. `no-common-family`: it tells addresses of a family only that this machine has none of.
   * `no-route`: it tells no address to which this machine has a route. `unreachable`: its port for control connections does
   * not answer. `failed`: a run of the key exchange failed, as `detail` says.
   */
  readonly reason: 'idle' | 'no-common-family' | 'no-route' | 'unreachable' | 'failed';
  /** This VM is behind a NAT: where the member is too, neither can connect to the other. */
  readonly behindNat: boolean;
  readonly detail: string | null;
}

export interface NoSaFacts {
  /** Addresses of this machine that others can use. */
  readonly own: readonly string[];
  /** Addresses at which super-peers see this machine and that it does not have itself. */
  readonly observed: readonly string[];
  /** Addresses that the member tells. */
  readonly told: readonly string[];
  /** Whether this machine has a way to one of them. */
  readonly hasWay: boolean;
  /** Of the last run that this member began. */
  readonly failure: unknown;
}

export function whyNoSa({ own, observed, told, hasWay, failure }: NoSaFacts): NoSaStatus {
  const behindNat = observed.length > 0;
  const why = (reason: NoSaStatus['reason'], detail: string | null = null): NoSaStatus => ({
    ...{ reason, behindNat, detail },
  });
  const families = new Set(own.map(isIPv6));
  if (told.length > 0 && !told.some((each) => families.has(isIPv6(each)))) {
    return why('no-common-family', told.join(', '));
  }
  if (!hasWay) return why('no-route', told.join(', ') || null);
  if (failure === undefined) return why('idle');
  if (failure instanceof GateError && failure.code === 'ERR_UNREACHABLE') {
    return why('unreachable', told.join(', '));
  }
  return why('failed', failure instanceof Error ? failure.message : String(failure));
}

/** In words, for a line of a table. */
export function noSaText({ reason, behindNat, detail }: NoSaStatus): string {
  switch (reason) {
    case 'idle':
      return 'nothing was sent yet';
    case 'no-common-family':
      return `no common address family: it has only ${detail}`;
    case 'no-route':
      return `no route to ${detail ?? 'it: it tells no address'}`;
    case 'unreachable':
      return `its control port does not answer at ${detail}${behindNat ? '; if it is behind a NAT as this VM is, one needs a forwarded port' : ''}`;
    case 'failed':
      return `the key exchange failed: ${detail}`;
  }
}

/**
 * Keeps the plane's policies in the kernel's SPD, and notices what is missing in its SAD (RFC 4301, section 4.4).
 *
 * ```
 *  event ─▶ caused by another? ─▶ dump ─▶ as intended: nothing
 *                                   └ not: the peers concerned stand still ─▶ dump anew ─┬▶ policies: put back
 *                                                                                       └▶ SAs: told as lost
 * ```
 *
 * Intended is what the records of the peers say. While work on a peer is under way its record and the kernel may differ;
 * so what is amiss at the first look counts only if it is at the second. The keys of an SA are nowhere but in the kernel: a
 * lost one cannot come back. Without policies, or without SAs, nothing passes.
 */
import type { Repairable } from '../guard/reconciler.ts';
import { canonicalPrefix } from '../xfrm/address.ts';
import type { XfrmClient } from '../xfrm/client.ts';
import type { XfrmEvent } from '../xfrm/event.ts';
import type { PolicySpec } from '../xfrm/policy.ts';
import type { State } from '../xfrm/state.ts';
import { closeGate } from './gate.ts';
import { rethrow } from './ownership.ts';
import type { InstalledSa, PeerRecord } from './peer-record.ts';
import type { PeerTable } from './peer-table.ts';
import { GATE_PRIORITY, gatePolicies, peerPolicies } from './policies.ts';
import type { LossNotice } from './types.ts';

export interface DatabasesOptions {
  /** By which the plane makes all its changes. */
  readonly xfrm: XfrmClient;
  readonly peers: PeerTable;
  readonly ifId: number;
  readonly onLost: (notice: LossNotice) => void;
}

/** Milliseconds after which it looks also without an event. */
const PERIOD_MS = 10_000;

/** What the kernel has, to be compared. */
interface Picture {
  readonly policies: ReadonlySet<string>;
  readonly states: ReadonlySet<string>;
}

interface Amiss {
  readonly policies: readonly PolicySpec[];
  readonly sas: readonly InstalledSa[];
}

export class Databases implements Repairable {
  readonly #options: DatabasesOptions;
  #certain = false;
  #lookedAt = Number.NEGATIVE_INFINITY;

  constructor(options: DatabasesOptions) {
    this.#options = options;
  }

  /** @returns whether it tells that another program may have changed what is the plane's */
  concerns(event: XfrmEvent, port: number): boolean {
    if (port === this.#options.xfrm.port || !this.#mayBeOurs(event)) return false;
    this.#certain = false;
    return true;
  }

  #mayBeOurs(event: XfrmEvent): boolean {
    const { ifId, peers } = this.#options;
    switch (event.type) {
      case 'state-delete':
      case 'state-update':
        return peers.byReqid(event.state.reqid) !== undefined;
      case 'policy-delete':
      case 'policy-update':
      case 'policy-expire':
        return event.policy.ifId === ifId || event.policy.priority === GATE_PRIORITY;
      default:
        return ['state-flush', 'policy-flush', 'overrun', 'migrate'].includes(event.type);
    }
  }

  async repair(): Promise<readonly string[]> {
    const now = performance.now();
    if (this.#certain && now < this.#lookedAt + PERIOD_MS) return [];
    this.#lookedAt = now;
    this.#certain = true; // whoever changes something from now on makes it uncertain again
    try {
      return await this.#compare();
    } catch (error) {
      this.#certain = false;
      throw error;
    }
  }

  async #compare(): Promise<readonly string[]> {
    const { peers } = this.#options;
    const seen = await this.#picture();
    const suspects = peers.values().filter((peer) => isAmiss(amiss(peer, seen)));
    if (suspects.length === 0) return [];
    return standingStill(suspects, async () => {
      const still = await this.#picture();
      const repaired = new Set<string>();
      for (const peer of suspects) {
        if (peers.byReqid(peer.reqid) !== peer) continue; // removed meanwhile
        const { policies, sas } = amiss(peer, still);
        if (sas.length > 0) repaired.add('SAs lost');
        if (policies.length > 0) repaired.add('IPsec policies');
        await this.#settle(peer, { policies, sas });
      }
      return [...repaired];
    });
  }

  async #settle(peer: PeerRecord, { policies, sas }: Amiss): Promise<void> {
    const { xfrm, onLost } = this.#options;
    rethrow(await xfrm.updatePolicies(policies));
    for (const { direction, spi } of sas) peer.drop(direction, spi);
    if (sas.some(({ direction }) => direction === 'out')) await closeGate(xfrm, peer);
    for (const { direction, spi, larval } of sas) {
      if (!larval) onLost({ peerId: peer.id, spi, direction });
    }
  }

  async #picture(): Promise<Picture> {
    const { xfrm } = this.#options;
    const policies = new Set((await xfrm.policies()).map(policyText));
    const states = new Set((await xfrm.states()).map(stateText));
    return { policies, states };
  }
}

/** Runs `work` when no other work on these peers is under way; what comes meanwhile waits. */
async function standingStill<T>(peers: readonly PeerRecord[], work: () => Promise<T>): Promise<T> {
  const { promise: over, resolve: end } = Promise.withResolvers<void>();
  const still = peers.map((peer) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    void peer.serially(() => {
      resolve();
      return over;
    });
    return promise;
  });
  try {
    await Promise.all(still);
    return await work();
  } finally {
    end();
  }
}

function amiss(peer: PeerRecord, { policies, states }: Picture): Amiss {
  const { context, gate, underlay, reqid } = peer;
  const intended = [...peerPolicies(context), ...gatePolicies(context, gate.phase)];
  return {
    policies: intended.filter((each) => !policies.has(policyText(each))),
    sas: peer.sas.filter(({ spi, direction }) => {
      const destination = direction === 'in' ? underlay.local : underlay.remote;
      return !states.has(stateText({ destination, spi, reqid }));
    }),
  };
}

const isAmiss = ({ policies, sas }: Amiss): boolean => policies.length + sas.length > 0;

/** Name and content of a policy, as far as the plane's have them: one that another program has altered has another text. */
function policyText(policy: PolicySpec): string {
  const { direction, selector, ifId, mark, action = 'allow', priority, templates = [] } = policy;
  const { source, destination, interfaceIndex, protocol, sourcePort, destinationPort } = selector;
  const narrower = [protocol, sourcePort, destinationPort, selector.user, mark];
  return JSON.stringify([
    ...[direction, action, priority, ifId, policy.type ?? 'main', interfaceIndex, narrower],
    ...[canonicalPrefix(source), canonicalPrefix(destination)],
    templates.map((each) => [
      ...[each.source, each.destination, each.mode, each.protocol, each.reqid, each.spi],
      each.optional,
    ]),
  ]);
}

const stateText = ({
  destination,
  spi,
  reqid,
}: Pick<State, 'destination' | 'spi' | 'reqid'>): string => `${destination} ${spi} ${reqid}`;

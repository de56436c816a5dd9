/** Members whose node key two machines use: told in log, audit log and status of a super-peer. */
import type { Ed25519PeerId } from '@libp2p/interface';
import type { AuditLog } from '../admission/audit.ts';
import type { Duplicate } from '../overlay/directory-server.ts';
import type { Log } from './log.ts';

/** Milliseconds for which one is shown after it was seen last, and between two lines about it. */
const SHOWN_MS = 600_000;
/** Of all services; the longest known go first. */
const MAX_DUPLICATES = 256;

/** As `icvpn status` of a super-peer shows it. */
export interface DuplicateStatus {
  readonly vmid: string;
  readonly peerId: string;
  /** Where the two machines are, as far as this super-peer can tell. */
  readonly places: readonly string[];
}

interface Known extends DuplicateStatus {
  readonly serviceId: string;
  /** By the monotonic clock, in milliseconds. */
  readonly toldAt: number;
  readonly seenAt: number;
}

export interface DuplicateDeskOptions {
  /** Undefined until the audit log is open. */
  readonly audit: () => Pick<AuditLog, 'append'> | undefined;
  readonly log: Log;
}

export class DuplicateDesk {
  readonly #options: DuplicateDeskOptions;
  /** By service and node. */
  readonly #known = new Map<string, Known>();

  constructor(options: DuplicateDeskOptions) {
    this.#options = options;
  }

  /** Two machines were seen. They are told of when that is new, and again after ten minutes. */
  note(service: Ed25519PeerId, { member, places }: Duplicate): void {
    const { peerId, vmid } = member.value;
    const serviceId = service.toString();
    const now = performance.now();
    const name = `${serviceId} ${peerId}`;
    const before = this.#known.get(name);
    const isNew = before === undefined || now - before.toldAt > SHOWN_MS;
    const toldAt = isNew ? now : before.toldAt;
    this.#known.delete(name);
    this.#known.set(name, {
      ...{ serviceId, vmid, places, peerId: peerId.toString() },
      ...{ toldAt, seenAt: now },
    });
    const [oldest] = this.#known.keys();
    if (this.#known.size > MAX_DUPLICATES && oldest) this.#known.delete(oldest);
    if (isNew) this.#tell(serviceId, { vmid, places, peerId: peerId.toString() });
  }

  /** Those of one service that were seen lately. */
  of(service: Ed25519PeerId): DuplicateStatus[] {
    const since = performance.now() - SHOWN_MS;
    const serviceId = service.toString();
    return [...this.#known.values()]
      .filter((each) => each.serviceId === serviceId && each.seenAt >= since)
      .map(({ vmid, peerId, places }) => ({ vmid, peerId, places }));
  }

  #tell(serviceId: string, { vmid, peerId, places }: DuplicateStatus): void {
    const { audit, log } = this.#options;
    const cause = `two machines use its node key: ${places.join(' and ')}`;
    log('duplicate-node', { service: serviceId, peer: peerId, vmid, places: places.join(' and ') });
    audit()
      ?.append({ event: 'duplicate', serviceId, peerId, vmid, cause })
      .catch((error) => log('audit-failed', { why: String(error) }));
  }
}

/** A super-peer's door: the admission server with what it stands on, store and audit log. */
import type { Ed25519PrivateKey } from '@libp2p/interface';
import { AuditLog } from '../admission/audit.ts';
import { ADMISSION_PROTOCOL, type AdmissionLimits, AdmissionServer } from '../admission/server.ts';
import type { AdmissionStore } from '../admission/store.ts';
import type { Host } from '../overlay/host.ts';
import { auditPath } from './audit-path.ts';
import type { Log } from './log.ts';
import type { Services } from './services.ts';

/** Used tickets that are worthless anyway are forgotten this often, in milliseconds. */
const TIDY_INTERVAL_MS = 3_600_000;

export interface DoorOptions {
  readonly host: Host;
  readonly services: Services;
  readonly key: Ed25519PrivateKey;
  readonly store: AdmissionStore;
  readonly stateDir: string;
  /** Of what strangers may use, where they are to differ from the usual ones. */
  readonly limits?: Partial<AdmissionLimits>;
  readonly log: Log;
}

export class Door implements AsyncDisposable {
  readonly audit: AuditLog;
  readonly #owned: AsyncDisposableStack;

  private constructor(audit: AuditLog, owned: AsyncDisposableStack) {
    this.audit = audit;
    this.#owned = owned;
  }

  static async open(options: DoorOptions): Promise<Door> {
    await using owned = new AsyncDisposableStack();
    const { host, services, key, store, log, limits = {} } = options;
    const audit = await AuditLog.open(auditPath(options.stateDir));
    owned.defer(() => audit.close());
    const onFault = seldom((error) => log('not-stored', { why: String(error) }));
    const tidy = setInterval(() => {
      try {
        const now = Math.floor(Date.now() / 1000);
        store.forgetTickets(now);
        store.forgetStranded(now);
      } catch (error) {
        onFault(error);
      }
    }, TIDY_INTERVAL_MS);
    owned.defer(() => clearInterval(tidy));
    const server = new AdmissionServer({
      ...{ key, store, audit, limits, onFault },
      services: (id) => services.get(id)?.door,
      leaseIpv4: (door, peerId, held) => services.ofDoor(door).leaseIpv4(peerId, held),
      allowedSubnets: (door, member) => services.ofDoor(door).allowedSubnets(member),
      barred: (door, peerId) => services.ofDoor(door).trust.barred(peerId),
      ticketRevoked: (door, id) => services.ofDoor(door).trust.ticketRevoked(id),
      revoked: (door, credential) =>
        services.ofDoor(door).trust.trust().revoked?.(credential) === true,
      isStranded: (door, credential) => services.ofDoor(door).isStranded(credential),
      onAdmitted: async (door, applicant, credential) => {
        services.ofDoor(door).admitted(applicant, credential);
        const { serviceId: service } = door.descriptor.value;
        log('admitted', { service, peerId: applicant.peerId, vmid: applicant.vmid });
      },
    });
    owned.defer(() => server.close());
    const protocol = ADMISSION_PROTOCOL;
    await host.libp2p.handle(protocol, (stream, connection) => server.handle(stream, connection));
    owned.defer(() => host.libp2p.unhandle(protocol));
    return new Door(audit, owned.move());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#owned.disposeAsync();
  }
}

/** Calls `tell` once a minute at most: what a full disk refuses is asked for over and over. */
function seldom(tell: (error: unknown) => void): (error: unknown) => void {
  let next = 0;
  return (error) => {
    if (performance.now() < next) return;
    next = performance.now() + 60_000;
    tell(error);
  };
}

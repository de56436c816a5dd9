/**
 * Revocations at a super-peer: it takes back what it admitted itself, and writes down in its audit log
 * whoever is thrown out, by itself or by the owner.
 */
import type { AbortOptions, Ed25519PeerId, Ed25519PrivateKey } from '@libp2p/interface';
import type { AuditLog } from '../admission/audit.ts';
import { IcvpnError } from '../errors.ts';
import type { Records } from '../overlay/records.ts';
import { REVOCATION_RECORD } from '../overlay/stored-kinds.ts';
import { MAX_REVOCATIONS, type RevocationList } from '../records/revocation.ts';
import type { Log } from './log.ts';
import type { ServedService } from './served-service.ts';
import type { Services } from './services.ts';

export interface RevocationsOptions {
  readonly records: Records;
  readonly services: Services;
  readonly key: Ed25519PrivateKey;
  readonly peerId: Ed25519PeerId;
  readonly audit: Pick<AuditLog, 'append'>;
  readonly log: Log;
}

export class RevocationDesk implements Disposable {
  readonly #options: RevocationsOptions;
  readonly #unwatch: () => void;
  /** Issuer, service and node of those written down, or known when this process started. */
  readonly #known = new Set<string>();

  constructor(options: RevocationsOptions) {
    this.#options = options;
    const { records, services, peerId } = options;
    for (const { trust } of services.all()) {
      for (const issuer of [trust.serviceId, peerId]) {
        const list = records.latest(REVOCATION_RECORD, trust.serviceId, issuer);
        for (const name of list ? namesOf(list.value) : []) this.#known.add(name);
      }
    }
    this.#unwatch = records.watch(REVOCATION_RECORD, ({ value }) => {
      this.#write(value).catch((error) => options.log('audit-failed', { why: String(error) }));
    });
  }

  /**
   * Throws a member out that this super-peer admitted.
   *
   * @throws IcvpnError ERR_NOT_MY_MEMBER; ERR_RECORD_NOT_STORED when it is out, but only until a restart
   */
  async revoke(member: Ed25519PeerId, options: AbortOptions = {}): Promise<{ service: string }[]> {
    const mine = this.#admittedHere(member);
    if (mine.length === 0) {
      throw new IcvpnError(
        'ERR_NOT_MY_MEMBER',
        `${member} is not a member that this super-peer admitted`,
        "revoke it where it was admitted, or as the service's owner with --dir",
      );
    }
    // At all before any failure is told: one that cannot be written down must not spare the member elsewhere.
    const results = await Promise.allSettled(
      mine.map((service) => this.#revokeFrom(service, member, options)),
    );
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    return mine.map(({ trust }) => ({ service: trust.serviceId.toString() }));
  }

  #admittedHere(member: Ed25519PeerId): ServedService[] {
    return this.#options.services.all().filter(({ membership }) => {
      const admittedBy = membership.member(member)?.credential.value.admittedBy;
      return admittedBy?.equals(this.#options.peerId) ?? false;
    });
  }

  async #revokeFrom(
    { trust: { serviceId } }: ServedService,
    member: Ed25519PeerId,
    options: AbortOptions,
  ): Promise<void> {
    const { records, key, peerId: issuer } = this.#options;
    const old = records.latest(REVOCATION_RECORD, serviceId, issuer)?.value;
    const kept = old?.revocations.filter((each) => !each.peerId.equals(member)) ?? [];
    const since = Math.floor(Date.now() / 1000);
    const revocations = [...kept, { peerId: member, serial: undefined, since }];
    const sequence = records.nextSequence(REVOCATION_RECORD, serviceId, issuer);
    // The oldest go first: their credentials have ended long since.
    const newest = revocations.slice(-MAX_REVOCATIONS);
    const list = { serviceId, issuer, sequence, revocations: newest, tickets: [] };
    await records.put(REVOCATION_RECORD, list, key, options);
  }

  async #write(list: RevocationList): Promise<void> {
    const { services, audit } = this.#options;
    const serviceId = list.serviceId.toString();
    if (!services.get(serviceId)?.trust.heeds(list.issuer.toString())) return;
    const cause = list.issuer.equals(list.serviceId) ? 'by the owner' : `by ${list.issuer}`;
    for (const { peerId } of list.revocations) {
      const name = nameOf(list, peerId);
      if (this.#known.has(name)) continue;
      this.#known.add(name);
      await audit.append({ event: 'revoked', serviceId, peerId: peerId.toString(), cause });
    }
  }

  [Symbol.dispose](): void {
    this.#unwatch();
  }
}

const nameOf = ({ issuer, serviceId }: RevocationList, peer: Ed25519PeerId): string =>
  `${issuer} ${serviceId} ${peer}`;

const namesOf = (list: RevocationList): string[] =>
  list.revocations.map(({ peerId }) => nameOf(list, peerId));

/** Requests to the kernel's IPsec databases. */
import { NetlinkClient } from '../netlink/client.ts';
import { MalformedError, type NetlinkError } from '../netlink/errors.ts';
import { type Message, NLM_F_REPLACE } from '../netlink/framing.ts';
import type { CallOptions } from '../netlink/inflight.ts';
import { NETLINK_XFRM } from '../netlink/socket.ts';
import { type AsyncThresholds, decodeAsync, encodeAsync } from './async.ts';
import {
  decodeDefaults,
  decodePolicyCounts,
  decodeStateCounts,
  emptyHead,
  encodeDefaults,
  encodeHashThresholds,
  type HashThresholds,
  type PolicyCounts,
  type PolicyDefaults,
  type StateCounts,
} from './counts.ts';
import { ALLOCATE_SPI, xfrmError } from './errors.ts';
import type { AsyncEvent } from './event.ts';
import { IPSEC_PROTO_ANY, XFRM_MSG } from './kernel/constants.ts';
import { xfrmUsersaFlush } from './kernel/state.ts';
import { encodeMigrate, type MigrateSpec } from './migrate.ts';
import { type Protocol, protocols } from './names.ts';
import type { Policy, PolicyId, PolicyIndex, PolicySpec, PolicyType } from './policy.ts';
import { decodePolicy, encodePolicy, encodePolicyFlush, encodePolicyId } from './policy-codec.ts';
import type { SpiRequest, State, StateFilter, StateId, StateSpec } from './state.ts';
import {
  decodeState,
  encodeFilter,
  encodeSpiRequest,
  encodeState,
  encodeStateId,
} from './state-codec.ts';

export interface KeyOptions extends CallOptions {
  /** Keep the keys that the kernel tells; off if left out. */
  readonly withKeys?: boolean | undefined;
}

/** One of many that failed. */
export interface BulkFailure {
  /** Its place in the list that was given. */
  readonly index: number;
  readonly error: NetlinkError;
}

/**
 * The kernel's security association and policy databases, of the network namespace that the
 * process was in when the client was made. Needs CAP_NET_ADMIN.
 *
 * Every call takes a signal and a time limit, and throws: XfrmError for a refusal, ValueError for
 * a value that fits no field, NetlinkError `ERR_NETLINK_TIMEOUT`, `ERR_NETLINK_CLOSED` and
 * `ERR_NETLINK_BROKEN`, MalformedError, or the signal's reason.
 */
export class XfrmClient implements Disposable {
  readonly #netlink = new NetlinkClient({ protocol: NETLINK_XFRM, refuse: xfrmError });

  /** That events bear which this client's requests have caused. */
  get port(): number {
    return this.#netlink.port;
  }

  /** Adds a state. @throws XfrmError `ERR_XFRM_EXISTS`. Equivalent to: `ip xfrm state add` */
  async addState(spec: StateSpec, call?: CallOptions): Promise<void> {
    await this.#do('add state', XFRM_MSG.NEWSA, encodeState(spec), call);
  }

  /**
   * Fills in a larval state, or changes lifetimes, encapsulation and marks of a real one (its keys
   * stay as they are). @throws XfrmError `ERR_XFRM_NOT_FOUND`. Equivalent to: `ip xfrm state update`
   */
  async updateState(spec: StateSpec, call?: CallOptions): Promise<void> {
    await this.#do('update state', XFRM_MSG.UPDSA, encodeState(spec), call);
  }

  /** @throws XfrmError `ERR_XFRM_NOT_FOUND`. Equivalent to: `ip xfrm state delete` */
  async deleteState(id: StateId, call?: CallOptions): Promise<void> {
    await this.#do('delete state', XFRM_MSG.DELSA, encodeStateId(id), call);
  }

  /** @throws XfrmError `ERR_XFRM_NOT_FOUND`. Equivalent to: `ip xfrm state get` */
  async getState(id: StateId, call: KeyOptions = {}): Promise<State> {
    const decode = ({ body }: Message) => decodeState(body, call.withKeys);
    return this.#ask('get state', XFRM_MSG.GETSA, encodeStateId(id), decode, call);
  }

  /** All states, or those that the filter names. Equivalent to: `ip xfrm state list [src P] [dst P] [proto P]` */
  async states(call: KeyOptions & StateFilter = {}): Promise<State[]> {
    const request = { operation: 'dump states', type: XFRM_MSG.GETSA, body: encodeFilter(call) };
    const found = await this.#netlink.dump(
      request,
      ({ body }) => decodeState(body, call.withKeys),
      call,
    );
    return found.filter((state) => state !== undefined);
  }

  /** Deletes all states, or those of one protocol. Equivalent to: `ip xfrm state flush` */
  async flushStates(protocol?: Protocol, call?: CallOptions): Promise<void> {
    const proto = protocol ? protocols.encode(protocol, 'protocol') : IPSEC_PROTO_ANY;
    await this.#do('flush states', XFRM_MSG.FLUSHSA, xfrmUsersaFlush.encode({ proto }), call);
  }

  /**
   * Makes a larval state with an SPI of its own and returns it. Equivalent to: `ip xfrm state allocspi`
   *
   * @throws XfrmError `ERR_XFRM_NO_SPI` if none was found in the range.
   */
  async allocateSpi(request: SpiRequest, call?: CallOptions): Promise<State> {
    const decode = ({ body }: Message) => decodeState(body);
    return this.#ask(ALLOCATE_SPI, XFRM_MSG.ALLOCSPI, encodeSpiRequest(request), decode, call);
  }

  /**
   * Adds many states in few system calls, all that can be.
   *
   * @returns those that failed.
   */
  async addStates(specs: readonly StateSpec[], call?: CallOptions): Promise<BulkFailure[]> {
    return this.#bulk('add state', XFRM_MSG.NEWSA, specs.map(encodeState), call);
  }

  /** Deletes many states, all that can be. @returns those that failed. */
  async deleteStates(ids: readonly StateId[], call?: CallOptions): Promise<BulkFailure[]> {
    return this.#bulk('delete state', XFRM_MSG.DELSA, ids.map(encodeStateId), call);
  }

  /** Adds a policy. @throws XfrmError `ERR_XFRM_EXISTS`. Equivalent to: `ip xfrm policy add` */
  async addPolicy(spec: PolicySpec, call?: CallOptions): Promise<void> {
    await this.#do('add policy', XFRM_MSG.NEWPOLICY, encodePolicy(spec), call);
  }

  /** Adds a policy or replaces the one of that name at once. Equivalent to: `ip xfrm policy update` */
  async updatePolicy(spec: PolicySpec, call?: CallOptions): Promise<void> {
    await this.#do('update policy', XFRM_MSG.UPDPOLICY, encodePolicy(spec), call);
  }

  /** @throws XfrmError `ERR_XFRM_NOT_FOUND`. Equivalent to: `ip xfrm policy delete` */
  async deletePolicy(id: PolicyId | PolicyIndex, call?: CallOptions): Promise<void> {
    await this.#do('delete policy', XFRM_MSG.DELPOLICY, encodePolicyId(id), call);
  }

  /** @throws XfrmError `ERR_XFRM_NOT_FOUND`. Equivalent to: `ip xfrm policy get` */
  async getPolicy(id: PolicyId | PolicyIndex, call?: CallOptions): Promise<Policy> {
    const decode = ({ body }: Message) => decodePolicy(body);
    return this.#ask('get policy', XFRM_MSG.GETPOLICY, encodePolicyId(id), decode, call);
  }

  /** All policies but those of sockets. Equivalent to: `ip xfrm policy list nosock` */
  async policies(call?: CallOptions): Promise<Policy[]> {
    const request = {
      operation: 'dump policies',
      type: XFRM_MSG.GETPOLICY,
      body: new Uint8Array(),
    };
    const found = await this.#netlink.dump(request, ({ body }) => decodePolicy(body), call);
    return found.filter((policy) => policy !== undefined);
  }

  /**
   * Deletes all policies of a type, `main` if left out, but those of sockets. Equivalent to:
   * `ip xfrm policy flush ptype TYPE`
   */
  async flushPolicies(call?: CallOptions & { readonly type?: PolicyType }): Promise<void> {
    await this.#do('flush policies', XFRM_MSG.FLUSHPOLICY, encodePolicyFlush(call?.type), call);
  }

  /** Adds or replaces many policies, all that can be. @returns those that failed. */
  async updatePolicies(specs: readonly PolicySpec[], call?: CallOptions): Promise<BulkFailure[]> {
    return this.#bulk('update policy', XFRM_MSG.UPDPOLICY, specs.map(encodePolicy), call);
  }

  /** Deletes many policies, all that can be. @returns those that failed. */
  async deletePolicies(
    ids: readonly (PolicyId | PolicyIndex)[],
    call?: CallOptions,
  ): Promise<BulkFailure[]> {
    return this.#bulk('delete policy', XFRM_MSG.DELPOLICY, ids.map(encodePolicyId), call);
  }

  /** Equivalent to: `ip -s xfrm state count` */
  async stateCounts(call?: CallOptions): Promise<StateCounts> {
    const decode = ({ body }: Message) => decodeStateCounts(body);
    return this.#ask('count states', XFRM_MSG.GETSADINFO, emptyHead(), decode, call);
  }

  /** Equivalent to: `ip -s xfrm policy count` */
  async policyCounts(call?: CallOptions): Promise<PolicyCounts> {
    const decode = ({ body }: Message) => decodePolicyCounts(body);
    return this.#ask('count policies', XFRM_MSG.GETSPDINFO, emptyHead(), decode, call);
  }

  /** Sets from which prefix lengths on policies are hashed. Equivalent to: `ip xfrm policy set hthresh4 .. hthresh6 ..` */
  async setHashThresholds(thresholds: HashThresholds, call?: CallOptions): Promise<void> {
    await this.#do(
      'set hash thresholds',
      XFRM_MSG.NEWSPDINFO,
      encodeHashThresholds(thresholds),
      call,
    );
  }

  /** What happens to packets without a policy. Linux 5.15 and newer. Equivalent to: `ip xfrm policy getdefault` */
  async getDefaults(call?: CallOptions): Promise<PolicyDefaults> {
    const body = encodeDefaults({});
    return this.#ask(
      'get defaults',
      XFRM_MSG.GETDEFAULT,
      body,
      (m) => decodeDefaults(m.body),
      call,
    );
  }

  /** Linux 5.15 and newer. Equivalent to: `ip xfrm policy setdefault` */
  async setDefaults(defaults: Partial<PolicyDefaults>, call?: CallOptions): Promise<void> {
    await this.#do('set defaults', XFRM_MSG.SETDEFAULT, encodeDefaults(defaults), call);
  }

  /**
   * Moves a policy, and for each of its templates one state with the same ends and reqid, to other
   * ends; keys, sequence numbers and SPIs stay. The kernel needs CONFIG_XFRM_MIGRATE. `ip xfrm` has no twin.
   *
   * @throws XfrmError `ERR_XFRM_NOT_FOUND` if there is no such policy.
   */
  async migrate(spec: MigrateSpec, call?: CallOptions): Promise<void> {
    await this.#do('migrate', XFRM_MSG.MIGRATE, encodeMigrate(spec), call);
  }

  /** Replay numbers, usage and thresholds of a state. Twin: what `ip xfrm monitor aevent` prints. */
  async getAsync(id: StateId, call?: CallOptions): Promise<AsyncEvent> {
    const decode = ({ body }: Message) => decodeAsync(body);
    return this.#ask('get thresholds', XFRM_MSG.GETAE, encodeAsync(id), decode, call);
  }

  /** Sets when the kernel tells of a state's progress by itself; needs a state with a replay window. `ip xfrm` has no twin. */
  async setAsyncThresholds(
    id: StateId,
    thresholds: AsyncThresholds,
    call?: CallOptions,
  ): Promise<void> {
    const body = encodeAsync(id, thresholds);
    await this.#do('set thresholds', XFRM_MSG.NEWAE, body, call, NLM_F_REPLACE);
  }

  /** Fails what is under way and closes the socket. */
  close(): void {
    this.#netlink.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #do(
    operation: string,
    type: number,
    body: Uint8Array,
    call?: CallOptions,
    flags = 0,
  ): Promise<void> {
    try {
      await this.#netlink.request({ operation, type, body, flags }, () => undefined, call);
    } finally {
      body.fill(0);
    }
  }

  async #ask<T>(
    operation: string,
    type: number,
    body: Uint8Array,
    decode: (message: Message) => T | undefined,
    call?: CallOptions,
  ): Promise<T> {
    const [answer] = await this.#netlink.request({ operation, type, body }, decode, call);
    if (answer === undefined)
      throw new MalformedError(`${operation}: no answer, or an unknown kind`);
    return answer;
  }

  async #bulk(
    operation: string,
    type: number,
    bodies: readonly Uint8Array[],
    call?: CallOptions,
  ): Promise<BulkFailure[]> {
    try {
      const requests = bodies.map((body) => ({ operation, type, body }));
      const outcome = await this.#netlink.batch(requests, call);
      return outcome.flatMap((error, index) => (error === undefined ? [] : [{ index, error }]));
    } finally {
      for (const body of bodies) body.fill(0);
    }
  }
}

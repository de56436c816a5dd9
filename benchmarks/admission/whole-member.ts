/** What single VMs do in the benchmarks here beside being admitted: bother, renew, agree on keys. */

import { randomBytes } from 'node:crypto';
import type { Ed25519PeerId } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { type Admission, requestRenewal } from '../../src/admission/client.ts';
import { Opening, Reply } from '../../src/admission/messages.ts';
import type { SuperPeerAddress } from '../../src/index.ts';
import type { ExchangeContext } from '../../src/keymgmt/exchange/context.ts';
import type { PathOffer } from '../../src/keymgmt/exchange/path.ts';
import {
  EXCHANGE_PROTOCOL_SUFFIX,
  runInitiator,
  runResponder,
} from '../../src/keymgmt/exchange/protocol.ts';
import { ALL_SUITES } from '../../src/keymgmt/exchange/suite.ts';
import { Gate } from '../../src/overlay/gate.ts';
import { AddressPlan } from '../../src/records/address-plan.ts';
import { CREDENTIAL } from '../../src/records/credential.ts';
import { open } from '../../src/records/envelope.ts';
import { admissionStream, type Vm } from '../../test/unit/daemon/world.ts';

/** Says hello with an A that costs nothing to make, reads the answer, and says nothing more. */
export async function beginAdmission(
  vm: Vm,
  at: SuperPeerAddress,
  serviceId: Ed25519PeerId,
): Promise<Reply> {
  const stream = await admissionStream(vm, at);
  const link = lpStream(stream);
  const A = randomBytes(256).fill(1, 0, 1);
  const login = { identity: 'member', nonce: randomBytes(32), A, ticket: undefined };
  const admit = { version: 1, suite: 1, serviceId, ...login };
  await link.write(Opening.encode({ admit, renew: undefined }));
  const reply = Reply.decode((await link.read()).subarray());
  if (reply.busy !== undefined) stream.abort(new Error('busy'));
  return reply;
}

export async function renew(vm: Vm, at: SuperPeerAddress, last: Admission): Promise<Admission> {
  const { credential, renewalKey } = last;
  return requestRenewal(await admissionStream(vm, at), {
    ...{ key: vm.key, superPeer: at.peerId, serviceId: credential.value.serviceId },
    ...{ credential, renewalKey, multiaddrs: vm.multiaddrs() },
  });
}

/** ESP as it is, with no look at addresses. */
const PATH: PathOffer = {
  policy: 'esp',
  addresses: [],
  seen: undefined,
  udpPort: undefined,
  blocked: 0,
};

const LIFETIMES = { seconds: 3600, bytes: 2 ** 40, packets: 2 ** 32 };

/** A data plane that has no kernel. */
let spi = 256;
const HOOKS = {
  allocateSpi: async () => spi++,
  installInbound: async () => {},
  installOutbound: async () => {},
  release: async () => {},
};

/** Two members that agree on keys again and again, through their gates. */
export class Pair {
  readonly #gate: Gate;
  readonly #to: Vm;
  readonly #context: ExchangeContext;

  private constructor(gate: Gate, to: Vm, context: ExchangeContext) {
    this.#gate = gate;
    this.#to = to;
    this.#context = context;
  }

  static async between(vms: readonly Vm[], admissions: ReadonlyMap<Vm, Admission>): Promise<Pair> {
    const [a, b] = vms;
    if (a === undefined || b === undefined) throw new Error('there must be two VMs');
    const of = (vm: Vm, peer: Vm): { gate: Gate; context: ExchangeContext } => {
      const admission = admissions.get(vm);
      if (admission === undefined) throw new Error('not admitted');
      const { credential, descriptor, epochPsk } = admission;
      const { serviceId, epoch, admitters } = descriptor.value;
      const addresses = new AddressPlan(descriptor.value);
      const trust = { epoch, admitters: admitters.map(({ peerId }) => peerId), addresses };
      const options = { credential: () => credential.bytes, trust: () => trust };
      const gate = new Gate(vm, { overlayId: serviceId, ...options });
      const context = {
        ...{ serviceId, epoch, psk: epochPsk, peer: peer.peerId, suites: ALL_SUITES },
        ...{ identity: { key: vm.key, credential: credential.bytes }, lifetimes: LIFETIMES },
        path: PATH,
        verify: (envelope: Uint8Array) => open(CREDENTIAL, envelope),
      };
      return { gate, context };
    };
    const [initiator, responder] = [of(a, b), of(b, a)];
    await initiator.gate.start();
    await responder.gate.start();
    await responder.gate.handle(EXCHANGE_PROTOCOL_SUFFIX, async (stream) => {
      await runResponder(stream, responder.context, HOOKS);
    });
    return new Pair(initiator.gate, b, initiator.context);
  }

  /** @returns milliseconds that each took */
  async exchanges(times: number): Promise<number[]> {
    const took: number[] = [];
    for (let n = 0; n < times; n++) {
      const start = performance.now();
      const target = this.#to.libp2p.getMultiaddrs();
      const stream = await this.#gate.open(target, EXCHANGE_PROTOCOL_SUFFIX);
      await runInitiator(stream, this.#context, HOOKS);
      took.push(performance.now() - start);
    }
    return took;
  }
}

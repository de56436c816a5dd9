import { IcvpnError } from '../../errors.ts';

/** What ended an exchange. Each has one remedy, below. */
export type ExchangeFault =
  /** Bytes that are no message of the protocol, or not the one whose turn it is. */
  | 'message'
  /** The peer speaks another version of the exchange. */
  | 'version'
  | 'service'
  | 'epoch'
  | 'suite'
  /** ESP as it is or in UDP: the ends do not agree. */
  | 'path'
  | 'lifetimes'
  | 'cookie'
  /** A key share that is no point or key, or of low order. */
  | 'share'
  /** The sealed part does not open: other transcript, other PSK, other PeerIDs, or altered bytes. */
  | 'seal'
  | 'mac'
  | 'signature'
  | 'credential'
  | 'spi'
  | 'finished'
  /** The responder's own run goes on instead. */
  | 'collision'
  | 'overload'
  | 'timeout'
  | 'aborted'
  | 'stream'
  /** A hook (allocate an SPI, install an SA) failed. */
  | 'install'
  /** The caller's own values make no sense: a PSK of the wrong length, no suite, a reserved SPI. */
  | 'context';

/** Faults of an M1 that a responder tells in clear instead of M2. */
export type Refusal = Extract<
  ExchangeFault,
  'epoch' | 'suite' | 'collision' | 'overload' | 'message' | 'path'
>;

const ALTERED =
  'the peer runs another version, or somebody alters the bytes: update both ends, then look at the path between them';
const RETRY = 'it is tried again by itself; if it goes on, look at the path to the peer';

const REMEDIES: Record<ExchangeFault, string> = {
  message: ALTERED,
  version: 'update the older of the two nodes',
  service: 'both ends must run the same service: compare their ServiceIDs',
  epoch: 'one end has missed a change of epoch: let it renew its credential at a super-peer',
  suite: 'give both ends at least one suite in common',
  path: 'let both ends have the same encapsulation, or one of them auto; ESP in UDP needs its port free at both',
  lifetimes: 'the peer chose lifetimes above those offered: update it',
  cookie: RETRY,
  share: ALTERED,
  seal: 'the ends hold different epoch secrets, or the bytes were altered: let both renew their credentials',
  mac: ALTERED,
  signature: 'the peer does not hold the key of its PeerID: do not talk to it',
  credential: 'the peer must renew its credential at a super-peer',
  spi: ALTERED,
  finished: ALTERED,
  collision: 'nothing to do: the other exchange between the same two peers goes on',
  overload: RETRY,
  timeout: RETRY,
  aborted: 'start it again when wanted',
  stream: RETRY,
  install: 'see the cause: the kernel did not take the security association',
  context: 'this is a fault of the program: see the cause',
};

/** An exchange that ended without keys. Everything secret in it has been overwritten. */
export class ExchangeError extends IcvpnError {
  readonly fault: ExchangeFault;
  /** Set at the initiator when the fault is what the peer said in place of M2. */
  readonly refusal: Refusal | undefined;

  constructor(
    fault: ExchangeFault,
    message: string,
    options?: ErrorOptions & { refusal?: Refusal },
  ) {
    super('ERR_EXCHANGE', message, REMEDIES[fault], options);
    this.fault = fault;
    this.refusal = options?.refusal;
  }
}

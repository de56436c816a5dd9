/**
 * Groups and suites of SRP-6a.
 *
 * A suite is what the two ends must agree on: group, hash and how the multiplier k is computed.
 * The first message of an admission names it; nothing is ever guessed from the other end's values.
 */

export interface SrpGroup {
  readonly name: string;
  /** The safe prime, big-endian, without leading zero bytes. */
  readonly N: Uint8Array;
  /** The generator, below 256. */
  readonly g: number;
  readonly hash: 'sha256' | 'sha1';
}

export interface SrpSuite {
  /** What stands for the suite on the wire. */
  readonly id: number;
  readonly group: SrpGroup;
  /**
   * `rfc5054`: k = H(N | PAD(g)), RFC 5054 section 2.5.3. `unpadded`: k = H(N | g) with g as one
   * byte, as the npm package secure-remote-password and other older programs compute it. k is a
   * public constant and either is as strong.
   */
  readonly multiplier: 'rfc5054' | 'unpadded';
}

/** RFC 5054, appendix A: the 2048-bit group, with SHA-256. */
export const GROUP_2048: SrpGroup = {
  name: 'rfc5054-2048-sha256',
  N: Buffer.from(
    'AC6BDB41324A9A9BF166DE5E1389582FAF72B6651987EE07FC3192943DB56050' +
      'A37329CBB4A099ED8193E0757767A13DD52312AB4B03310DCD7F48A9DA04FD50' +
      'E8083969EDB767B0CF6095179A163AB3661A05FBD5FAAAE82918A9962F0B93B8' +
      '55F97993EC975EEAA80D740ADBF4FF747359D041D5C33EA71D281E446B14773B' +
      'CA97B43A23FB801676BD207A436C6481F1D2B9078717461A5B9D32E688F87748' +
      '544523B524B0D57D5EA77A2775D2ECFA032CFBDBF52FB3786160279004E57AE6' +
      'AF874E7303CE53299CCC041C7BC308D82A5698F3A8D0C38271AE35F8E9DBFBB6' +
      '94B5C803D89F7AE435DE236D525F54759B65E372FCD68EF20FA7111F9E4AFF73',
    'hex',
  ),
  g: 2,
  hash: 'sha256',
};

/** The default: what a client built on secure-remote-password speaks. */
export const SUITE_SRP_2048: SrpSuite = { id: 1, group: GROUP_2048, multiplier: 'unpadded' };

/** The same group with the multiplier of RFC 5054. */
export const SUITE_RFC5054_2048: SrpSuite = { id: 2, group: GROUP_2048, multiplier: 'rfc5054' };

const SUITES: readonly SrpSuite[] = [SUITE_SRP_2048, SUITE_RFC5054_2048];

/** @returns the suite with this number; there is none with a group under 2048 bits */
export function suiteById(id: number): SrpSuite | undefined {
  return SUITES.find((suite) => suite.id === id);
}

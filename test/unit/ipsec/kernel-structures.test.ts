import assert from 'node:assert/strict';
import fc from 'fast-check';
import * as link from '../../../src/ipsec/link/kernel.ts';
import { MalformedError, ValueError } from '../../../src/ipsec/netlink/errors.ts';
import { be16, type Struct, struct, u32, u64 } from '../../../src/ipsec/netlink/struct.ts';
import * as event from '../../../src/ipsec/xfrm/kernel/event.ts';
import * as identity from '../../../src/ipsec/xfrm/kernel/identity.ts';
import * as policy from '../../../src/ipsec/xfrm/kernel/policy.ts';
import * as state from '../../../src/ipsec/xfrm/kernel/state.ts';

/** sizeof, as a C compiler gives it for linux/xfrm.h, rtnetlink.h and fib_rules.h on x86-64 and arm64. */
const SIZES: Readonly<Record<string, number>> = {
  xfrm_id: 24,
  xfrm_selector: 56,
  xfrm_usersa_id: 24,
  xfrm_userpolicy_id: 64,
  xfrm_mark: 8,
  xfrm_address_filter: 36,
  xfrm_lifetime_cfg: 64,
  xfrm_lifetime_cur: 32,
  xfrm_stats: 12,
  xfrm_usersa_info: 224,
  xfrm_userspi_info: 232,
  xfrm_usersa_flush: 1,
  xfrm_algo: 68,
  xfrm_algo_auth: 72,
  xfrm_algo_aead: 72,
  xfrm_replay_state: 12,
  xfrm_replay_state_esn: 24,
  xfrm_encap_tmpl: 24,
  xfrm_user_offload: 8,
  xfrm_aevent_id: 48,
  xfrmu_sadhinfo: 8,
  xfrm_userpolicy_info: 168,
  xfrm_user_tmpl: 64,
  xfrm_userpolicy_type: 6,
  xfrm_userpolicy_default: 3,
  xfrmu_spdinfo: 24,
  xfrmu_spdhinfo: 8,
  xfrmu_spdhthresh: 2,
  xfrm_user_acquire: 280,
  xfrm_user_expire: 232,
  xfrm_user_polexpire: 176,
  xfrm_user_report: 60,
  xfrm_user_mapping: 64,
  xfrm_user_migrate: 76,
  xfrm_user_kmaddress: 40,
  ifinfomsg: 16,
  ifaddrmsg: 8,
  rtmsg: 12,
  fib_rule_hdr: 12,
};

function isStruct(value: unknown): value is Struct<object> {
  return typeof value === 'object' && value !== null && 'decode' in value && 'encode' in value;
}

const structures = [identity, state, policy, event, link].flatMap((module) =>
  Object.values(module).filter(isStruct),
);

describe('kernel structures', () => {
  it('are all there, with the sizes of the C compiler', () => {
    const sizes = Object.fromEntries(structures.map(({ name, size }) => [name, size]));
    assert.deepEqual(sizes, SIZES);
  });

  for (const structure of structures) {
    it(`${structure.name}: decoding and encoding are each other's inverse`, () => {
      const raw = fc.uint8Array({ minLength: structure.size, maxLength: structure.size });
      fc.assert(
        fc.property(raw, (bytes) => {
          // A name needs its end.
          if (structure.name.startsWith('xfrm_algo')) bytes.fill(0x61, 0, 60).fill(0, 60, 64);
          const value = structure.decode(bytes);
          const encoded = structure.encode(value);
          assert.equal(encoded.length, structure.size);
          assert.deepEqual(structure.decode(encoded), value);
          for (const [at, byte] of encoded.entries()) {
            assert.ok(byte === bytes[at] || byte === 0, 'only padding may differ, and is zero');
          }
        }),
        { numRuns: 50 },
      );
    });

    it(`${structure.name}: too short is an error`, () => {
      for (let length = 0; length < structure.size; length++) {
        assert.throws(() => structure.decode(new Uint8Array(length)), MalformedError);
      }
    });
  }

  it('keep host and network byte order apart', () => {
    const mixed = struct('mixed', 6, { host: [0, u32], net: [4, be16] });
    const host = Buffer.from(new Uint32Array([0x01020304]).buffer);
    const encoded = Buffer.from(mixed.encode({ host: 0x01020304, net: 0x0506 }));
    assert.deepEqual(encoded, Buffer.concat([host, Buffer.from([5, 6])]));
  });

  it('refuse values that do not fit', () => {
    const fields = struct('s', 16, { a: [0, u32], b: [8, u64] });
    for (const a of [-1, 2 ** 32, 1.5, Number.NaN]) {
      assert.throws(() => fields.encode({ a, b: 0n }), ValueError);
    }
    for (const b of [-1n, 1n << 64n]) {
      assert.throws(() => fields.encode({ a: 0, b }), /s\.b must be/);
    }
  });
});

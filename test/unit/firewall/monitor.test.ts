import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeTableNews } from '../../../src/ipsec/firewall/monitor.ts';
import { MalformedError } from '../../../src/ipsec/netlink/errors.ts';
import { attribute, concat } from '../../../src/ipsec/netlink/framing.ts';

const [DELTABLE, NEWRULE, NEWGEN] = [0x0a02, 0x0a06, 0x0a0f];
const HEADER = Uint8Array.of(1, 0, 0, 7);
const name = (table: string) => attribute(1, new TextEncoder().encode(`${table}\0`));
const message = (type: number, ...attributes: Uint8Array[]) => ({
  ...{ type, flags: 0, seq: 0, port: 9 },
  body: concat([HEADER, ...attributes]),
});

describe('news of nftables', () => {
  it('name the table first, whatever it is that changed', () => {
    // Padding before 64-bit values, which may come more than once.
    const padding = attribute(5, new Uint8Array());
    for (const type of [DELTABLE, NEWRULE]) {
      const news = decodeTableNews(message(type, name('icvpn_0000004d'), padding, padding));
      assert.deepEqual(news, { table: 'icvpn_0000004d' });
    }
    assert.equal(decodeTableNews(message(NEWGEN, attribute(1, Uint8Array.of(0, 0, 0, 3)))), 'end');
  });

  it('of other subsystems are none', () => {
    assert.equal(decodeTableNews(message(0x0106, name('icvpn_0000004d'))), undefined);
  });

  it('that are damaged are an error, and nothing worse', () => {
    assert.throws(() => decodeTableNews({ ...message(NEWRULE), body: HEADER }), MalformedError);
    const damaged = fc.tuple(fc.integer({ min: 0x0a00, max: 0x0aff }), fc.uint8Array());
    fc.assert(
      fc.property(damaged, ([type, body]) => {
        try {
          decodeTableNews({ ...message(type), body });
        } catch (error) {
          assert.ok(error instanceof MalformedError, String(error));
        }
      }),
    );
  });
});

import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  decodeAddress,
  decodeRoute,
  encodeAddress,
  encodeNewXfrmLink,
  encodeRoute,
} from '../../../src/ipsec/link/codec.ts';
import { IFLA, RTM } from '../../../src/ipsec/link/kernel.ts';
import { decodeLinkEvent } from '../../../src/ipsec/link/monitor.ts';
import { decodeRule, encodeRule } from '../../../src/ipsec/link/rule-codec.ts';
import { MalformedError, ValueError } from '../../../src/ipsec/netlink/errors.ts';
import { attribute } from '../../../src/ipsec/netlink/framing.ts';
import { ends } from './arbitraries.ts';

const link = { name: 'vpn0', ifId: 7, mtu: 1400, group: 9 };
const message = (type: number, body: Uint8Array) => ({ type, flags: 0, seq: 0, port: 0, body });

describe('link codecs', () => {
  it('an interface comes back as it went', () => {
    const event = decodeLinkEvent(message(RTM.NEWLINK, encodeNewXfrmLink(link)));
    assert.deepEqual(event, {
      type: 'link-new',
      link: { ...link, index: 0, up: false, kind: 'xfrm' },
    });
  });

  it('padding may come more than once, nothing else', () => {
    const body = encodeNewXfrmLink(link);
    const twice = (type: number) =>
      Buffer.concat([body, attribute(type, none), attribute(type, none)]);
    const none = new Uint8Array();
    assert.ok(decodeLinkEvent(message(RTM.NEWLINK, twice(IFLA.PAD))));
    assert.throws(() => decodeLinkEvent(message(RTM.NEWLINK, twice(51))), MalformedError);
  });

  it('addresses and routes come back as they went', () => {
    fc.assert(
      fc.property(ends, ({ source, destination }) => {
        assert.equal(decodeAddress(encodeAddress(3, source))?.address, source);
        const bits = destination.includes(':') ? 128 : 32;
        const route = {
          destination: `${destination}/${bits}`,
          type: 'unicast' as const,
          interfaceIndex: 4,
          gateway: source,
          table: 0x4000_0001,
          preferredSource: source,
          metric: 5,
          protocol: 73,
        };
        assert.deepEqual(decodeRoute(encodeRoute(route)), route);
      }),
    );
  });

  it('rules come back as they went', () => {
    fc.assert(
      fc.property(ends, fc.boolean(), ({ source, destination }, refuses) => {
        const wide = source.includes(':');
        const rule = {
          family: wide ? ('ipv6' as const) : ('ipv4' as const),
          source: `${source}/${wide ? 128 : 32}`,
          destination: `${destination}/${wide ? 128 : 32}`,
          inputInterface: 'lan1',
          priority: 7,
          action: refuses ? ('unreachable' as const) : ('lookup' as const),
          table: 0x4000_0001,
          suppressPrefixLength: refuses ? undefined : 15,
          mark: undefined,
          protocol: 73,
        };
        assert.deepEqual(decodeRule(encodeRule(rule)), rule);
      }),
    );
  });

  it('names that are no interface names are refused', () => {
    for (const name of ['', '.', '..', 'a b', 'a/b', 'sixteen-bytes-xx', 'ü', 'a\0b']) {
      assert.throws(() => encodeNewXfrmLink({ ...link, name }), ValueError, name);
    }
  });

  it('P24 broken messages give an event, nothing or a typed error', () => {
    const types = [RTM.NEWLINK, RTM.NEWADDR];
    const bodies = [encodeNewXfrmLink(link), encodeAddress(1, '::1'), encodeAddress(1, '1.2.3.4')];
    const flip = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(
        fc.constantFrom(...types),
        fc.constantFrom(...bodies),
        fc.array(flip, { maxLength: 6 }),
        fc.option(fc.nat()),
        (type, good, flips, cut) => {
          const body = good.slice();
          for (const [at, value] of flips) body[at % body.length] = value;
          const end = cut === null ? body.length : cut % (body.length + 1);
          try {
            decodeLinkEvent(message(type, body.subarray(0, end)));
          } catch (error) {
            assert.ok(error instanceof MalformedError, String(error));
          }
        },
      ),
      { numRuns: 20_000 },
    );
  });
});

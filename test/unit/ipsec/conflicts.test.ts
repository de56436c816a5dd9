import assert from 'node:assert/strict';
import { conflictingRules } from '../../../src/ipsec/dataplane/conflicts.ts';
import { PREFERENCE, ROUTE_PROTOCOL } from '../../../src/ipsec/dataplane/routing.ts';
import type { Rule } from '../../../src/ipsec/link/rule-codec.ts';

const prefixes = { ipv6: 'fd00:1::/64', ipv4: '10.90.0.0/16' };
const rule: Rule = { family: 'ipv4', priority: 5, action: 'lookup', table: 52, protocol: 3 };
const conflicts = (...rules: Partial<Rule>[]) =>
  conflictingRules(
    rules.map((each) => ({ ...rule, ...each })),
    { prefixes },
  );

describe('routing rules above the service', () => {
  it('P32 are those that own packets to it may follow', () => {
    assert.deepEqual(
      conflicts({}, { family: 'ipv6' }, { destination: '10.0.0.0/8' }, { action: 'unreachable' }),
      [
        '5: from all lookup 52',
        '-6 5: from all lookup 52',
        '5: from all to 10.0.0.0/8 lookup 52',
        '5: from all unreachable',
      ],
    );
  });

  it('are not those below, of icvpn, of the kernel, for others, for marks', () => {
    assert.deepEqual(
      conflicts(
        { priority: PREFERENCE.service + 1 },
        { protocol: ROUTE_PROTOCOL },
        { priority: 0, table: 255 },
        { destination: '192.0.2.0/24' },
        { family: 'ipv6', destination: 'fd00:2::/64' },
        { mark: 7 },
        { inputInterface: 'eth0' },
      ),
      [],
    );
  });
});

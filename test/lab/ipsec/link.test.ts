import assert from 'node:assert/strict';
import { on } from 'node:events';
import { LinkClient } from '../../../src/ipsec/link/client.ts';
import { type LinkEvent, LinkMonitor } from '../../../src/ipsec/link/monitor.ts';
import { connect, createNetns, type Netns } from '../netns.ts';
import { inside } from './inside.ts';

const GROUP = 0x1234;

async function withLink(ns: Netns) {
  const client = inside(ns, () => new LinkClient());
  await client.addXfrmLink({ name: 'vpn0', ifId: 0xfeedbeef, mtu: 1380, group: GROUP });
  const link = await client.findLink('vpn0');
  assert.ok(link);
  return { client, link, [Symbol.dispose]: () => client.close() };
}

describe('interfaces, addresses and routes, beside ip', () => {
  it('makes an xfrm interface as ip shows it', async () => {
    await using ns = await createNetns('us');
    using made = await withLink(ns);
    const { client, link } = made;
    assert.deepEqual(link, {
      ...{ index: link.index, name: 'vpn0', up: false, mtu: 1380, group: GROUP },
      ...{ kind: 'xfrm', ifId: 0xfeedbeef },
    });
    await client.setNoLinkLocal(link.index);
    await client.setMtu(link.index, 1300);
    await client.setUp(link.index);
    const shown = await ns.ip('-d', 'link', 'show', 'vpn0');
    assert.match(shown, /UP.* mtu 1300 .* group 4660/);
    assert.match(shown, /xfrm if_id 0xfeedbeef .*addrgenmode none/);
    assert.doesNotMatch(await ns.ip('address', 'show', 'vpn0'), /fe80/);
    await client.deleteLink(link.index);
    assert.equal(await client.findLink('vpn0'), undefined);
  });

  it('reads the interfaces that others made', async () => {
    await using a = await createNetns('a');
    await using b = await createNetns('b');
    await connect(a, b);
    await a.ip('link', 'add', 'x0', 'type', 'xfrm', 'dev', 'lo', 'if_id', '5');
    using client = inside(a, () => new LinkClient());
    const links = await client.links();
    assert.deepEqual(
      links.map(({ name, kind, ifId }) => ({ name, kind, ifId })).filter(({ kind }) => kind),
      [
        { name: 'to-b', kind: 'veth', ifId: undefined },
        { name: 'x0', kind: 'xfrm', ifId: 5 },
      ],
    );
  });

  it('adds and removes addresses, usable at once', async () => {
    await using ns = await createNetns('us');
    using made = await withLink(ns);
    const { client, link } = made;
    for (const address of ['10.90.0.1', 'fd00::1']) {
      await client.addAddress(link.index, address);
      const listed = (await client.addresses()).find((each) => each.address === address);
      assert.deepEqual(listed, {
        ...{ address, prefixLength: address.includes(':') ? 128 : 32 },
        ...{ interfaceIndex: link.index, scope: 0, usable: true },
      });
      const shown = await ns.ip('address', 'show', 'vpn0');
      assert.ok(shown.includes(`${address}/`), shown);
      await client.deleteAddress(link.index, address);
      assert.ok(!(await ns.ip('address', 'show', 'vpn0')).includes(`${address}/`));
    }
  });

  it('adds and removes routes, of all kinds', async () => {
    await using ns = await createNetns('us');
    using made = await withLink(ns);
    const { client, link } = made;
    await client.setNoLinkLocal(link.index);
    await client.addAddress(link.index, '10.90.0.1');
    await client.addAddress(link.index, 'fd00::1');
    await client.setUp(link.index);
    const routes = [
      ['10.90.0.0/16', '10.90.0.1', /10\.90\.0\.0\/16 dev vpn0 proto 73 .*src 10\.90\.0\.1/],
      ['fd00::/48', 'fd00::1', /fd00::\/48 dev vpn0 proto 73 src fd00::1/],
    ] as const;
    for (const [destination, preferredSource, pattern] of routes) {
      const list = () => ns.ip(destination.includes(':') ? '-6' : '-4', 'route');
      const direct = { destination, interfaceIndex: link.index, preferredSource, protocol: 73 };
      await client.addRoute(direct);
      assert.match(await list(), pattern);
      for (const type of ['blackhole', 'unreachable', 'prohibit'] as const) {
        const fallback = { destination, type, metric: 0xffff_0000, protocol: 73 };
        await client.addRoute(fallback);
        assert.match(await list(), new RegExp(`${type} ${destination} .*metric 4294901760`));
        const read = (await client.routes()).filter((route) => route.protocol === 73);
        assert.deepEqual(read.map((route) => route.type).sort(), [type, 'unicast'].sort());
        await client.deleteRoute(fallback);
      }
      await client.deleteRoute(direct);
      assert.doesNotMatch(await list(), /proto 73/);
    }
  });

  it('adds and removes rules, and routes of other tables, by other routers', async () => {
    await using ns = await createNetns('us');
    using client = inside(ns, () => new LinkClient());
    await ns.ip('link', 'add', 'd0', 'up', 'type', 'veth', 'peer', 'name', 'd1');
    await ns.ip('link', 'set', 'd1', 'up');
    await ns.ip('address', 'add', '192.0.2.1/24', 'dev', 'd0');
    await ns.ip('address', 'add', '2001:db8::1/64', 'dev', 'd0', 'nodad');
    const d0 = await client.findLink('d0');
    const table = 0x4000_004d;
    const common = { protocol: 73, priority: 26_998 };
    const any = {
      ...{ source: undefined, destination: undefined, inputInterface: undefined },
      ...{ suppressPrefixLength: undefined, mark: undefined },
    };
    const action = 'lookup' as const;
    for (const [family, source, gateway, flag] of [
      ['ipv4', '10.20.0.0/16', '192.0.2.9', '-4'],
      ['ipv6', 'fd20::/48', '2001:db8::9', '-6'],
    ] as const) {
      const rules = [
        { ...common, ...any, family, source, inputInterface: 'lan1', action, table },
        {
          ...common,
          ...any,
          family,
          inputInterface: 'vpn0',
          action: 'unreachable' as const,
          table,
        },
        {
          ...common,
          ...any,
          family,
          destination: source,
          suppressPrefixLength: 15,
          action,
          table: 254,
        },
      ];
      const route = {
        destination: source,
        interfaceIndex: d0?.index,
        gateway,
        table,
        protocol: 73,
      };
      for (const rule of rules) await client.addRule(rule);
      await client.addRoute(route);
      const shown = await ns.ip(flag, 'rule');
      assert.match(shown, new RegExp(`from ${source} iif lan1.* lookup ${table} proto 73`));
      assert.match(shown, /from all iif vpn0 .*unreachable proto 73/);
      assert.match(shown, new RegExp(`to ${source} lookup main suppress_prefixlength 15 proto 73`));
      const list = () => ns.ip(flag, 'route', 'show', 'table', String(table));
      assert.match(await list(), new RegExp(`${source} via ${gateway} dev d0 proto 73`));
      const read = (await client.rules()).filter(({ protocol }) => protocol === 73);
      assert.deepEqual(read, rules);
      const [found] = await client.routes({ table });
      assert.ok(found);
      await client.deleteRoute(found);
      for (const rule of read) await client.deleteRule(rule);
      assert.doesNotMatch(await ns.ip(flag, 'rule'), /proto 73/);
      // No table is left when its last route goes.
      assert.doesNotMatch(await list().catch(String), /via/);
    }
  });

  it('tells by errors what is wrong', async () => {
    await using ns = await createNetns('us');
    using made = await withLink(ns);
    const { client, link } = made;
    const again = { name: 'vpn0', ifId: 1, mtu: 1380, group: 0 };
    await assert.rejects(client.addXfrmLink(again), { code: 'ERR_LINK_EXISTS' });
    await assert.rejects(client.addXfrmLink({ ...again, name: 'a/b' }), {
      code: 'ERR_NETLINK_VALUE',
    });
    await assert.rejects(client.deleteLink(9999), { code: 'ERR_LINK_NOT_FOUND' });
    await assert.rejects(client.deleteAddress(link.index, '10.0.0.1'), {
      code: 'ERR_LINK_NOT_FOUND',
    });
    const route = { destination: '10.0.0.0/8', type: 'blackhole', protocol: 73 } as const;
    await assert.rejects(client.deleteRoute(route), { code: 'ERR_LINK_NOT_FOUND' });
  });

  it('P20 hears of addresses and interfaces that come and go', async () => {
    await using ns = await createNetns('us');
    using monitor = inside(ns, () => new LinkMonitor());
    const events = on(monitor, 'event', { signal: AbortSignal.timeout(60_000) });
    const next = async (wanted: (event: LinkEvent) => boolean): Promise<void> => {
      for (;;) {
        const { value } = await events.next();
        const event: LinkEvent = value?.[0];
        if (wanted(event)) return;
      }
    };
    await ns.ip('link', 'add', 'd0', 'type', 'dummy');
    await next((event) => event.type === 'link-new' && event.link.name === 'd0');
    await ns.ip('link', 'set', 'd0', 'up');
    await next((event) => event.type === 'link-new' && event.link.up);
    for (const address of ['192.0.2.7', '2001:db8::7']) {
      await ns.ip('address', 'add', address, 'dev', 'd0');
      await next((event) => event.type === 'address-new' && event.address.address === address);
      await ns.ip('address', 'delete', address, 'dev', 'd0');
      await next((event) => event.type === 'address-delete' && event.address.address === address);
    }
    await ns.ip('link', 'delete', 'd0');
    await next((event) => event.type === 'link-delete' && event.link.name === 'd0');
  });
});

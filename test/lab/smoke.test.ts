import assert from 'node:assert/strict';
import { exec, run } from './exec.ts';
import { connect, createNetns, type Netns } from './netns.ts';

// What the other tests of this folder stand on: that the kernel under them really does what the
// product needs, and that the helpers beside this file do what they say.

const A = '192.0.2.1';
const B = '192.0.2.2';

describe('lab', () => {
  it('has a kernel whose ESP with AES-256-GCM carries packets, none of them in clear', async () => {
    await using a = await createNetns('a');
    await using b = await createNetns('b');
    const options = { addressesA: [`${A}/24`], addressesB: [`${B}/24`] };
    const { deviceA } = await connect(a, b, options);
    await protect(a, A, B, '10.9.0.1/24');
    await protect(b, B, A, '10.9.0.2/24');
    const watch = ['-i', deviceA, '-nl', '--immediate-mode', '-Z', 'root', 'ip'];
    await using capture = a.start('tcpdump', watch);
    await capture.said('listening on');
    await a.run('ping', ['-c', '3', '-i', '0.01', '10.9.0.2']);
    for (let packet = 0; packet < 6; packet++) {
      assert.match(await capture.line(), /192\.0\.2\.[12] > 192\.0\.2\.[12]: ESP\(spi=/);
    }
    assert.match(
      await b.ip('-s', 'xfrm', 'state'),
      /lifetime current:\s+\d+\(bytes\), 3\(packets\)/,
    );
  });

  it('has nftables that can tell packets that came through IPsec', async () => {
    await using ns = await createNetns('nft');
    await ns.run('nft', ['add table inet t']);
    await ns.run('nft', ['add chain inet t c { type filter hook input priority 0; }']);
    await ns.run('nft', ['add rule inet t c meta ipsec exists counter accept']);
    assert.match(await ns.run('nft', ['list ruleset']), /meta ipsec exists counter/);
  });

  it('delays by netem in each direction', async () => {
    await using a = await createNetns('a');
    await using b = await createNetns('b');
    await connect(a, b, { addressesA: [`${A}/24`], addressesB: [`${B}/24`], delayMs: 20 });
    assert.match(await a.run('ping', ['-c', '1', B]), /1 received/);
    for (const ns of [a, b]) {
      assert.match(await ns.run('tc', ['qdisc', 'show']), /netem .* delay 20ms/);
    }
  });

  it('runs Node inside a namespace and speaks with it in JSON lines', async () => {
    await using a = await createNetns('a');
    await using b = await createNetns('b');
    await connect(a, b, { addressesA: [`${A}/24`, '2001:db8::1/64'] });
    await using child = a.node(new URL('echo-child.ts', import.meta.url));
    child.send({ n: 1 });
    const answer = await child.receive();
    assert.ok(
      answer && typeof answer === 'object' && 'addresses' in answer && 'question' in answer,
    );
    assert.deepEqual(answer.question, { n: 1 });
    assert.ok(Array.isArray(answer.addresses));
    assert.deepEqual(answer.addresses.filter((ip) => ip.startsWith('2001:') || ip === A).sort(), [
      A,
      '2001:db8::1',
    ]);
  });

  it('leaves neither namespace nor process', async () => {
    let pid: number;
    {
      await using ns = await createNetns('gone');
      pid = ns.start('sleep', ['1000']).pid;
      assert.ok((await run('ip', ['netns', 'list'])).includes(ns.name));
      assert.doesNotThrow(() => process.kill(pid, 0));
    }
    assert.ok(!(await run('ip', ['netns', 'list'])).includes('-gone'));
    assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' });
  });

  it('tells how a command ended', async () => {
    const [failed, killed] = await Promise.all([
      exec('sh', ['-c', 'echo out; echo err >&2; exit 3']),
      exec('sh', ['-c', 'kill -9 $$']),
    ]);
    assert.deepEqual(failed, { stdout: 'out\n', stderr: 'err\n', code: 3 });
    assert.equal(killed.code, 137);
    await assert.rejects(run('false', []), /exit code 1/);
    await assert.rejects(exec('sleep', ['1000'], { timeoutMs: 10 }), { name: 'AbortError' });
    await assert.rejects(exec('/nonexistent', []), { code: 'ENOENT' });
  });
});

/** One end of an ESP tunnel with fixed keys between two underlay addresses, on an xfrm interface. */
async function protect(ns: Netns, own: string, other: string, inner: string): Promise<void> {
  const key = `0x${'2a'.repeat(36)}`; // AES-256 key and 4 bytes of salt
  const tunnel = ['mode', 'tunnel', 'reqid', '1'];
  const inside = ['src', '10.9.0.0/24', 'dst', '10.9.0.0/24', 'if_id', '7'];
  const directions = [
    { dir: 'out', outside: ['src', own, 'dst', other] },
    { dir: 'in', outside: ['src', other, 'dst', own] },
  ];
  for (const { dir, outside } of directions) {
    const id = [...outside, 'proto', 'esp', 'spi', '0x101'];
    const aead = ['if_id', '7', 'aead', 'rfc4106(gcm(aes))', key, '128'];
    await ns.ip('xfrm', 'state', 'add', ...id, ...tunnel, ...aead);
    const template = ['tmpl', ...outside, 'proto', 'esp', ...tunnel];
    await ns.ip('xfrm', 'policy', 'add', ...inside, 'dir', dir, ...template);
  }
  await ns.ip('link', 'add', 'ipsec7', 'type', 'xfrm', 'if_id', '7');
  await ns.ip('address', 'add', inner, 'dev', 'ipsec7');
  await ns.ip('link', 'set', 'ipsec7', 'up');
}

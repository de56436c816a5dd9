/** strongSwan's charon in a network namespace, with trap policies towards one peer. */
import type { KeyObject } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Netns } from '../../test/lab/netns.ts';

/** What one end has of a child SA: the addresses inside, and the if_id when it is tied to an xfrm interface. */
export interface Child {
  readonly name: string;
  readonly own: string;
  readonly peer: string;
  readonly ifId?: number;
}

export interface CharonOptions {
  readonly ns: Netns;
  /** A directory of its own. */
  readonly dir: string;
  readonly id: string;
  readonly peerId: string;
  readonly local: string;
  readonly remote: string;
  /** Ed25519, as icvpn's are. */
  readonly key: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
  readonly peerKey: KeyObject;
  readonly children: readonly Child[];
}

export interface Charon extends AsyncDisposable {
  readonly pid: number;
  /** Runs swanctl against this daemon. */
  swanctl(...args: string[]): Promise<string>;
}

/** Only what the measurement needs; the signature on the peer's key is not checked, since it is given. */
const PLUGINS =
  'openssl random nonce kdf hmac pem pkcs1 pkcs8 pubkey kernel-netlink socket-default vici';

/** Starts charon and loads its configuration: from then on a packet sets an SA up. */
export async function startCharon(options: CharonOptions): Promise<Charon> {
  const { ns, dir, key, peerKey } = options;
  const socket = `unix://${dir}/vici`;
  const daemon = `load = ${PLUGINS}
    install_virtual_ip = no
    plugins { vici { socket = ${socket} } }
    journal { default = -1 }
    port_nat_t = 4510`;
  await mkdir(join(dir, 'swanctl', 'private'), { recursive: true });
  await mkdir(join(dir, 'swanctl', 'pubkey'));
  const write = (name: string, text: string) => writeFile(join(dir, name), text, { mode: 0o600 });
  const spki = { type: 'spki', format: 'pem' } as const;
  await write(
    'strongswan.conf',
    `charon-systemd { ${daemon} }\nswanctl { load = openssl pem pkcs1 pkcs8 pubkey }\n`,
  );
  await write('swanctl/swanctl.conf', connections(options));
  await write(
    'swanctl/private/own.pem',
    key.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  );
  await write('swanctl/pubkey/own.pem', key.publicKey.export(spki).toString());
  await write('swanctl/pubkey/peer.pem', peerKey.export(spki).toString());

  const environment = [`STRONGSWAN_CONF=${dir}/strongswan.conf`, `SWANCTL_DIR=${dir}/swanctl`];
  const process = ns.start('env', [...environment, 'charon-systemd']);
  const command = (args: readonly string[]) => ['swanctl', ...args, '--uri', socket];
  const limit = AbortSignal.timeout(20_000);
  for (;;) {
    const load = command(['--load-all', '--noprompt']);
    const { code, stderr, stdout } = await ns.exec('env', [...environment, ...load]);
    if (code === 0) break;
    if (limit.aborted) throw new Error(`charon: ${stdout}${stderr}${process.stderr}`);
    await delay(100);
  }
  return {
    pid: process.pid,
    swanctl: (...args) => ns.run('env', [...environment, ...command(args)]),
    [Symbol.asyncDispose]: () => process[Symbol.asyncDispose](),
  };
}

function connections({ id, peerId, local, remote, children }: CharonOptions): string {
  const text = children.map(
    ({ name, own, peer, ifId }) => `${name} {
        local_ts = ${own}/32
        remote_ts = ${peer}/32
        esp_proposals = aes256gcm16-esn
        replay_window = 1024
        start_action = trap
        ${ifId === undefined ? '' : `if_id_in = ${ifId}\n        if_id_out = ${ifId}`}
      }`,
  );
  return `connections {
  peer {
    version = 2
    mobike = no
    local_addrs = ${local}
    remote_addrs = ${remote}
    proposals = aes256gcm16-prfsha256-x25519
    local { auth = pubkey
      id = ${id}
      pubkeys = own.pem }
    remote { auth = pubkey
      id = ${peerId}
      pubkeys = peer.pem }
    children {
      ${text.join('\n      ')}
    }
  }
}
`;
}

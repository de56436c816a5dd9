import { type ExecOptions, type ExecResult, exec, run } from './exec.ts';
import { TestProcess } from './process.ts';

// Network namespaces for a test. Each is owned by the variable that holds it:
//
//   await using a = await createNetns('a');
//   await using b = await createNetns('b');
//   await connect(a, b, { addressesA: ['192.0.2.1/24'], addressesB: ['192.0.2.2/24'], delayMs: 20 });
//   await a.run('ping', ['-c', '1', '192.0.2.2']);
//
//   +-- namespace a -------+                      +-- namespace b -------+
//   |  to-b  192.0.2.1/24  +== 20 ms each way  ===+  192.0.2.2/24  to-a  |
//   +----------------------+                      +----------------------+

const PREFIX = 'icvpn-test-';
let created = 0;
let swept: Promise<void> | undefined;

/** A network namespace with `lo` up, and nothing else in it to begin with. */
export class Netns implements AsyncDisposable {
  /** The name that `ip netns` knows it by, unique on this machine. */
  readonly name: string;
  /** The name the test gave it. */
  readonly label: string;

  /** @internal use {@link createNetns} */
  constructor(name: string, label: string) {
    this.name = name;
    this.label = label;
  }

  /** Runs a program inside; a non-zero exit code is a result. See {@link exec}. */
  exec(file: string, args: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    return exec('ip', ['netns', 'exec', this.name, file, ...args], options);
  }

  /** Runs a program inside that has to succeed; returns its standard output. */
  run(file: string, args: readonly string[], options?: ExecOptions): Promise<string> {
    return run('ip', ['netns', 'exec', this.name, file, ...args], options);
  }

  /** Runs `ip ARGS` inside: `await ns.ip('route', 'add', 'default', 'via', '192.0.2.1')`. */
  ip(...args: string[]): Promise<string> {
    return run('ip', ['-n', this.name, ...args]);
  }

  /**
   * Starts a long-lived program inside (a daemon, tcpdump), owned by whoever holds the handle:
   * `await using capture = ns.start('tcpdump', [...])`.
   */
  start(file: string, args: readonly string[] = []): TestProcess {
    return new TestProcess('ip', ['netns', 'exec', this.name, file, ...args]);
  }

  /**
   * Starts a script in a Node of its own inside, since sockets belong to the namespace that their
   * process is in. Talk to it in JSON lines: `child.send(value)`, `await child.receive()`.
   */
  node(script: URL | string, args: readonly string[] = []): TestProcess {
    const file = script instanceof URL ? script.pathname : script;
    return this.start(process.execPath, [file, ...args]);
  }

  /** Delays (and, if asked, loses) what leaves through `device`. */
  async delay(device: string, delayMs: number, lossPercent = 0): Promise<void> {
    const netem = ['netem', 'delay', `${delayMs}ms`, 'loss', `${lossPercent}%`];
    await run('tc', ['-n', this.name, 'qdisc', 'replace', 'dev', device, 'root', ...netem]);
  }

  /** Ends every process inside, then removes the namespace with all that is in it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await remove(this.name);
  }
}

/** Makes a namespace; `label` (letters, digits, `-`) is for people who read the output. */
export async function createNetns(label: string): Promise<Netns> {
  await sweepNetns();
  const name = `${PREFIX}${process.pid}-${++created}-${label}`;
  await run('ip', ['netns', 'add', name]);
  await run('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
  return new Netns(name, label);
}

export interface ConnectOptions {
  /** Addresses with prefix length, IPv4 or IPv6, of the end in the first namespace. */
  addressesA?: string[];
  /** The same for the end in the second. */
  addressesB?: string[];
  /** Milliseconds of delay in each direction; a round trip takes twice as long. */
  delayMs?: number;
  /** Bytes. Default: the kernel's, 1500. */
  mtu?: number;
}

/**
 * Joins two namespaces by a veth pair, up at both ends. Each end is named `to-<label of the other>`,
 * cut to the kernel's 15 bytes.
 *
 * @returns the names of the two ends
 */
export async function connect(
  a: Netns,
  b: Netns,
  { addressesA = [], addressesB = [], delayMs = 0, mtu = 1500 }: ConnectOptions = {},
): Promise<{ deviceA: string; deviceB: string }> {
  const deviceA = `to-${b.label}`.slice(0, 15);
  const deviceB = `to-${a.label}`.slice(0, 15);
  const endA = ['name', deviceA, 'netns', a.name];
  const endB = ['name', deviceB, 'netns', b.name];
  await run('ip', ['link', 'add', ...endA, 'type', 'veth', 'peer', ...endB]);
  const ends = [
    { ns: a, device: deviceA, addresses: addressesA },
    { ns: b, device: deviceB, addresses: addressesB },
  ];
  for (const { ns, device, addresses } of ends) {
    // nodad: an IPv6 address is usable at once instead of a second later.
    for (const address of addresses) {
      const nodad = address.includes(':') ? ['nodad'] : [];
      await ns.ip('address', 'add', address, 'dev', device, ...nodad);
    }
    await ns.ip('link', 'set', device, 'mtu', String(mtu), 'up');
    if (delayMs > 0) await ns.delay(device, delayMs);
  }
  return { deviceA, deviceB };
}

/** Removes the namespaces of test runs that were killed before they could, once in each process. */
export function sweepNetns(): Promise<void> {
  swept ??= sweep();
  return swept;
}

async function sweep(): Promise<void> {
  const list = await run('ip', ['netns', 'list']);
  for (const line of list.split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = name.startsWith(PREFIX) ? Number.parseInt(name.slice(PREFIX.length), 10) : 0;
    // Another test process may be sweeping too: what is already gone is fine.
    if (pid > 0 && !isAlive(pid)) await remove(name).catch(() => {});
  }
}

async function remove(name: string): Promise<void> {
  const pids = (await run('ip', ['netns', 'pids', name])).split('\n').filter(Boolean);
  for (const pid of pids) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {} // it ended by itself meanwhile
  }
  await run('ip', ['netns', 'delete', name]);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

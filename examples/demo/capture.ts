/**
 * The eavesdropper: captures all that a router forwards, and counts what it could read.
 *
 * Between two VMs only two kinds of packet may be seen: ESP, and TCP of the control plane, which
 * Noise encrypts. Everything else, and everything that shows a virtual address, is in clear. A NAT that knows no way for
 * ESP in UDP yet may say so: that ICMP error quotes the head of what was encrypted.
 */
import type { Netns } from '../../test/lab/netns.ts';
import type { TestProcess } from '../../test/lab/process.ts';

export interface Captured {
  readonly esp: number;
  readonly control: number;
  readonly clear: number;
  /** Packets that hold the text which every ping carried. */
  readonly marked: number;
}

export interface CaptureOptions {
  readonly router: Netns;
  readonly file: string;
  /** Underlay addresses of the VMs. */
  readonly vms: readonly string[];
  readonly virtualPrefixes: readonly string[];
  readonly controlPort: number;
  /** Bytes that pings carry, as text. */
  readonly mark: string;
}

export class Capture implements AsyncDisposable {
  readonly #options: CaptureOptions;
  readonly #tcpdump: TestProcess;

  private constructor(options: CaptureOptions, tcpdump: TestProcess) {
    this.#options = options;
    this.#tcpdump = tcpdump;
  }

  static async start(options: CaptureOptions): Promise<Capture> {
    const args = ['-i', 'any', '-Q', 'in', '-n', '-U', '--immediate-mode', '-Z', 'root', '-s', '0'];
    const tcpdump = options.router.start('tcpdump', [...args, '-w', options.file]);
    await tcpdump.said('listening on');
    return new Capture(options, tcpdump);
  }

  /** Ends the capture and counts. */
  async finish(): Promise<Captured> {
    await this.#tcpdump.terminate();
    const { vms, virtualPrefixes, controlPort } = this.#options;
    const any = (words: readonly string[], word: string): string =>
      `(${words.map((each) => `${word} ${each}`).join(' or ')})`;
    const between = `${any(vms, 'src host')} and ${any(vms, 'dst host')}`;
    const esp = 'ip proto 50 or ip6 proto 50 or udp port 4500';
    const control = `tcp port ${controlPort}`;
    // Destination unreachable, and in the datagram that it quotes: UDP to that port.
    const refusal = 'icmp[0] = 3 and icmp[17] = 17 and icmp[30:2] = 4500';
    return {
      esp: await this.#count(`${between} and (${esp})`),
      control: await this.#count(`${between} and (${control})`),
      clear: await this.#count(
        `(${between} and not (${esp}) and not (${control}) and not (${refusal})) or ${any(virtualPrefixes, 'net')}`,
      ),
      marked: await this.#countMarked(),
    };
  }

  async #count(filter: string): Promise<number> {
    const args = ['-n', '--count', '-r', this.#options.file, filter];
    const { stdout, stderr, code } = await this.#options.router.exec('tcpdump', args);
    const count = /^(\d+) packets?$/m.exec(stdout)?.[1];
    if (code !== 0 || count === undefined) throw new Error(`tcpdump: ${stderr}`);
    return Number(count);
  }

  async #countMarked(): Promise<number> {
    const hex = Buffer.from(this.#options.mark).toString('hex');
    const dump = await this.#options.router.run('tcpdump', ['-n', '-x', '-r', this.#options.file]);
    return dump.replaceAll(/\n\s+0x[\da-f]+:|\s/g, '').split(hex).length - 1;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tcpdump[Symbol.asyncDispose]();
  }
}

/**
 * The control socket: how `icvpn status` and `icvpn down` talk to the daemon of a state directory.
 *
 * A Unix socket in the state directory, which only its owner can enter. One request a connection,
 * one JSON line each way:
 *
 * ```
 * client  {"command":"status"}\n   or   {"command":"revoke","argument":"12D3KooW…"}\n
 * daemon  {"result":{…}}\n   or   {"error":{"code":"…","message":"…","remedy":"…"}}\n
 * ```
 */
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { IcvpnError } from '../errors.ts';
import { isStateLocked } from './state-lock.ts';

const MAX_REQUEST_BYTES = 4096;
const MAX_RESPONSE_BYTES = 64 * 1024 * 1024;
const REQUEST_TIMEOUT_MS = 5_000;
const MAX_CONNECTIONS = 16;

/** Answers one command with something that JSON can carry. */
export type ControlHandler = (command: string, argument: string) => Promise<unknown>;

export class ControlError extends IcvpnError {}

export const controlPath = (stateDir: string): string => join(stateDir, 'control.sock');

/** The daemon's end. */
export class ControlServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #path: string;
  readonly #handler: ControlHandler;
  readonly #sockets = new Set<Socket>();

  private constructor(path: string, handler: ControlHandler) {
    this.#path = path;
    this.#handler = handler;
    this.#server = createServer((socket) => this.#serve(socket));
    this.#server.maxConnections = MAX_CONNECTIONS;
  }

  /** Takes the place of a socket that a killed daemon left. The caller has the lock of the state directory. */
  static async listen(stateDir: string, handler: ControlHandler): Promise<ControlServer> {
    const path = controlPath(stateDir);
    await rm(path, { force: true });
    const control = new ControlServer(path, handler);
    await new Promise<void>((resolve, reject) => {
      control.#server.once('error', reject);
      control.#server.listen(path, resolve);
    });
    await chmod(path, 0o600);
    return control;
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
    let text = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      text += chunk;
      if (text.length > MAX_REQUEST_BYTES) socket.destroy();
      const end = text.indexOf('\n');
      if (end < 0) return;
      socket.pause();
      socket.setTimeout(0);
      void this.#answer(text.slice(0, end)).then((line) => socket.end(line));
    });
  }

  async #answer(line: string): Promise<string> {
    try {
      const { command, argument } = parseCommand(line);
      const result = await this.#handler(command, argument);
      return `${JSON.stringify({ result })}\n`;
    } catch (error) {
      return `${JSON.stringify({ error: describe(error) })}\n`;
    }
  }

  /** Stops listening, lets answers that are under way go out, and removes the socket. */
  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#server.close(() => resolve());
      for (const socket of this.#sockets) {
        if (!socket.isPaused()) socket.destroy();
        // One that does not read its answer must not keep the daemon.
        else socket.setTimeout(REQUEST_TIMEOUT_MS, () => socket.destroy());
      }
    });
    await rm(this.#path, { force: true });
  }
}

function parseCommand(line: string): { command: string; argument: string } {
  const request: unknown = JSON.parse(line);
  if (typeof request === 'object' && request !== null && 'command' in request) {
    const argument = 'argument' in request ? String(request.argument) : '';
    if (typeof request.command === 'string') return { command: request.command, argument };
  }
  throw new ControlError('ERR_CONTROL', 'the request has no "command"', 'update icvpn');
}

function describe(error: unknown): { code: string; message: string; remedy: string } {
  if (error instanceof IcvpnError) {
    return { code: error.code, message: error.message, remedy: error.remedy };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'ERR_INTERNAL', message, remedy: 'look into the log of the daemon' };
}

/** Between looks for the socket of a daemon that begins to start, in milliseconds, and for how long. */
const LOOK_MS = 50;
const PATIENCE_MS = 5_000;

/**
 * Sends one command to the daemon of a state directory. One that has the directory but no socket yet begins to
 * start, or it is about to end: the command waits for the socket, 5 s at most.
 *
 * @returns what the daemon's handler returned, as JSON carries it
 * @throws ControlError ERR_NOT_RUNNING when no daemon answers, or the daemon's own error
 */
export async function controlRequest(
  stateDir: string,
  command: string,
  options: { signal: AbortSignal; argument?: string },
): Promise<unknown> {
  const { signal } = options;
  const end = performance.now() + PATIENCE_MS;
  for (;;) {
    try {
      return await request(stateDir, command, options);
    } catch (error) {
      const late = performance.now() >= end;
      const isRunning = !(error instanceof ControlError) || error.code !== 'ERR_NOT_RUNNING';
      if (isRunning || late || !(await isStateLocked(stateDir))) throw error;
      await sleep(LOOK_MS, undefined, { signal });
    }
  }
}

async function request(
  stateDir: string,
  command: string,
  options: { signal: AbortSignal; argument?: string },
): Promise<unknown> {
  const socket = connect({ path: controlPath(stateDir), signal: options.signal });
  try {
    socket.write(`${JSON.stringify({ command, argument: options.argument })}\n`);
    return parseResponse(await wholeText(socket));
  } catch (cause) {
    options.signal.throwIfAborted();
    if (cause instanceof ControlError) throw cause;
    if (isDenied(cause)) {
      throw new ControlError(
        'ERR_NO_PERMISSION',
        `no permission to ask the daemon of the state directory ${stateDir}`,
        'run the command as root, or as the user that the daemon runs as',
        { cause },
      );
    }
    throw new ControlError(
      'ERR_NOT_RUNNING',
      `no daemon answers in the state directory ${stateDir}`,
      'start it with icvpn up, or give the --state that it was started with',
      { cause },
    );
  } finally {
    socket.destroy();
  }
}

const isDenied = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && ['EACCES', 'EPERM'].includes(String(error.code));

async function wholeText(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) {
    chunks.push(chunk);
    if (socket.bytesRead > MAX_RESPONSE_BYTES) throw new Error('the answer is too long');
  }
  return Buffer.concat(chunks).toString();
}

function parseResponse(line: string): unknown {
  const response: unknown = JSON.parse(line);
  if (typeof response !== 'object' || response === null) throw new Error('not an answer');
  if ('result' in response) return response.result;
  if ('error' in response) throw remoteError(response.error);
  return undefined;
}

function remoteError(error: unknown): ControlError {
  const fields = new Map(Object.entries(error ?? {}));
  const text = (name: string): string => String(fields.get(name) ?? '');
  return new ControlError(text('code'), text('message'), text('remedy'));
}

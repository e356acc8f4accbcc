/**
 * The control socket: where root on this node asks a running agent to do something.
 *
 * Guarantees: a Unix socket that only the agent's own user may connect to. One that a dead agent has left is replaced; one
 * behind which somebody listens, or what is no socket, is left alone and tried again, and so is a folder that cannot be used:
 * the agent's work does not depend on it. It is removed at the end.
 */
import { chmodSync, lstatSync, mkdirSync, renameSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import { asError } from '../clock.ts';
import type { Clock, Timer } from '../clock.ts';
import { LINE_LENGTH_MAX, parseRequest } from './protocol.ts';
import type { ControlReply, ControlRequest } from './protocol.ts';

export interface ControlServerOptions {
  readonly path: string;
  /** What no other process that runs now has in its name, such as a process id. */
  readonly unique: string;
  readonly clock: Clock;
  /** Does what is asked, tells how it goes, and returns how it ended. Stops at the signal: nobody listens any more. */
  readonly onRequest: (
    request: ControlRequest,
    tell: (message: string) => void,
    signal: AbortSignal,
  ) => Promise<Omit<ControlReply & { is: 'done' }, 'is'>>;
  /** Told of each reason for which it cannot listen, once. */
  readonly onProblem: (message: string) => void;
}

const RETRY_MS = 5_000;
/** How long somebody who has connected may take to say what is wanted. */
const QUESTION_MS = 5_000;
const CONNECTIONS_MAX = 8;
const FOLDER_MODE = 0o700;
const SOCKET_MODE = 0o600;

/** Listens until `close` is called. */
export class ControlServer {
  readonly #options: ControlServerOptions;
  readonly #connections = new Set<net.Socket>();
  #server: net.Server | null = null;
  /** Of the socket that is there under its name. */
  #inode: number | null = null;
  #retry: Timer | null = null;
  #problem: string | null = null;
  #isClosed = false;

  constructor(options: ControlServerOptions) {
    this.#options = options;
    void this.#open();
  }

  close(): void {
    this.#isClosed = true;
    this.#retry?.cancel();
    this.#removeOwn();
    this.#server?.close();
    for (const connection of this.#connections) connection.destroy();
  }

  /** Another agent may have put a socket of its own there. */
  #removeOwn(): void {
    const { path } = this.#options;
    const isOwn = this.#inode !== null && lstatSync(path, { throwIfNoEntry: false })?.ino === this.#inode;
    if (isOwn) removeIfThere(path);
  }

  async #open(): Promise<void> {
    const { path, clock, onProblem } = this.#options;
    try {
      const server = await this.#listen();
      if (!this.#isClosed) this.#server = server;
      else server.close();
      if (this.#isClosed) this.#removeOwn();
      this.#problem = null;
    } catch (error) {
      if (this.#isClosed) return;
      const problem = `"leasehold step-down" will not work on this node: ${path}: ${explain(asError(error))}`;
      if (problem !== this.#problem) onProblem(problem);
      this.#problem = problem;
      this.#retry = clock.setTimer(RETRY_MS, () => void this.#open());
    }
  }

  async #listen(): Promise<net.Server> {
    const { path } = this.#options;
    mkdirSync(dirname(path), { recursive: true, mode: FOLDER_MODE });
    await makeWayAt(path);
    // Under another name first, so that nobody finds it before it is closed to others.
    const unfinished = `${path}.${this.#options.unique}`;
    removeIfThere(unfinished);
    const server = net.createServer((socket) => void this.#serve(socket));
    server.maxConnections = CONNECTIONS_MAX;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(unfinished, () => resolve());
    });
    try {
      chmodSync(unfinished, SOCKET_MODE);
      this.#inode = lstatSync(unfinished).ino;
      renameSync(unfinished, path);
    } catch (error) {
      server.close();
      throw error;
    }
    server.on('error', () => undefined);
    return server;
  }

  async #serve(socket: net.Socket): Promise<void> {
    const { clock, onRequest } = this.#options;
    const gone = new AbortController();
    this.#connections.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#connections.delete(socket);
      gone.abort(new Error('nobody listens any more'));
    });
    const say = (reply: ControlReply): void => {
      if (socket.writable) socket.write(`${JSON.stringify(reply)}\n`);
    };
    const patience = clock.setTimer(QUESTION_MS, () => socket.destroy());
    const line = await firstLine(socket);
    patience.cancel();
    if (line === null) return void socket.destroy();
    const request = parseRequest(line);
    if ('problem' in request) {
      say({ is: 'done', outcome: 'refused', message: request.problem, node: null });
    } else {
      const end = await onRequest(request, (message) => say({ is: 'progress', message }), gone.signal).catch((error: unknown) => ({
        outcome: 'refused' as const,
        message: asError(error).message,
        node: null,
      }));
      say({ is: 'done', ...end });
    }
    socket.end();
  }
}

/** Whether somebody listens at a Unix socket. Throws where that cannot be told. */
export async function isSomebodyAt(path: string): Promise<boolean> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ECONNREFUSED' || error.code === 'ENOENT') resolve(false);
      // It accepts nothing more, so there is somebody.
      else if (error.code === 'EAGAIN') resolve(true);
      else reject(error);
    });
  });
}

/** Removes what a dead agent has left. Throws where something else is in the way. */
async function makeWayAt(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket()) throw new Error('there is something that is no socket: remove it, or name another path in CONTROL_SOCKET');
  if (await isSomebodyAt(path)) throw new Error('another process listens there: end that one, or name another path in CONTROL_SOCKET');
  removeIfThere(path);
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is gone, or the next agent replaces it.
  }
}

/** What somebody says up to the end of the line; null for nothing, or too much. */
async function firstLine(socket: net.Socket): Promise<string | null> {
  let text = '';
  return await new Promise((resolve) => {
    const onData = (chunk: string): void => {
      text += chunk;
      const end = text.indexOf('\n');
      if (end < 0 && text.length <= LINE_LENGTH_MAX) return;
      // What else is sent is read, so that its end is noticed, and not kept.
      socket.off('data', onData).resume();
      resolve(end < 0 ? null : text.slice(0, end));
    };
    socket.setEncoding('utf8').on('data', onData);
    socket.on('close', () => resolve(null));
  });
}

function explain(error: Error & { code?: string }): string {
  switch (error.code) {
    case 'EACCES':
    case 'EPERM':
      return 'this process may not write there: name another path in CONTROL_SOCKET';
    case 'EROFS':
      return 'that folder is read-only: mount one there that can be written to, as the manifests do, or name another path in CONTROL_SOCKET';
    default:
      return error.message;
  }
}

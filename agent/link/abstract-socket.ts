/**
 * Abstract Unix sockets as names that one process at a time can have (unix(7)).
 *
 * Guarantees: a name is held from the moment it was taken until it is released or this process is gone, however it ends,
 * because the kernel itself lets go of it then. Names are seen within one network namespace only.
 */
import net from 'node:net';
import { peerOfUnixSocket } from './libc.ts';
import type { UnixPeer } from './libc.ts';

/** Names that one process at a time can have. */
export interface ProcessNames {
  /** Takes a name; false where somebody has it. Throws an Error where this kernel or this process cannot. */
  take(name: string): Promise<boolean>;
  release(name: string): void;
  /** Who has a name; null when nobody has it. */
  holderOf(name: string): UnixPeer | null;
}

/** The longest name that fits into a socket's address, without the zero byte before it. */
export const NAME_LENGTH_MAX = 107;

/** Names in the network namespace that this process runs in. */
export class AbstractSockets implements ProcessNames {
  readonly #servers = new Map<string, net.Server>();

  async take(name: string): Promise<boolean> {
    const server = net.createServer((socket) => socket.destroy());
    const isTaken = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error: Error & { code?: string }) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)));
      server.listen({ path: `\0${name}` }, () => resolve(true));
    });
    if (!isTaken) return false;
    // It is there to be had, not to keep this process alive.
    server.unref();
    this.#servers.set(name, server);
    return true;
  }

  release(name: string): void {
    this.#servers.get(name)?.close();
    this.#servers.delete(name);
  }

  holderOf(name: string): UnixPeer | null {
    return peerOfUnixSocket(`\0${name}`);
  }
}

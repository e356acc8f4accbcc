/**
 * A TCP relay on loopback that can be cut like a cable: what is under way then just stops, and nobody is told.
 */
import net from 'node:net';
import type { AddressInfo } from 'node:net';

export class Cable {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  #isCut = false;

  private constructor(targetPort: number) {
    this.#server = net.createServer((near) => {
      const far = net.connect({ host: '127.0.0.1', port: targetPort });
      for (const [socket, other] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(socket);
        if (this.#isCut) socket.pause();
        socket.on('data', (chunk) => other.write(chunk));
        socket.on('error', () => other.destroy());
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
      }
    });
  }

  /** A relay to a port of this machine. */
  static async to(targetPort: number): Promise<Cable> {
    const cable = new Cable(targetPort);
    await new Promise<void>((resolve) => cable.#server.listen(0, '127.0.0.1', resolve));
    return cable;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.pause();
  }

  mend(): void {
    this.#isCut = false;
    for (const socket of this.#sockets) socket.resume();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

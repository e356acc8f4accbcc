/**
 * Asks a service by opening a TCP connection to it and closing it again.
 */
import net from 'node:net';
import { asError } from '../clock.ts';
import type { Outbound } from '../outbound.ts';
import type { Ask, ProbeQuestion } from './probe.ts';

/** Makes the question for a `tcp://` probe. */
export function tcpAsk({ host, port }: ProbeQuestion & { kind: 'tcp' }, { lookup }: Outbound): Ask {
  return (signal) =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ host, port, lookup });
      const onAbort = (): void => {
        socket.destroy();
        reject(asError(signal.reason));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const settle = (end: () => void): void => {
        signal.removeEventListener('abort', onAbort);
        socket.destroy();
        end();
      };
      socket.once('connect', () => settle(resolve));
      socket.once('error', (error) => settle(() => reject(error)));
    });
}

/**
 * A client that opens one connection to the failover IP and then only listens, as for a feed: it learns of a move when it is
 * told, or never.
 *
 * Arguments: the address. Tells its parent when the connection stands, and when and how it ended.
 */
import net from 'node:net';
import { monotonicMs } from '../../test/support/monotonic.ts';

export type ListenerMessage = { readonly is: 'connected' } | { readonly is: 'ended'; readonly atMs: number; readonly how: string };

const [, , host = ''] = process.argv;
if (host !== '') listen();

function listen(): void {
  const socket = net.connect({ host, port: 80 });
  const tell = (message: ListenerMessage): void => void process.send?.(message);
  socket.on('connect', () => tell({ is: 'connected' }));
  socket.on('error', ({ code = 'an unknown error' }: NodeJS.ErrnoException) => tell({ is: 'ended', atMs: monotonicMs(), how: code }));
  socket.on('end', () => tell({ is: 'ended', atMs: monotonicMs(), how: 'closed' }));
  socket.resume();
}

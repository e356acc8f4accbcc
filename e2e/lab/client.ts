/**
 * A client behind the router: opens a connection to the failover IP again and again and tells who answered each.
 *
 * Arguments: the address, the interval in milliseconds. Tells its parent of each attempt once it is known how it ended.
 * An attempt counts as answered only if the answer comes within half a second: later ones were saved by TCP's repetition
 * of a lost packet, and their user has waited.
 */
import net from 'node:net';
import { monotonicMs } from '../../test/support/monotonic.ts';

const ANSWER_MAX_MS = 500;
/** A timer that comes so late means that this process stood still. */
const ASLEEP_MS = 100;

/** One connection that a client tried to open. */
export interface Attempt {
  /** When it was begun, by CLOCK_MONOTONIC. */
  readonly atMs: number;
  /** The node that answered, or null. */
  readonly by: string | null;
}

const [, , address = '', interval = '20'] = process.argv;
if (address !== '') setInterval(() => attempt(address), Number(interval));

function attempt(host: string): void {
  const atMs = monotonicMs();
  const socket = net.connect({ host, port: 80 });
  let isOver = false;
  const end = (by: string | null): void => {
    if (isOver) return;
    isOver = true;
    clearTimeout(timer);
    // A reset leaves no connection in TIME_WAIT behind.
    socket.resetAndDestroy();
    process.send?.({ atMs, by } satisfies Attempt);
  };
  const timer = setTimeout(() => {
    // Of what the client itself slept through, nothing can be said.
    if (monotonicMs() - atMs > ANSWER_MAX_MS + ASLEEP_MS) {
      isOver = true;
      socket.resetAndDestroy();
    } else end(null);
  }, ANSWER_MAX_MS);
  let answer = '';
  socket.setEncoding('utf8');
  socket.on('error', () => end(null));
  socket.on('connect', () => socket.write('GET / HTTP/1.0\r\n\r\n'));
  socket.on('data', (chunk: string) => (answer += chunk));
  socket.on('end', () => end(answer.split('\r\n\r\n')[1] ?? null));
}

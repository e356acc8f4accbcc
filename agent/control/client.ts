/**
 * Asks the agent of this node something over its control socket.
 *
 * Guarantees: it ends with the agent's answer, with the reason why there is none, or when the time is up.
 */
import net from 'node:net';
import { createInterface } from 'node:readline';
import { DeadlineExceeded } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { parseReply } from './protocol.ts';
import type { ControlReply, ControlRequest } from './protocol.ts';

/** Why there was no answer. */
export class ControlTrouble extends Error {
  override readonly name = 'ControlTrouble';
  /** `absent`: no agent listens there. `denied`: this user may not ask it. `broken`: it did not answer to the end. */
  readonly kind: 'absent' | 'denied' | 'broken';

  constructor(kind: ControlTrouble['kind'], message: string) {
    super(message);
    this.kind = kind;
  }
}

/** Resolves with the last reply, and tells of those before it. Throws ControlTrouble. */
export async function askAgent(
  path: string,
  request: ControlRequest,
  { clock, timeoutMs, onProgress }: { readonly clock: Clock; readonly timeoutMs: number; readonly onProgress: (message: string) => void },
): Promise<ControlReply & { is: 'done' }> {
  return await new Promise((resolve, reject) => {
    const socket = net.connect(path);
    const timer = clock.setTimer(timeoutMs, () => socket.destroy(new DeadlineExceeded(timeoutMs)));
    const give = (end: () => void): void => {
      timer.cancel();
      socket.destroy();
      end();
    };
    socket.once('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    const lines = createInterface({ input: socket });
    lines.on('line', (line) => {
      const reply = parseReply(line);
      if (reply?.is === 'progress') onProgress(reply.message);
      else if (reply !== null) give(() => resolve(reply));
    });
    socket.on('error', (error) => give(() => reject(troubleOf(error, path))));
    lines.on('error', () => undefined);
    socket.on('close', () => give(() => reject(new ControlTrouble('broken', 'the agent ended before it had answered'))));
  });
}

function troubleOf(error: Error & { code?: string }, path: string): ControlTrouble {
  switch (error.code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new ControlTrouble('absent', `no agent listens at ${path}`);
    case 'EACCES':
    case 'EPERM':
      return new ControlTrouble('denied', `only root, or the user that the agent runs as, may use ${path}`);
    default:
      return new ControlTrouble('broken', `${path}: ${error.message}`);
  }
}

/**
 * Who is on stage whatever is tried there: a local service on each node, and the client that tries them all.
 *
 * Each is a real process in the network namespace of its node. They end with `close`, or with the namespaces.
 */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { spawnIn } from '../../test/support/namespaces.ts';
import type { Attempt } from './client.ts';
import { FLOATING_IP } from './stage.ts';

const CLIENT_INTERVAL_MS = 20;

/** Starts the client, which puts every attempt into `attempts` once it is known how it ended. */
export function startClient(attempts: Attempt[], intervalMs = CLIENT_INTERVAL_MS, address = FLOATING_IP): ChildProcess {
  const script = fileURLToPath(new URL('./client.ts', import.meta.url));
  const command = [process.execPath, script, address, String(intervalMs)];
  const client = spawnIn('client', command, { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  client.on('message', (attempt: Attempt) => attempts.push(attempt));
  return client;
}

export class LocalServices {
  readonly #children = new Map<string, ChildProcess>();

  /** Starts a node's service, or lets it go on where it hangs. */
  async start(node: string): Promise<void> {
    const running = this.#children.get(node);
    if (running !== undefined) {
      running.kill('SIGCONT');
      return;
    }
    const script = fileURLToPath(new URL('./service.ts', import.meta.url));
    const child = spawnIn(node, [process.execPath, script, node], { env: {}, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#children.set(node, child);
    await new Promise((resolve) => child.once('message', resolve));
  }

  async stop(node: string, how: 'refuse' | 'hang'): Promise<void> {
    const child = this.#children.get(node);
    if (child === undefined) return;
    if (how === 'hang') {
      child.kill('SIGSTOP');
      return;
    }
    this.#children.delete(node);
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  /** Lets a service tell its prober that it is ill, or well again, while it goes on serving clients. */
  feign(node: string, health: 'ill' | 'well'): void {
    this.#children.get(node)?.send(health);
  }

  close(): void {
    for (const child of this.#children.values()) child.kill('SIGKILL');
  }
}

/**
 * The commands that this process runs, each with everything that it starts in turn: a process group of its own.
 *
 * Guarantees: none outlives its run. Whatever is left of its group when a command has ended, or is not wanted any more, is killed, and
 * a run is over only when nothing of it is left. A command finds no descriptor of this process, nothing to read, and no variable but
 * those that are passed on; what it writes is read to the end, and remembered up to a bound.
 * Not guaranteed: a process that leaves its group (setsid) is nobody's any more. And when this process is killed itself, only its
 * surroundings end what it runs: the kernel does in a container, whose first process it is, and systemd does for a service.
 */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import type { Readable } from 'node:stream';
import { asError, DeadlineExceeded, sleep } from './clock.ts';
import type { Clock } from './clock.ts';
import { CommandNotStarted } from './host.ts';
import type { Command, CommandEnd } from './host.ts';

/** What a command finds in its environment of what this process has found in its own: where programs are, and the way out. */
const PASSED_ON = [
  'PATH',
  'HOME',
  'LANG',
  'TZ',
  'TMPDIR',
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'].flatMap((name) => [name, name.toLowerCase()]),
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'CURL_CA_BUNDLE',
  'REQUESTS_CA_BUNDLE',
  'NODE_EXTRA_CA_CERTS',
] as const;

/** How long a command that is asked to end may take for it. */
const GRACE_MS = 1_000;
/** How long what is killed may take to be gone: longer only where the kernel itself is stuck. */
const GONE_WITHIN_MS = 1_000;
const GONE_POLL_MS = 10;
const OUTPUT_BYTES_MAX = 64 * 1024;

/** What it takes of the process and the kernel. */
export interface ChildrenWorld {
  readonly clock: Clock;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Sends a signal, 0 for none, as kill(2) does: a negative number is a group. Throws where there is nobody. */
  readonly kill: (pid: number, signal: NodeJS.Signals | 0) => unknown;
  /** Takes note of the end of orphans in a group that have become children of this process, as those of a first process do. */
  readonly reap: (group: number) => void;
}

export class Children {
  readonly #world: ChildrenWorld;
  readonly #env: Readonly<Record<string, string>>;
  /** The groups that run, each by the number of its first process. */
  readonly #groups = new Set<number>();

  constructor(world: ChildrenWorld) {
    this.#world = world;
    this.#env = Object.fromEntries(
      PASSED_ON.flatMap((name) => {
        const value = world.env[name];
        return value === undefined ? [] : [[name, value]];
      }),
    );
  }

  /** Runs a command. Bound to this, so that it can be handed out. */
  readonly run = async (command: Command): Promise<CommandEnd> => {
    const { signal } = command;
    if (signal.aborted) throw asError(signal.reason);
    const child = await this.#start(command);
    const group = child.pid ?? 0;
    this.#groups.add(group);
    const [output, complaint] = [new Remembered(child.stdout, 'beginning'), new Remembered(child.stderr, 'end')];
    const closed = once(child, 'close');
    const grace = new AbortController();
    const onAbort = (): void => void this.#askToEnd(group, signal.reason, grace.signal);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      const [exitCode, endedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
      grace.abort(new Error('it has ended'));
      await this.#endGroup(group);
      await this.#readToTheEnd(closed, child);
      return { exitCode, endedBy, output: output.isWhole ? output.text : null, complaint: complaint.text };
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#groups.delete(group);
    }
  };

  /** Kills whatever runs, because this process ends now. Nothing is waited for. */
  endAll(): void {
    for (const group of this.#groups) this.#signal(group, 'SIGKILL');
  }

  async #start({ program, args, env }: Command): Promise<ChildProcess & { stdout: Readable; stderr: Readable }> {
    try {
      const child = spawn(program, args, { env: { ...this.#env, ...env }, cwd: '/', stdio: ['ignore', 'pipe', 'pipe'], detached: true });
      // Without a number it has not begun, and says why in a moment.
      if (child.pid === undefined) await once(child, 'spawn');
      return child;
    } catch (error) {
      throw new CommandNotStarted(program, (error as NodeJS.ErrnoException).code ?? asError(error).message);
    }
  }

  async #askToEnd(group: number, reason: unknown, hasEnded: AbortSignal): Promise<void> {
    if (!(reason instanceof DeadlineExceeded)) return void this.#signal(group, 'SIGKILL');
    this.#signal(group, 'SIGTERM');
    await sleep(this.#world.clock, GRACE_MS, hasEnded).then(
      () => this.#signal(group, 'SIGKILL'),
      () => undefined,
    );
  }

  /** Kills what the command has left behind, and waits until nothing of it is left. */
  async #endGroup(group: number): Promise<void> {
    const { clock, reap } = this.#world;
    if (!this.#signal(group, 'SIGKILL')) return;
    for (const untilMs = clock.nowMs() + GONE_WITHIN_MS; clock.nowMs() < untilMs;) {
      const isOver = !livesAnyOf(group);
      // After the look, so that whoever was seen dead has been taken note of.
      reap(group);
      if (isOver) return;
      await sleep(clock, GONE_POLL_MS, new AbortController().signal);
    }
  }

  /** What has left the group may hold the pipes open, and is not waited for. */
  async #readToTheEnd(closed: Promise<unknown>, child: ChildProcess): Promise<void> {
    const patience = new AbortController();
    const impatient = sleep(this.#world.clock, GONE_WITHIN_MS, patience.signal).catch(() => undefined);
    await Promise.race([closed, impatient]);
    patience.abort(new Error('it is read'));
    child.stdout?.destroy();
    child.stderr?.destroy();
  }

  /** Whether there was anybody. */
  #signal(group: number, signal: NodeJS.Signals | 0): boolean {
    try {
      this.#world.kill(-group, signal);
      return true;
    } catch {
      return false;
    }
  }
}

/** Whether a process of a group lives: the dead ones count for kill(2) until their parents have taken note, which may be never. */
function livesAnyOf(group: number): boolean {
  return readdirSync('/proc').some((entry) => {
    if (!/^\d+$/.test(entry)) return false;
    try {
      // proc_pid_stat(5): the name may hold anything, a parenthesis too.
      const [, state, itsGroup] = /^.*\) (\S) \d+ (\d+) /s.exec(readFileSync(`/proc/${entry}/stat`, 'utf8')) ?? [];
      return Number(itsGroup) === group && state !== 'Z' && state !== 'X';
    } catch {
      return false;
    }
  });
}

/** What has come out of a stream, up to a bound. */
class Remembered {
  readonly #parts: Buffer[] = [];
  readonly #keeps: 'beginning' | 'end';
  #bytes = 0;
  isWhole = true;

  constructor(stream: Readable, keeps: 'beginning' | 'end') {
    this.#keeps = keeps;
    stream.on('data', (part: Buffer) => this.#remember(part));
    // A pipe that breaks has said all that it will.
    stream.on('error', () => undefined);
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  #remember(part: Buffer): void {
    this.#parts.push(part);
    this.#bytes += part.length;
    while (this.#bytes > OUTPUT_BYTES_MAX) {
      this.isWhole = false;
      const spare = this.#keeps === 'beginning' ? this.#parts.length - 1 : 0;
      const excess = this.#bytes - OUTPUT_BYTES_MAX;
      const each = this.#parts[spare] ?? Buffer.alloc(0);
      const kept = this.#keeps === 'beginning' ? each.subarray(0, -excess) : each.subarray(excess);
      this.#bytes -= each.length - kept.length;
      if (kept.length === 0) this.#parts.splice(spare, 1);
      else this.#parts[spare] = kept;
    }
  }
}

/**
 * What a provider may use of the machine that the agent runs on, each passed in.
 */

export interface Host {
  /** The network interfaces of this machine, as they are now. */
  readonly interfaces: () => readonly HostInterface[];
  readonly run: RunCommand;
  /**
   * Replaces what a file holds, whole or not at all, and keeps who may read it. Throws where that cannot be done, as in a mounted
   * Secret.
   */
  readonly writeFile: (path: string, text: string) => void;
}

export interface HostInterface {
  readonly name: string;
  /** Its hardware address, such as `86:00:00:aa:bb:02`, in lower case. */
  readonly mac: string;
  /** Its addresses of both families, without prefix lengths; the failover IPs among them where they are bound. */
  readonly addresses: readonly string[];
}

/**
 * Runs a command to its end, and ends it with everything that it has started once its signal is aborted. Throws CommandNotStarted
 * where it did not begin; whatever it does after that is part of what is returned.
 */
export type RunCommand = (command: Command) => Promise<CommandEnd>;

export interface Command {
  /** An absolute path. No shell is in between. */
  readonly program: string;
  readonly args: readonly string[];
  /** What it finds in its environment besides what every command does. */
  readonly env: Readonly<Record<string, string>>;
  /** What it is run for, for whoever counts: one of a few words. */
  readonly operation: string;
  /**
   * Aborted with DeadlineExceeded it is asked to end (SIGTERM), and made to a moment later (SIGKILL). Aborted with anything else it
   * is not wanted any more, and ended at once.
   */
  readonly signal: AbortSignal;
}

/** How a command has ended, and what it has said. */
export interface CommandEnd {
  /** Null where a signal has ended it. */
  readonly exitCode: number | null;
  /** The signal that has ended it, such as `SIGKILL`; null where it ended by itself. */
  readonly endedBy: string | null;
  /** The beginning of its standard output; null where that was longer than anybody could want. */
  readonly output: string | null;
  /** The end of its standard error. */
  readonly complaint: string;
}

/** A command that did not begin, so that it has done nothing. */
export class CommandNotStarted extends Error {
  override readonly name = 'CommandNotStarted';
  /** As <errno.h> names it, such as `ENOENT`. */
  readonly code: string;

  constructor(program: string, code: string) {
    super(`${program} cannot be started (${code})`);
    this.code = code;
  }
}

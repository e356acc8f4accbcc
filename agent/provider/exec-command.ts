/**
 * What a command of the user's own is asked, and how its answers are understood: docs/exec.md is the protocol.
 *
 * Guarantees: one run at a time for an address, each bounded in time. Its secret goes into its environment and nowhere else, and is
 * blotted out of whatever it says. What it says is bounded, too, and shown without the characters that would steer a terminal.
 */
import { asError, withDeadline } from '../clock.ts';
import type { Clock } from '../clock.ts';
import { CommandNotStarted } from '../host.ts';
import type { CommandEnd, RunCommand } from '../host.ts';
import type { ClaimTerms } from '../ports.ts';
import { blotOut } from '../secret.ts';
import type { Secret } from '../secret.ts';
import { ClaimWithdrawn, ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import { Turns } from './turns.ts';

/** What it can be asked. */
type Question = 'locate' | 'claim';

/** What its exit codes mean: of <sysexits.h> where that has a word for it, and from 79 on where it has none. */
export const EXIT_CODES = {
  64: 'invalid',
  68: 'not-found',
  69: 'unavailable',
  75: 'busy',
  77: 'forbidden',
  79: 'unauthorized',
  80: 'rate-limited',
  81: 'unknown-outcome',
} as const satisfies Readonly<Record<number, ProviderErrorCode>>;

/** What to do about those that a person has to do something about. */
const ADVICE: Partial<Readonly<Record<ProviderErrorCode, string>>> = {
  unauthorized: 'put a credential that is accepted into EXEC_SECRET',
  forbidden: 'give what EXEC_SECRET belongs to the right to do this',
  'not-found': 'correct ADDRESSES, or take a credential that the address belongs to',
  invalid: 'run the command by hand, and correct EXEC_COMMAND or what it names',
};

/** Why a program could not be started that a person has to mend. */
const NO_PROGRAM: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file, or none of the name that its first line begins with',
  ENOTDIR: 'there is no such file',
  EACCES: 'it is not executable, or lies where nothing may be executed',
  ENOEXEC: 'it is no program, and its first line names none',
};

/** As long as the holder waits for an owner that it reads back. */
const LOCATE_MS = 5_000;
const NAME_LENGTH_MAX = 256;
const LINES_MAX = 3;
const SAID_LENGTH_MAX = 400;

export interface ExecOptions {
  readonly program: string;
  /** What comes before the question and the address. */
  readonly args: readonly string[];
  readonly secret: Secret | null;
  /** What this node is called at the provider. */
  readonly server: string;
  readonly nodeName: string;
}

export class ExecCommand {
  readonly #run: RunCommand;
  readonly #clock: Clock;
  readonly #options: ExecOptions;
  readonly #turns = new Turns<string>();

  constructor(run: RunCommand, clock: Clock, options: ExecOptions) {
    this.#run = run;
    this.#clock = clock;
    this.#options = options;
  }

  /** The name of the server that has an address, or null where none has. Throws ProviderError, or the signal's reason. */
  async locate(address: string, signal: AbortSignal): Promise<string | null> {
    const { output } = await this.#ask('locate', address, signal, () =>
      withDeadline(this.#clock, LOCATE_MS, signal, async (bounded) => ({
        end: await this.#start('locate', address, bounded),
        isLate: bounded.aborted,
      })),
    );
    const name = output?.trim() ?? null;
    if (name === '') return null;
    if (name !== null && name.length <= NAME_LENGTH_MAX && !/[\s\p{C}]/u.test(name)) return name;
    throw new ProviderError('unavailable', `${nameOf('locate', address)}: what it has written is not the name of one server`);
  }

  /** Has the address routed to this node, as far as the command can. Throws ProviderError, ClaimWithdrawn, or the signal's reason. */
  async claim(address: string, { signal, mayWrite }: Pick<ClaimTerms, 'signal' | 'mayWrite'>): Promise<void> {
    await this.#ask('claim', address, signal, async () => {
      if (!mayWrite()) throw new ClaimWithdrawn(`${nameOf('claim', address)}: it may not be run any more`);
      return { end: await this.#start('claim', address, signal), isLate: false };
    });
  }

  async #ask(
    question: Question,
    address: string,
    signal: AbortSignal,
    begin: () => Promise<{ readonly end: CommandEnd; readonly isLate: boolean }>,
  ): Promise<CommandEnd> {
    const runOnce = async (): Promise<CommandEnd> => {
      const { end, isLate } = await begin();
      if (signal.aborted) throw asError(signal.reason);
      if (isLate) throw this.#error('unavailable', question, address, `has not answered within ${LOCATE_MS / 1_000} s`, end);
      return end;
    };
    return await this.#turns.take(address, signal, async () => {
      const { secret } = this.#options;
      const used = secret?.reveal() ?? '';
      let end = await runOnce();
      if (end.exitCode !== null && codeOf(end.exitCode) === 'unauthorized' && secret?.isReplaced(used) === true) end = await runOnce();
      if (end.exitCode === 0) return end;
      throw this.#failure(question, address, end);
    });
  }

  async #start(question: Question, address: string, signal: AbortSignal): Promise<CommandEnd> {
    const { program, args, secret, server, nodeName } = this.#options;
    try {
      return await this.#run({
        program,
        args: [...args, question, address],
        env: { NODE_NAME: nodeName, EXEC_SERVER: server, ...(secret === null ? {} : { EXEC_SECRET: secret.reveal() }) },
        operation: question,
        signal,
      });
    } catch (error) {
      if (!(error instanceof CommandNotStarted)) throw error;
      const why = NO_PROGRAM[error.code];
      if (why === undefined) throw new ProviderError('unavailable', `${nameOf(question, address)}: ${error.message}`);
      throw new ProviderError('invalid', `${nameOf(question, address)}: ${error.message}: ${why}; correct EXEC_COMMAND`);
    }
  }

  #failure(question: Question, address: string, end: CommandEnd): ProviderError {
    const unknown = question === 'claim' ? 'unknown-outcome' : 'unavailable';
    if (end.exitCode === null) return this.#error(unknown, question, address, `was ended by ${end.endedBy ?? 'a signal'}`, end);
    const code = codeOf(end.exitCode);
    const how = `ended with ${end.exitCode} (${code ?? 'which has no meaning here'})`;
    return this.#error(code ?? unknown, question, address, how, end);
  }

  #error(code: ProviderErrorCode, question: Question, address: string, how: string, { complaint }: CommandEnd): ProviderError {
    const said = this.#said(complaint);
    const parts = [`${nameOf(question, address)} ${how}`, said === '' ? undefined : `it said: ${said}`, ADVICE[code]];
    const [, seconds] = /^retry-after: *(\d{1,5})\s*$/im.exec(complaint) ?? [];
    return new ProviderError(code, parts.filter((part) => part !== undefined).join('; '), {
      retryAfterMs: seconds === undefined ? null : Number(seconds) * 1_000,
    });
  }

  /** The last lines of what it has complained of. The secret is taken out first: where it is cut, it could not be found any more. */
  #said(complaint: string): string {
    const clean = blotOut(complaint, this.#options.secret?.everHeld ?? []);
    const lines = clean.split('\n').map((line) => line.replaceAll(/\p{C}+/gu, ' ').trim());
    const last = lines.filter((line) => line !== '' && !/^retry-after:/i.test(line)).slice(-LINES_MAX);
    const text = last.join(' / ');
    return text.length > SAID_LENGTH_MAX ? `…${text.slice(-SAID_LENGTH_MAX)}` : text;
  }

  /** The name of a server as people may see it. */
  shown(name: string): string {
    return blotOut(name, this.#options.secret?.everHeld ?? []);
  }
}

function nameOf(question: Question, address: string): string {
  return `EXEC_COMMAND ${question} ${address}`;
}

function codeOf(exitCode: number): ProviderErrorCode | undefined {
  return (EXIT_CODES as Readonly<Record<number, ProviderErrorCode>>)[exitCode];
}

/**
 * A command of the user's own in the place of a provider's API, so that nobody is locked out whose provider has none here.
 *
 * Guarantees: looks before it writes, writes only while it may, and believes nothing but the owner that the command reads back after
 * it has claimed. Aborted, a run is ended with everything that it has started before the claim is over.
 * Not guaranteed: that nothing which a dead holder's command has begun is still under way when a term's first claim looks. Only the
 * command can know that, and says "busy" while it does; else the next verification finds out.
 */
import { asError, sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../ports.ts';
import { claimWithRetries } from './claim.ts';
import { ProviderError } from './error.ts';
import { EXIT_CODES } from './exec-command.ts';
import type { ExecCommand } from './exec-command.ts';
import { notReadyBecause } from './preparation.ts';
import type { ProviderProfile } from './profile.ts';

const FAILURES = [...Object.keys(EXIT_CODES), 'no-answer'];

/** What the provider behind it grants, only the command knows. */
export const EXEC: ProviderProfile = {
  kind: 'routed',
  claimTimeoutMs: 60_000,
  verifyIntervalMs: 30_000,
  operations: { locate: { success: '0', failures: FAILURES }, claim: { success: '0', failures: FAILURES, isMove: true } },
  limits: [],
};

/** How long a move that the command has done, or asked for, may take to show before it is claimed again. */
const SETTLE_MS = 20_000;
const SETTLE_FIRST_POLL_MS = 100;
const SETTLE_POLL_MAX_MS = 2_000;

/** In the place of a server while an address is being moved. */
const BUSY = Symbol('busy');

export class Exec implements Provider {
  readonly kind = 'routed';
  readonly #command: ExecCommand;
  readonly #server: string;
  readonly #addresses: readonly string[];
  readonly #clock: Clock;

  /** `server`: what this node is called at the provider. */
  constructor(command: ExecCommand, server: string, addresses: readonly string[], clock: Clock) {
    this.#command = command;
    this.#server = server;
    this.#addresses = addresses;
    this.#clock = clock;
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    try {
      // One after the other: each run is a process.
      for (const address of this.#addresses) await this.#look(address, signal);
      return { is: 'ready', reason: `EXEC_COMMAND knows every address, and calls this node ${this.#server}` };
    } catch (thrown) {
      return notReadyBecause(thrown, signal);
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const addresses: Finding[] = [];
    for (const address of this.#addresses) addresses.push(await this.#checkAddress(address, signal));
    const isAnswered = addresses.some(({ level }) => level === 'ok');
    const unknowable = 'whether it may also claim is first known at the first move';
    return isAnswered
      ? [ok('command', `EXEC_COMMAND answers, and calls this node ${this.#server}; ${unknowable}`), ...addresses]
      : addresses;
  }

  async #checkAddress(address: string, signal: AbortSignal): Promise<Finding> {
    const name = `address ${address}`;
    try {
      const server = await this.#look(address, signal);
      if (server === BUSY) return ok(name, 'EXEC_COMMAND knows it, and says that it is being moved');
      if (server === null) return ok(name, 'routed to no server');
      return ok(name, `routed to ${this.#command.shown(server)}${server === this.#server ? ', which is this one' : ''}`);
    } catch (error) {
      const isPassing = error instanceof ProviderError && !error.isDefinitive;
      const advice = 'run the command by hand, with "locate" and the address behind it (docs/exec.md says how)';
      return isPassing ? warn(name, error.message, advice) : fail(name, asError(error).message, advice);
    }
  }

  async owner(address: string, signal: AbortSignal): Promise<Owner> {
    try {
      const server = await this.#command.locate(address, signal);
      if (server === null) return { is: 'nobody' };
      return server === this.#server ? { is: 'self' } : { is: 'other', name: this.#command.shown(server) };
    } catch (thrown) {
      return { is: 'unknown', message: asError(thrown).message };
    }
  }

  async claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    return await claimWithRetries(this.#clock, terms, async () => {
      if ((await this.#command.locate(address, terms.signal)) === this.#server) return;
      await this.#command.claim(address, terms);
      await this.#untilHere(address, terms.signal);
    });
  }

  /** Reads the owner back until it is this node. Throws ProviderError where it does not become so in time. */
  async #untilHere(address: string, signal: AbortSignal): Promise<void> {
    const untilMs = this.#clock.nowMs() + SETTLE_MS;
    for (let pauseMs = SETTLE_FIRST_POLL_MS; ; pauseMs = Math.min(SETTLE_POLL_MAX_MS, pauseMs * 2)) {
      const server = await this.#look(address, signal);
      if (server === this.#server) return;
      if (this.#clock.nowMs() > untilMs) {
        const whose =
          server === null ? 'nobody has it' : server === BUSY ? 'it is still being moved' : `${this.#command.shown(server)} has it`;
        throw new ProviderError(
          'busy',
          `EXEC_COMMAND claim ${address} has ended well, yet after ${SETTLE_MS / 1_000} s locate says that ${whose}; this node is ${this.#server}`,
        );
      }
      await sleep(this.#clock, pauseMs, signal);
    }
  }

  /** As `locate`; that it is being moved is an answer, too. */
  async #look(address: string, signal: AbortSignal): Promise<string | null | typeof BUSY> {
    try {
      return await this.#command.locate(address, signal);
    } catch (error) {
      if (error instanceof ProviderError && error.code === 'busy') return BUSY;
      throw error;
    }
  }
}

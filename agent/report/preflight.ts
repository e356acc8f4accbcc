/**
 * What the checks at the start have found: kept for `/status`, and logged where it fails.
 *
 * Guarantees: what fails is logged when it is news, however often it is found again; the status always has the latest findings.
 */
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Finding } from '../finding.ts';

/** What was checked, and when: in UTC by the node's wall clock. */
export interface Preflight {
  readonly at: string;
  readonly findings: readonly Finding[];
}

export class PreflightLog {
  readonly #logger: Logger;
  readonly #clock: Clock;
  #latest: Preflight | null = null;
  /** What failed the last time, to tell what is news. */
  #failing = '';

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** Null where no check has ended yet. */
  get latest(): Preflight | null {
    return this.#latest;
  }

  /** Takes in the findings of one run of all checks. They hold no credential. */
  note(findings: readonly Finding[]): void {
    this.#latest = { at: new Date(this.#clock.wallMs()).toISOString(), findings };
    const failed = findings.filter(({ level }) => level === 'fail');
    const before = this.#failing;
    this.#failing = failed.map(({ name, message }) => `${name}: ${message}`).join('\n');
    if (this.#failing === before) return;
    for (const { name, message, advice } of failed)
      this.#logger.error({ event: 'preflight', check: name }, `${name}: ${message}${advice === null ? '' : `: ${advice}`}`);
  }
}

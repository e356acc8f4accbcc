/**
 * Turns the reports of a contender into log lines and keeps the last transitions for the status.
 *
 * Guarantees: each transition is logged exactly once, with its reason, its term and how long the role before it lasted. An
 * incident that repeats word for word is logged once and then counted, with a summary a minute.
 */
import type { Logger } from 'pino';
import type { Clock } from '../clock.ts';
import type { Cause, Incident, Report, Role } from '../contender/command.ts';

/** A change of role as people see it. */
export interface TransitionEntry {
  readonly at: string;
  readonly from: Role;
  readonly to: Role;
  readonly cause: Cause;
  readonly reason: string;
  readonly transitions: number | null;
  readonly elapsedMs: number;
}

const KEPT = 10;
const SUMMARY_MS = 60_000;

const LEVELS: { readonly [Name in Incident]: 'info' | 'warn' | 'error' } = {
  hindered: 'warn',
  unhindered: 'info',
  vacant: 'error',
  'lease-trouble': 'warn',
  'lease-trouble-over': 'info',
  'relief-wanted': 'warn',
  'relief-withdrawn': 'info',
  unrelieved: 'error',
  'asked-for-relief': 'info',
  'bind-failed': 'error',
  'bound-elsewhere': 'warn',
  'address-repaired': 'warn',
  'address-left-behind': 'warn',
  conflict: 'error',
  'announce-failed': 'error',
  stalled: 'warn',
  'holding-over': 'warn',
  'holdover-ended': 'warn',
  'set-aside': 'warn',
  'residence-disproved': 'error',
  'linger-ended': 'info',
  'linger-expired': 'error',
  'claim-failed': 'error',
  'claim-confirmed': 'info',
  'owner-drifted': 'warn',
  contested: 'error',
  'contest-over': 'info',
  'owner-unknown': 'warn',
  'owner-known': 'info',
  'release-failed': 'warn',
};

/** What a lasting fault would report again and again; everything else is news each time. */
const REPEATING: readonly Incident[] = [
  'bind-failed',
  'conflict',
  'announce-failed',
  'claim-failed',
  'owner-drifted',
  'owner-unknown',
  'address-repaired',
  'release-failed',
];

export class Journal {
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #transitions: TransitionEntry[] = [];
  readonly #repeated = new Map<string, { message: string; sinceMs: number; count: number }>();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
  }

  /** The last ten transitions, the latest first. */
  get transitions(): readonly TransitionEntry[] {
    return this.#transitions;
  }

  report(report: Report): void {
    if (report.kind === 'incident') return this.#incident(report);
    const { from, to, cause, reason, term, elapsedMs } = report;
    const entry = { from, to, cause, reason, transitions: term?.transitions ?? null, elapsedMs };
    this.#logger.info({ event: 'transition', ...entry }, `${from} → ${to}: ${reason}`);
    this.#transitions.unshift({ at: new Date(this.#clock.wallMs()).toISOString(), ...entry });
    this.#transitions.length = Math.min(this.#transitions.length, KEPT);
  }

  #incident({ event, message, address, rival }: Report & { kind: 'incident' }): void {
    const key = `${event} ${address ?? ''}`;
    const before = REPEATING.includes(event) ? this.#repeated.get(key) : undefined;
    const nowMs = this.#clock.nowMs();
    if (before?.message === message && nowMs - before.sinceMs < SUMMARY_MS) {
      before.count += 1;
      return;
    }
    const again = before?.message === message ? before.count : 0;
    this.#repeated.set(key, { message, sinceMs: nowMs, count: 0 });
    const text = address === null ? message : `${address}: ${message}`;
    const details = {
      event,
      ...(address === null ? {} : { address }),
      ...(rival === undefined ? {} : { mac: rival }),
      ...(again > 0 ? { repeated: again } : {}),
    };
    this.#logger[LEVELS[event]](details, text);
  }
}

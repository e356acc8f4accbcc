/**
 * What is counted and measured of one contender: its role, its tenure, its terms, and how long it took to serve.
 *
 * Guarantees: every series names the Lease, and every label has a closed set of values. What a rate is taken of is there from
 * the start. The heart knows nothing of it: all is learnt from its reports, its state, and what passes through its ports.
 */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import { hindranceOf } from '../contender/candidate.ts';
import { INCIDENTS, ROLES } from '../contender/command.ts';
import type { Cause, Report } from '../contender/command.ts';
import type { WriteOutcome } from '../contender/input.ts';
import { roleOf } from '../contender/state.ts';
import type { Contender, Hindrance } from '../contender/state.ts';
import type { LeaseStore } from '../ports.ts';
import { knownTransitions } from './known-transitions.ts';
import { namesOf, setState } from './state-set.ts';

/** The timings that a contender was given. */
export interface Timings {
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
}

/** Up to the longest that one request about the Lease may take. */
const RENEWAL_BUCKETS_S = [0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6];
const FAILOVER_BUCKETS_S = [0.5, 1, 2, 3, 4, 5, 10, 30];
/** The margin is looked at in tenths of the whole tenure, however long that is. */
const MARGIN_STEPS = 10;

const HINDRANCES = namesOf<Hindrance['about']>({ probes: 0, interface: 0, provider: 0, lease: 0, residence: 0 });
const WRITE_OUTCOMES = namesOf<WriteOutcome['is']>({
  written: 0,
  conflict: 0,
  missing: 0,
  refused: 0,
  throttled: 0,
  unavailable: 0,
  unknown: 0,
  unreachable: 0,
  aborted: 0,
});

/** How the Lease was found by the one that took it, by the cause of its taking it. */
const TAKEN_AFTER = { 'holder-released': 'release', 'holder-silent': 'silence', restart: 'restart', vacancy: 'vacancy' } as const;
type TakenAfter = (typeof TAKEN_AFTER)[keyof typeof TAKEN_AFTER];

/** How and since when a Lease has been free that is being taken. */
interface Taking {
  readonly after: TakenAfter;
  readonly sinceMs: number;
}

export class ContenderMetrics {
  readonly #clock: Clock;
  readonly #role;
  readonly #roleChanged;
  readonly #isHolder;
  readonly #canTakeOver;
  readonly #hindered;
  readonly #healthy;
  readonly #transitions;
  readonly #incidents;
  readonly #tenureRemaining;
  readonly #tenureMargin;
  readonly #renewals;
  readonly #renewalDuration;
  readonly #failoverDuration;
  /** Null while it takes none. */
  #taking: Taking | null = null;

  constructor(registry: Registry, timings: Timings, clock: Clock) {
    const registers = [registry];
    this.#clock = clock;
    this.#role = new Gauge({
      name: 'leasehold_role',
      help: 'What the agent is doing: 1 for its present role, 0 for every other. The roles are those of the table in docs/how-it-decides.md.',
      labelNames: ['role'] as const,
      registers,
    });
    this.#roleChanged = new Gauge({
      name: 'leasehold_role_changed_timestamp_seconds',
      help: 'Since when the present role has lasted, in seconds since 1970 by the clock of the node.',
      registers,
    });
    this.#isHolder = new Gauge({
      name: 'leasehold_is_holder',
      help: 'Whether the agent holds the Lease, with a tenure that still lasts: 1 or 0.',
      registers,
    });
    this.#canTakeOver = new Gauge({
      name: 'leasehold_can_take_over',
      help: 'Whether the agent stands by and nothing keeps it from taking over: 1 or 0.',
      registers,
    });
    this.#hindered = new Gauge({
      name: 'leasehold_hindered',
      help: 'What keeps the node from taking the Lease: 1 for the first thing that does (`probes`, `interface`, `provider`, a foreign `lease`, the `residence` of another agent here), 0 for every other.',
      labelNames: ['by'] as const,
      registers,
    });
    this.#healthy = new Gauge({
      name: 'leasehold_healthy',
      help: 'The verdict of all probes together: 1 healthy, 0 unhealthy or not known yet.',
      registers,
    });
    this.#transitions = new Counter({
      name: 'leasehold_role_transitions_total',
      help: 'Changes of role, by the roles and by why: `reason` is the `cause` in the log line and in `/status`.',
      labelNames: ['from', 'to', 'reason'] as const,
      registers,
    });
    this.#incidents = new Counter({
      name: 'leasehold_incidents_total',
      help: 'What else was reported, by the `event` of its log line, also where the log has left out a repetition.',
      labelNames: ['event'] as const,
      registers,
    });
    this.#tenureRemaining = new Gauge({
      name: 'leasehold_tenure_remaining_seconds',
      help: 'How much of its tenure the holder has left at this moment; 0 for whoever holds nothing.',
      registers,
    });
    const stepS = timings.renewDeadlineMs / 1_000 / MARGIN_STEPS;
    this.#tenureMargin = new Histogram({
      name: 'leasehold_tenure_margin_seconds',
      help: 'How much of its tenure the holder had left when a renewal was answered, in tenths of RENEW_DEADLINE.',
      buckets: Array.from({ length: MARGIN_STEPS }, (_, index) => Number((stepS * (index + 1)).toPrecision(6))),
      registers,
    });
    this.#renewals = new Counter({
      name: 'leasehold_renewals_total',
      help: 'Renewals of the Lease, by how they ended: `written`, or why not.',
      labelNames: ['outcome'] as const,
      registers,
    });
    this.#renewalDuration = new Histogram({
      name: 'leasehold_renewal_duration_seconds',
      help: 'How long a renewal took, whatever came of it.',
      buckets: RENEWAL_BUCKETS_S,
      registers,
    });
    this.#failoverDuration = new Histogram({
      name: 'leasehold_failover_duration_seconds',
      help: 'From the last change of the Lease that this agent saw before it took it until it served. `after`: its holder’s `release` (asked to end, or relieved), its holder’s `silence` (dead or cut off), the `restart` of an agent of this node, or a `vacancy` (nobody had held it, or somebody emptied or deleted it).',
      labelNames: ['after'] as const,
      buckets: FAILOVER_BUCKETS_S,
      registers,
    });
    setTimings(registry, timings);
    for (const labels of knownTransitions()) this.#transitions.inc(labels, 0);
    for (const event of INCIDENTS) this.#incidents.inc({ event }, 0);
    for (const outcome of WRITE_OUTCOMES) this.#renewals.inc({ outcome }, 0);
    for (const after of new Set(Object.values(TAKEN_AFTER))) this.#failoverDuration.zero({ after });
    this.#roleChanged.set(clock.wallMs() / 1_000);
  }

  report(report: Report, contender: Contender): void {
    if (report.kind === 'incident') return this.#incidents.inc({ event: report.event });
    const { from, to, cause } = report;
    this.#transitions.inc({ from, to, reason: cause });
    this.#roleChanged.set(this.#clock.wallMs() / 1_000);
    if (to === 'acquiring') this.#taking = takingOf(cause, contender);
    else if (to !== 'claiming') {
      if (to === 'serving' && this.#taking !== null) {
        const { after, sinceMs } = this.#taking;
        this.#failoverDuration.observe({ after }, (contender.nowMs - sinceMs) / 1_000);
      }
      this.#taking = null;
    }
  }

  /** The same store, with renewals measured that pass by. */
  observing(store: LeaseStore, contender: () => Contender): LeaseStore {
    return {
      read: (timeoutMs, signal) => store.read(timeoutMs, signal),
      write: async (command, signal) => {
        const startedAtMs = this.#clock.nowMs();
        const outcome = await store.write(command, signal);
        if (command.type === 'renew') this.#noteRenewal(outcome, startedAtMs, contender());
        return outcome;
      },
    };
  }

  /** Brings up to date what is a state and not a count. */
  refresh(contender: Contender): void {
    const { life } = contender;
    const nowMs = this.#clock.nowMs();
    const remainingMs = life.is === 'holding' ? Math.max(0, life.office.tenureEndMs - nowMs) : 0;
    const hindrance = hindranceOf(contender);
    setState(this.#role, 'role', { states: ROLES, present: roleOf(contender) });
    setState(this.#hindered, 'by', { states: HINDRANCES, present: hindrance?.about ?? null });
    this.#isHolder.set(remainingMs > 0 ? 1 : 0);
    this.#canTakeOver.set(roleOf(contender) === 'standby' && hindrance === null ? 1 : 0);
    this.#healthy.set(contender.verdict?.healthy === true ? 1 : 0);
    this.#tenureRemaining.set(remainingMs / 1_000);
  }

  /** Runs before the loop takes the answer in, so what the tenure has left is counted from the renewal before this one. */
  #noteRenewal({ is: outcome }: WriteOutcome, startedAtMs: number, { life }: Contender): void {
    const nowMs = this.#clock.nowMs();
    this.#renewals.inc({ outcome });
    this.#renewalDuration.observe((nowMs - startedAtMs) / 1_000);
    if (outcome === 'written' && life.is === 'holding') this.#tenureMargin.observe(Math.max(0, life.office.tenureEndMs - nowMs) / 1_000);
  }
}

function takingOf(cause: Cause, { observation }: Contender): Taking | null {
  const after = (TAKEN_AFTER as { readonly [Each in Cause]?: TakenAfter })[cause];
  return after === undefined || observation === null ? null : { after, sinceMs: observation.sinceMs };
}

function setTimings(registry: Registry, { leaseDurationMs, renewDeadlineMs, renewIntervalMs }: Timings): void {
  for (const [name, help, ms] of [
    ['leasehold_lease_duration_seconds', 'The setting LEASE_DURATION.', leaseDurationMs],
    ['leasehold_renew_deadline_seconds', 'The setting RENEW_DEADLINE: how long a tenure is.', renewDeadlineMs],
    ['leasehold_renew_interval_seconds', 'The setting RENEW_INTERVAL.', renewIntervalMs],
  ] as const)
    new Gauge({ name, help, registers: [registry] }).set(ms / 1_000);
}

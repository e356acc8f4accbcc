/**
 * What is counted and measured of the process: what it is, whether it is ready, what it uses, and how late it wakes.
 *
 * Guarantees: cheap. What the process uses is asked only when somebody collects; how late it wakes is seen of the timers that
 * its contender sets anyway, and none is set for it.
 */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import type { EventCounts } from '../kube/event-recorder.ts';

/** What a process has used so far. */
export interface ProcessUsage {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly heapUsedBytes: number;
  readonly openFileDescriptors: number;
  /** In seconds since 1970. */
  readonly startedAtSeconds: number;
}

/** What stays as it is for the life of a process. */
export interface ProcessFacts {
  readonly version: string;
  readonly node: string;
  readonly provider: string;
}

const LATENESS_BUCKETS_S = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

export class ProcessMetrics {
  readonly #ready;
  readonly #dropped;
  readonly #events;
  readonly #droppedEvents;
  readonly #lateness;
  readonly #cpu;
  readonly #resident;
  readonly #heap;
  readonly #files;
  readonly #started;

  constructor(registry: Registry, { version, node, provider }: ProcessFacts) {
    const registers = [registry];
    new Gauge({
      name: 'leasehold_build_info',
      help: 'Always 1; the version of Leasehold.',
      labelNames: ['version'] as const,
      registers,
    }).set({ version }, 1);
    new Gauge({
      name: 'leasehold_agent_info',
      help: 'Always 1; the node that the agent runs on, as NODE_NAME says, and its PROVIDER.',
      labelNames: ['node', 'provider'] as const,
      registers,
    }).set({ node, provider }, 1);
    this.#ready = new Gauge({ name: 'leasehold_ready', help: 'Whether the agent is ready, as `/readyz` says: 1 or 0.', registers });
    this.#dropped = new Counter({
      name: 'leasehold_log_lines_dropped_total',
      help: 'Log lines that were dropped because nobody read standard output.',
      registers,
    });
    this.#events = new Counter({
      name: 'leasehold_events_written_total',
      help: 'Kubernetes Events that were written: `created`, or `repeated` where one was counted on.',
      labelNames: ['what'] as const,
      registers,
    });
    this.#droppedEvents = new Counter({
      name: 'leasehold_events_dropped_total',
      help: 'Kubernetes Events that were not written, by why: too many (`budget`), the API away for too long (`waited`), `refused`.',
      labelNames: ['why'] as const,
      registers,
    });
    this.#lateness = new Histogram({
      name: 'leasehold_wakeup_lateness_seconds',
      help: 'How late the agent’s loop was woken by its own timers: what a starved or throttled process shows first.',
      buckets: LATENESS_BUCKETS_S,
      registers,
    });
    this.#cpu = new Counter({ name: 'process_cpu_seconds_total', help: 'Processor time used, by user and system together.', registers });
    this.#resident = new Gauge({ name: 'process_resident_memory_bytes', help: 'Resident memory.', registers });
    this.#heap = new Gauge({ name: 'nodejs_heap_size_used_bytes', help: 'What is used of the JavaScript heap.', registers });
    this.#files = new Gauge({ name: 'process_open_fds', help: 'Open file descriptors.', registers });
    this.#started = new Gauge({ name: 'process_start_time_seconds', help: 'When the process started, in seconds since 1970.', registers });
  }

  /** The same clock, with the lateness of its timers measured. */
  observing(clock: Clock): Clock {
    return {
      nowMs: () => clock.nowMs(),
      wallMs: () => clock.wallMs(),
      setTimer: (delayMs, callback) => {
        const dueAtMs = clock.nowMs() + delayMs;
        return clock.setTimer(delayMs, () => {
          this.#lateness.observe(Math.max(0, clock.nowMs() - dueAtMs) / 1_000);
          callback();
        });
      },
    };
  }

  /** Brings up to date what is a state and not a count, and what others count. */
  refresh({
    isReady,
    droppedLogLines,
    events,
    usage,
  }: {
    readonly isReady: boolean;
    readonly droppedLogLines: number;
    readonly events: EventCounts;
    readonly usage: ProcessUsage;
  }): void {
    this.#ready.set(isReady ? 1 : 0);
    setCounter(this.#dropped, droppedLogLines);
    this.#events.reset();
    this.#events.inc({ what: 'created' }, events.created);
    this.#events.inc({ what: 'repeated' }, events.repeated);
    this.#droppedEvents.reset();
    for (const [why, count] of Object.entries(events.dropped)) this.#droppedEvents.inc({ why }, count);
    setCounter(this.#cpu, usage.cpuSeconds);
    this.#resident.set(usage.residentBytes);
    this.#heap.set(usage.heapUsedBytes);
    this.#files.set(usage.openFileDescriptors);
    this.#started.set(usage.startedAtSeconds);
  }
}

/** Somebody else counts: what is shown is their count. */
function setCounter(counter: Counter, value: number): void {
  counter.reset();
  counter.inc(value);
}

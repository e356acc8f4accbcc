/**
 * What is counted and measured of probes.
 *
 * Guarantees: a probe is called what it is called in `/status`, which hides what its URL asks. Two probes of one name are
 * counted as one, which is up while both are.
 */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';

const BUCKETS_S = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 5];

export class ProbeMetrics {
  readonly #up;
  readonly #results;
  readonly #duration;

  constructor(registry: Registry, probes: readonly string[]) {
    const registers = [registry];
    this.#up = new Gauge({
      name: 'leasehold_probe_up',
      help: 'Whether a probe is judged healthy, after its rise and fall counts: 1, or 0 also while it is not known yet.',
      labelNames: ['probe'] as const,
      registers,
    });
    this.#results = new Counter({
      name: 'leasehold_probe_results_total',
      help: 'Answers to a probe that were judged, by `result`: `success` or `failure`.',
      labelNames: ['probe', 'result'] as const,
      registers,
    });
    this.#duration = new Histogram({
      name: 'leasehold_probe_duration_seconds',
      help: 'How long it took to get such an answer, or none.',
      labelNames: ['probe'] as const,
      buckets: BUCKETS_S,
      registers,
    });
    for (const probe of probes) {
      for (const result of ['success', 'failure']) this.#results.inc({ probe, result }, 0);
      this.#duration.zero({ probe });
    }
  }

  note({ probe, isGood, elapsedMs }: { readonly probe: string; readonly isGood: boolean; readonly elapsedMs: number }): void {
    this.#results.inc({ probe, result: isGood ? 'success' : 'failure' });
    this.#duration.observe({ probe }, elapsedMs / 1_000);
  }

  /** Brings up to date what is a state and not a count. */
  refresh(probes: readonly { readonly probe: string; readonly healthy: boolean | null }[]): void {
    const down = new Set(probes.filter(({ healthy }) => healthy !== true).map(({ probe }) => probe));
    for (const { probe } of probes) this.#up.set({ probe }, down.has(probe) ? 0 : 1);
  }
}

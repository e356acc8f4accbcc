/**
 * What is counted and measured of requests: to the Kubernetes API, to the provider, and what the provider grants.
 *
 * Guarantees: verbs, resources and operations are words of this program's own, and a code is a status of HTTP, an exit code or one
 * of three words, so others cannot make labels grow. The usual answers are there from the start.
 */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { KubeExchange } from '../kube/observed-http.ts';
import type { ProviderExchange } from '../provider/observed-http.ts';
import type { BudgetStatus } from '../provider/budget.ts';
import type { ProviderProfile } from '../provider/profile.ts';
import { BudgetMetrics } from './budget-metrics.ts';

const KUBERNETES_BUCKETS_S = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 5];
const PROVIDER_BUCKETS_S = [0.1, 0.25, 0.5, 1, 2, 5];

const FAILURES = ['401', '403', '429', '500', '503', 'no-answer'];
/** The answers that a request about the Lease may get in ordinary times and in the usual bad ones. */
const LEASE_CODES: Readonly<Record<string, readonly string[]>> = {
  get: ['200', '404', 'unreachable', ...FAILURES],
  patch: ['200', '409', 'unreachable', 'aborted', ...FAILURES],
  watch: ['200', '410', 'unreachable', ...FAILURES],
  list: ['200', '403'],
  create: ['201', '403'],
};

export class RequestMetrics {
  readonly #kubernetes;
  readonly #kubernetesDuration;
  readonly #watchUp;
  readonly #operations;
  readonly #operationDuration;
  readonly #providerReady;
  readonly #budget;

  /** `operations`: what is asked of the provider; nothing on a shared segment. */
  constructor(registry: Registry, provider: string, operations: ProviderProfile['operations']) {
    const registers = [registry];
    this.#kubernetes = new Counter({
      name: 'leasehold_kubernetes_requests_total',
      help: 'Requests to the Kubernetes API, by verb, resource and the answer’s status; without an answer `unreachable` (not carried out), `no-answer` (perhaps carried out) or `aborted` (by the agent). A watch counts when it begins.',
      labelNames: ['verb', 'resource', 'code'] as const,
      registers,
    });
    this.#kubernetesDuration = new Histogram({
      name: 'leasehold_kubernetes_request_duration_seconds',
      help: 'How long requests to the Kubernetes API took, whatever came of them; of a watch, until it began.',
      labelNames: ['verb', 'resource'] as const,
      buckets: KUBERNETES_BUCKETS_S,
      registers,
    });
    this.#watchUp = new Gauge({
      name: 'leasehold_watch_up',
      help: 'Whether the watch of the Lease stands: 1 or 0. Without it changes are found out later, by timers alone.',
      registers,
    });
    this.#operations = new Counter({
      name: 'leasehold_provider_requests_total',
      help: 'Requests to the provider’s API, by operation and the answer’s status; without an answer `no-answer` or `aborted` (by the agent). With `PROVIDER=exec` runs of the command, by what it is asked and its exit code.',
      labelNames: ['operation', 'code'] as const,
      registers,
    });
    this.#operationDuration = new Histogram({
      name: 'leasehold_provider_request_duration_seconds',
      help: 'How long requests to the provider’s API took, whatever came of them.',
      labelNames: ['operation'] as const,
      buckets: PROVIDER_BUCKETS_S,
      registers,
    });
    this.#providerReady = new Gauge({
      name: 'leasehold_provider_ready',
      help: 'Whether nothing is known to be wrong with the provider: 1 or 0. `/status` says what is.',
      registers,
    });
    this.#budget = new BudgetMetrics(registry, provider);
    for (const [verb, codes] of Object.entries(LEASE_CODES)) {
      for (const code of codes) this.#kubernetes.inc({ verb, resource: 'leases', code }, 0);
      this.#kubernetesDuration.zero({ verb, resource: 'leases' });
    }
    for (const [operation, { success, failures = FAILURES }] of Object.entries(operations)) {
      for (const code of [success, ...failures]) this.#operations.inc({ operation, code }, 0);
      this.#operationDuration.zero({ operation });
    }
  }

  kubernetes({ verb, resource, code, elapsedMs }: KubeExchange): void {
    this.#kubernetes.inc({ verb, resource, code });
    this.#kubernetesDuration.observe({ verb, resource }, elapsedMs / 1_000);
  }

  provider({ operation, code, elapsedMs, budget }: ProviderExchange): void {
    this.#operations.inc({ operation, code });
    this.#operationDuration.observe({ operation }, elapsedMs / 1_000);
    if (budget !== null) this.#budget.said(budget);
  }

  /** Brings up to date what is a state and not a count. */
  refresh({
    watchStands,
    isProviderReady,
    budget,
  }: {
    readonly watchStands: boolean;
    readonly isProviderReady: boolean;
    readonly budget: BudgetStatus | null;
  }): void {
    this.#budget.refresh(budget);
    this.#watchUp.set(watchStands ? 1 : 0);
    this.#providerReady.set(isProviderReady ? 1 : 0);
  }
}

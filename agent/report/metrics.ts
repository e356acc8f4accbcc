/**
 * What Prometheus collects at `/metrics`.
 *
 * Guarantees: names and units as Prometheus recommends; no label takes more than a few values, whatever others do; answers
 * from memory. What there is to count is told to it by whoever sees it pass; it asks nobody but for what is shown.
 */
import { Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import type { Report } from '../contender/command.ts';
import type { Owner } from '../contender/input.ts';
import type { Contender } from '../contender/state.ts';
import type { EventCounts } from '../kube/event-recorder.ts';
import type { BudgetStatus } from '../provider/budget.ts';
import type { ProviderProfile } from '../provider/profile.ts';
import { AddressMetrics } from './address-metrics.ts';
import { ContenderMetrics } from './contender-metrics.ts';
import type { Timings } from './contender-metrics.ts';
import { ProbeMetrics } from './probe-metrics.ts';
import { ProcessMetrics } from './process-metrics.ts';
import type { ProcessFacts, ProcessUsage } from './process-metrics.ts';
import { RequestMetrics } from './request-metrics.ts';

/** What an agent is told once and shows in its metrics. */
export interface MetricFacts extends ProcessFacts {
  readonly lease: { readonly namespace: string; readonly name: string };
  readonly timings: Timings;
  readonly addresses: readonly string[];
  /** Whether a provider's API decides where traffic goes. */
  readonly isRouted: boolean;
  /** What is asked of the provider. */
  readonly operations: ProviderProfile['operations'];
  readonly probes: readonly string[];
}

/** How everything stands at the moment somebody collects. */
export interface MetricSources {
  readonly contender: Contender;
  readonly owners: ReadonlyMap<string, { readonly owner: Owner }>;
  readonly probes: readonly { readonly probe: string; readonly healthy: boolean | null }[];
  readonly watchStands: boolean;
  readonly isProviderReady: boolean;
  /** What the ledger of requests says; null where there is no provider to ask. */
  readonly budget: BudgetStatus | null;
  readonly isReady: boolean;
  readonly droppedLogLines: number;
  readonly events: EventCounts;
  readonly usage: ProcessUsage;
}

export class Metrics {
  /** One agent may come to host many contenders, so what is about one of them names its Lease. */
  readonly #ofContender = new Registry();
  readonly #ofProcess = new Registry();
  readonly contender: ContenderMetrics;
  readonly addresses: AddressMetrics;
  readonly requests: RequestMetrics;
  readonly probes: ProbeMetrics;
  readonly process: ProcessMetrics;

  constructor(facts: MetricFacts, clock: Clock) {
    const { lease, timings, addresses, isRouted, provider, operations, probes } = facts;
    this.#ofContender.setDefaultLabels({ lease: `${lease.namespace}/${lease.name}` });
    this.contender = new ContenderMetrics(this.#ofContender, timings, clock);
    this.addresses = new AddressMetrics(this.#ofContender, addresses, isRouted, clock);
    this.probes = new ProbeMetrics(this.#ofProcess, probes);
    this.requests = new RequestMetrics(this.#ofProcess, provider, operations);
    this.process = new ProcessMetrics(this.#ofProcess, facts);
  }

  report(report: Report, contender: Contender): void {
    this.contender.report(report, contender);
    this.addresses.report(report);
  }

  /** In Prometheus' text format. */
  async text(sources: MetricSources): Promise<string> {
    this.contender.refresh(sources.contender);
    this.addresses.refresh(sources.contender, sources.owners);
    this.probes.refresh(sources.probes);
    this.requests.refresh(sources);
    this.process.refresh(sources);
    return (await this.#ofContender.metrics()) + (await this.#ofProcess.metrics());
  }

  get contentType(): string {
    return this.#ofProcess.contentType;
  }

  /** Each metric that there is, for the documentation. */
  definitions(): MetricDefinition[] {
    return [...definitionsOf(this.#ofContender, ['lease']), ...definitionsOf(this.#ofProcess, [])];
  }
}

/** A metric as people read about it. */
export interface MetricDefinition {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

function definitionsOf(registry: Registry, everywhere: readonly string[]): MetricDefinition[] {
  return registry.getMetricsAsArray().map((metric) => {
    // The library's typing has no names of labels, and takes the name of the type for a number.
    const { name, help, type, labelNames } = metric as unknown as Omit<MetricDefinition, 'labels'> & { labelNames: readonly string[] };
    return { name, help, type, labels: [...everywhere, ...labelNames] };
  });
}

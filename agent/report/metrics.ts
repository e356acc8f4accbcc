/**
 * What Prometheus collects at `/metrics`.
 *
 * Guarantees: names and units as Prometheus recommends; no label takes more than a few values, whatever others do.
 */
import { Counter, Registry } from 'prom-client';
import type { Report } from '../contender/command.ts';

/** A stranger that changes its hardware address with every frame must not fill the memory of whoever collects. */
const RIVALS_MAX = 8;
const FURTHER_RIVALS = 'others';

export class Metrics {
  readonly #registry = new Registry();
  readonly #rivals = new Set<string>();
  readonly #conflicts = new Counter({
    name: 'leasehold_address_conflicts_total',
    help: 'How often another machine on the segment has said that an address is its own, by its hardware address.',
    labelNames: ['address', 'mac'] as const,
    registers: [this.#registry],
  });

  constructor(addresses: readonly string[]) {
    // There from the start, so that a rate over it finds the first one.
    for (const address of addresses) this.#conflicts.inc({ address, mac: '' }, 0);
  }

  report(report: Report): void {
    if (report.kind !== 'incident' || report.event !== 'conflict') return;
    const { address, rival } = report;
    if (address === null || rival === undefined) return;
    if (this.#rivals.size < RIVALS_MAX) this.#rivals.add(rival);
    this.#conflicts.inc({ address, mac: this.#rivals.has(rival) ? rival : FURTHER_RIVALS });
  }

  /** In Prometheus' text format. */
  async text(): Promise<string> {
    return await this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }
}

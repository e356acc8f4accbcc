/**
 * What is counted of the provider's budget: how much of each limit is left, how much is kept for a failover, and what was not
 * asked because of it.
 *
 * Guarantees: a limit is named by the provider's profile, by an address, or by the header that tells it, so others cannot make
 * labels grow. What only a provider grants is there from the start only where there is one.
 */
import { Counter, Gauge } from 'prom-client';
import type { Registry } from 'prom-client';
import type { BudgetStatus } from '../provider/budget.ts';

/** What answers say of it themselves, in the header that they say it in. */
const SAID = 'RateLimit';

export class BudgetMetrics {
  readonly #provider: string;
  readonly #limit;
  readonly #remaining;
  readonly #reserve;
  readonly #moves;
  readonly #heldBack;

  constructor(registry: Registry, provider: string) {
    const registers = [registry];
    this.#provider = provider;
    this.#limit = new Gauge({
      name: 'leasehold_provider_budget_limit_requests',
      help: 'How many requests there may be, by what limits them: `RateLimit`, as the provider’s last answer said (Hetzner grants them to a whole project, which others may use, too); a limit in its documentation; or the moves of an address in an hour, by the setting `MOVES_PER_HOUR`.',
      labelNames: ['provider', 'limit'] as const,
      registers,
    });
    this.#remaining = new Gauge({
      name: 'leasehold_provider_budget_remaining_requests',
      help: 'How many of these requests are left: as its last answer said, or as far as this agent has counted.',
      labelNames: ['provider', 'limit'] as const,
      registers,
    });
    this.#reserve = new Gauge({
      name: 'leasehold_provider_budget_reserve_requests',
      help: 'How many of these requests are kept for a failover: when no more are left, nothing else is asked.',
      labelNames: ['provider', 'limit'] as const,
      registers,
    });
    this.#moves = new Counter({
      name: 'leasehold_provider_moves_total',
      help: 'How often an address was moved, by `this` agent or, as far as it has seen, by `others`: other holders, and whoever takes an address away.',
      labelNames: ['by'] as const,
      registers,
    });
    this.#heldBack = new Counter({
      name: 'leasehold_provider_held_back_total',
      help: 'Requests that were not sent so that the provider’s budget lasts for a failover, by what they were for.',
      labelNames: ['purpose'] as const,
      registers,
    });
  }

  /** Takes in what an answer said. */
  said({ limit, remaining }: { readonly limit: number; readonly remaining: number }): void {
    this.#limit.set({ provider: this.#provider, limit: SAID }, limit);
    this.#remaining.set({ provider: this.#provider, limit: SAID }, remaining);
  }

  /** Brings up to date what the ledger counts; null where there is no provider to ask. */
  refresh(budget: BudgetStatus | null): void {
    if (budget === null) return;
    const provider = this.#provider;
    for (const { name: limit, used, max, reserve } of budget.limits) {
      this.#limit.set({ provider, limit }, max);
      this.#remaining.set({ provider, limit }, Math.max(0, max - used));
      this.#reserve.set({ provider, limit }, reserve);
    }
    if (budget.said !== null) this.#reserve.set({ provider, limit: SAID }, budget.said.reserve);
    this.#moves.reset();
    this.#moves.inc({ by: 'this' }, budget.moves.own);
    this.#moves.inc({ by: 'others' }, budget.moves.others);
    this.#heldBack.reset();
    for (const [purpose, count] of Object.entries(budget.heldBack)) this.#heldBack.inc({ purpose }, count);
  }
}

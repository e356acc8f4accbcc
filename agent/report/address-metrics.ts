/**
 * What is counted and measured of the addresses: where each one stands, who the provider routes it to, how claims went, and
 * what had to be mended.
 *
 * Guarantees: no label takes more than a few values, whatever others do. What only a provider can tell of is there from the
 * start only where there is one.
 */
import { Counter, Gauge, Histogram } from 'prom-client';
import type { Registry } from 'prom-client';
import type { Clock } from '../clock.ts';
import type { Report } from '../contender/command.ts';
import { patienceMs } from '../contender/contest.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import type { AddressState, Contender } from '../contender/state.ts';
import type { Provider } from '../ports.ts';
import { namesOf, setState } from './state-set.ts';

/** A stranger that changes its hardware address with every frame must not fill the memory of whoever collects. */
const RIVALS_MAX = 8;
const FURTHER_RIVALS = 'others';
const CLAIM_BUCKETS_S = [0.5, 1, 2, 3, 5, 10, 20, 30];

const STATES = namesOf<AddressState['is']>({
  absent: 0,
  leftover: 0,
  probing: 0,
  binding: 0,
  bound: 0,
  lingering: 0,
  'held-over': 0,
  unbinding: 0,
});
const OWNERS = namesOf<Owner['is']>({ self: 0, other: 0, nobody: 0, unknown: 0 });
const CLAIM_OUTCOMES = ['confirmed', 'failed', 'refused', 'withdrawn'] as const;
const REPAIRS = { 'owner-drifted': 'route', 'address-repaired': 'binding' } as const;

export class AddressMetrics {
  readonly #clock: Clock;
  readonly #addresses: readonly string[];
  readonly #isRouted: boolean;
  readonly #rivals = new Set<string>();
  readonly #state;
  readonly #bound;
  readonly #owner;
  readonly #claimDuration;
  readonly #patience;
  readonly #repairs;
  readonly #conflicts;

  constructor(registry: Registry, addresses: readonly string[], isRouted: boolean, clock: Clock) {
    const registers = [registry];
    this.#clock = clock;
    this.#addresses = addresses;
    this.#isRouted = isRouted;
    this.#state = new Gauge({
      name: 'leasehold_address_state',
      help: 'What the agent does with an address: 1 for its present state, 0 for every other. `leftover`: of an earlier agent; `lingering`: kept for clients after the term; `held-over`: kept while the Kubernetes API is silent.',
      labelNames: ['address', 'state'] as const,
      registers,
    });
    this.#bound = new Gauge({
      name: 'leasehold_address_bound',
      help: 'Whether the last look at the interfaces has shown the address there, whoever put it there: 1 or 0.',
      labelNames: ['address'] as const,
      registers,
    });
    this.#owner = new Gauge({
      name: 'leasehold_address_owner',
      help: 'Where the provider routed the address when this agent read it last: 1 for that, 0 for every other; `self` is this node. Only a holder reads it regularly. Not on a shared segment.',
      labelNames: ['address', 'owner'] as const,
      registers,
    });
    this.#claimDuration = new Histogram({
      name: 'leasehold_claim_duration_seconds',
      help: 'How long it took to have the provider route an address to this node, by how that ended: `confirmed`, `failed` (in time, or until something changes), `refused` (a person must act), `withdrawn` (not wanted any more). Not on a shared segment.',
      labelNames: ['outcome'] as const,
      buckets: CLAIM_BUCKETS_S,
      registers,
    });
    this.#patience = new Gauge({
      name: 'leasehold_address_claim_patience_seconds',
      help: 'How long this agent leaves an address to whoever takes it away before it claims it back; 0 while nobody contests it. It doubles each time up to five minutes. Not on a shared segment.',
      labelNames: ['address'] as const,
      registers,
    });
    this.#repairs = new Counter({
      name: 'leasehold_address_repairs_total',
      help: 'How often somebody else had changed something about an address that was mended: its `route` at the provider, or its `binding` on the interface.',
      labelNames: ['address', 'what'] as const,
      registers,
    });
    this.#conflicts = new Counter({
      name: 'leasehold_address_conflicts_total',
      help: 'How often another machine on the segment has said that an address is its own, by its hardware address.',
      labelNames: ['address', 'mac'] as const,
      registers,
    });
    for (const address of addresses) {
      this.#conflicts.inc({ address, mac: '' }, 0);
      for (const what of Object.values(REPAIRS)) this.#repairs.inc({ address, what }, 0);
    }
    if (isRouted) for (const outcome of CLAIM_OUTCOMES) this.#claimDuration.zero({ outcome });
  }

  report(report: Report): void {
    if (report.kind !== 'incident' || report.address === null) return;
    const { event, address, rival } = report;
    if (event === 'owner-drifted' || event === 'address-repaired') this.#repairs.inc({ address, what: REPAIRS[event] });
    if (event === 'conflict' && rival !== undefined) {
      if (this.#rivals.size < RIVALS_MAX) this.#rivals.add(rival);
      this.#conflicts.inc({ address, mac: this.#rivals.has(rival) ? rival : FURTHER_RIVALS });
    }
  }

  /** The same provider, with claims measured that pass by. */
  observing(provider: Provider): Provider {
    return {
      kind: provider.kind,
      prepare: (signal) => provider.prepare(signal),
      check: (signal) => provider.check(signal),
      owner: (address, signal) => provider.owner(address, signal),
      claim: async (address, terms) => {
        const startedAtMs = this.#clock.nowMs();
        const outcome = await provider.claim(address, terms);
        this.#claimDuration.observe({ outcome: wordFor(outcome) }, (this.#clock.nowMs() - startedAtMs) / 1_000);
        return outcome;
      },
    };
  }

  /** Brings up to date what is a state and not a count. */
  refresh({ addresses, link }: Contender, owners: ReadonlyMap<string, { readonly owner: Owner }>): void {
    for (const address of this.#addresses) {
      const seen = link?.addresses[address]?.is ?? 'absent';
      this.#bound.set({ address }, seen === 'absent' ? 0 : 1);
      setState(this.#state, 'state', { states: STATES, present: addresses[address]?.is ?? null, rest: { address } });
      if (!this.#isRouted) continue;
      const state = addresses[address];
      this.#patience.set({ address }, state?.is === 'bound' ? patienceMs(state.contest) / 1_000 : 0);
      setState(this.#owner, 'owner', { states: OWNERS, present: owners.get(address)?.owner.is ?? 'unknown', rest: { address } });
    }
  }
}

function wordFor(outcome: ClaimOutcome): (typeof CLAIM_OUTCOMES)[number] {
  return outcome.is === 'failed' && outcome.definitive ? 'refused' : outcome.is;
}

/**
 * Status documents as an agent would write them: of a contender driven by hand.
 */
import { statusDocument } from '../../agent/report/status.ts';
import type { ProbeStatus } from '../../agent/probe/prober.ts';
import type { BudgetStatus, LimitStatus } from '../../agent/provider/budget.ts';
import type { StatusDocument, StatusSources } from '../../agent/report/status.ts';
import type { Driver } from '../contender/driver.ts';

const WALL_MS = Date.UTC(2026, 10, 21, 8);

export const PROBE: ProbeStatus = {
  probe: 'http://127.0.0.1/',
  healthy: true,
  reason: null,
  goods: 7,
  bads: 0,
  rise: 2,
  fall: 3,
  answeredAtMs: 999_000,
};

/** A limit as a provider's documentation may name it. */
export const ROUTING: LimitStatus = {
  name: 'routing requests',
  used: 2,
  max: 20,
  withinMs: 3_600_000,
  reserve: 5,
  bindsFailover: true,
  freeAtMs: null,
};

/** What a ledger says that knows these limits, and of no trouble. */
export function budgetWith(...limits: readonly LimitStatus[]): BudgetStatus {
  const heldBack = { 'first-claim': 0, 'claim-again': 0, verification: 0, preparation: 0 };
  return { limits, said: null, quietUntilMs: null, moves: { own: 2, others: 1 }, heldBack };
}

/** What the parts around a contender would say; what is not named is well. */
export function sourcesOf({ contender, nowMs }: Driver, changes: Partial<StatusSources> = {}): StatusSources {
  return {
    version: '0.1.0',
    lease: { namespace: 'default', name: 'leasehold' },
    provider: { name: 'hcloud-floating-ip', problem: null, budget: null },
    watch: { stands: true, problem: null },
    contender,
    nowMs,
    wallMs: WALL_MS + nowMs,
    owners: new Map(),
    probes: [PROBE],
    application: null,
    readinessProblems: [],
    transitions: [],
    preflight: null,
    droppedLogLines: 0,
    ...changes,
  };
}

export function statusOf(driver: Driver, changes: Partial<StatusSources> = {}): StatusDocument {
  return statusDocument(sourcesOf(driver, changes));
}

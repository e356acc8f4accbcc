/**
 * Status documents as an agent would write them: of a contender driven by hand.
 */
import { statusDocument } from '../../agent/report/status.ts';
import type { ProbeStatus } from '../../agent/probe/prober.ts';
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

/** What the parts around a contender would say; what is not named is well. */
export function sourcesOf({ contender, nowMs }: Driver, changes: Partial<StatusSources> = {}): StatusSources {
  return {
    version: '0.1.0',
    lease: { namespace: 'default', name: 'leasehold' },
    provider: { name: 'hcloud-floating-ip', problem: null },
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

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Cause, Report, Role } from '../../agent/contender/command.ts';
import type { ClaimOutcome, WriteOutcome } from '../../agent/contender/input.ts';
import { newContender } from '../../agent/contender/state.ts';
import type { Contender, Office } from '../../agent/contender/state.ts';
import type { LeaseWrite } from '../../agent/ports.ts';
import { Metrics } from '../../agent/report/metrics.ts';
import type { MetricFacts, MetricSources } from '../../agent/report/metrics.ts';
import { ADDRESS, record, SETTINGS } from '../contender/driver.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { budgetWith, ROUTING } from '../support/status-example.ts';
import { parseExposition } from '../support/exposition.ts';
import type { Exposition } from '../support/exposition.ts';

const RIVAL = '02:00:00:00:00:99';
const PROBE = 'http://127.0.0.1:8080/healthz';
const FACTS: MetricFacts = {
  version: '1.2.3',
  node: 'node-a',
  lease: { namespace: 'edge', name: 'leasehold' },
  timings: SETTINGS,
  addresses: [ADDRESS],
  isRouted: true,
  provider: 'hcloud-floating-ip',
  operations: { 'GET /floating_ips': { success: '200' } },
  probes: [PROBE],
};
const LEASE = { lease: 'edge/leasehold' };
const WALL_S = Date.UTC(2026, 10, 21, 8) / 1_000;

let clock: ManualClock;
let metrics: Metrics;
let contender: Contender;
let sources: Omit<MetricSources, 'contender'>;

beforeEach(() => {
  clock = new ManualClock();
  metrics = new Metrics(FACTS, clock);
  contender = newContender(SETTINGS, clock.nowMs());
  sources = {
    owners: new Map(),
    probes: [{ probe: PROBE, healthy: null }],
    watchStands: false,
    isProviderReady: false,
    budget: null,
    isReady: false,
    droppedLogLines: 0,
    events: { created: 3, repeated: 2, dropped: { budget: 1, waited: 0, refused: 0 } },
    usage: { cpuSeconds: 1.5, residentBytes: 80e6, heapUsedBytes: 9e6, openFileDescriptors: 21, startedAtSeconds: WALL_S },
  };
});

async function scrape(): Promise<Exposition> {
  return parseExposition(await metrics.text({ ...sources, contender }));
}

function change(from: Role, to: Role, cause: Cause): void {
  contender = { ...contender, nowMs: clock.nowMs() };
  metrics.report({ kind: 'transition', from, to, cause, reason: 'x', term: null, elapsedMs: 0 }, contender);
}

function incident(report: Omit<Report & { kind: 'incident' }, 'kind' | 'message'>): void {
  metrics.report({ kind: 'incident', message: 'x', ...report }, contender);
}

/** The contender as a holder whose tenure has so long left. */
function holding(remainingMs: number): void {
  const office: Office = {
    term: { uid: 'uid-1', transitions: 1, holder: SETTINGS.identity },
    acquiredAtMs: 0,
    basis: { uid: 'uid-1', resourceVersion: '1' },
    renewTime: null,
    renewalSentAtMs: 0,
    tenureEndMs: clock.nowMs() + remainingMs,
    renewAtMs: 0,
    renewFailures: 0,
    conflicts: 0,
    doubt: null,
    relief: null,
    claimFailed: [],
    planned: null,
    servingSinceMs: 0,
  };
  contender = { ...contender, life: { is: 'holding', office } };
}

describe('the metrics of a contender', () => {
  test('name the Lease, and the version, the node and the provider', async () => {
    const shown = await scrape();
    assert.equal(shown.value('leasehold_build_info', { version: '1.2.3' }), 1);
    assert.equal(shown.value('leasehold_agent_info', { node: 'node-a', provider: 'hcloud-floating-ip' }), 1);
    assert.equal(shown.value('leasehold_is_holder', LEASE), 0);
  });

  test('show one role at a time, and since when', async () => {
    assert.equal((await scrape()).value('leasehold_role', { role: 'starting', ...LEASE }), 1);
    await clock.advance(4_000);
    change('starting', 'serving', 'ready-to-serve');
    holding(1_250);
    const shown = await scrape();
    assert.equal(shown.value('leasehold_role', { role: 'serving', ...LEASE }), 1);
    assert.equal(shown.sum('leasehold_role'), 1);
    assert.equal(shown.value('leasehold_role_changed_timestamp_seconds', LEASE), WALL_S + 4);
    assert.equal(shown.value('leasehold_is_holder', LEASE), 1);
    assert.equal(shown.value('leasehold_tenure_remaining_seconds', LEASE), 1.25);
  });

  test('show nobody as holder whose tenure is over, even if its loop has stood still since', async () => {
    holding(1_000);
    clock.freeze(1_000);
    const shown = await scrape();
    assert.equal(shown.value('leasehold_is_holder', LEASE), 0);
    assert.equal(shown.value('leasehold_tenure_remaining_seconds', LEASE), 0);
  });

  test('say whether it could take over, and what keeps it from that', async () => {
    contender = {
      ...contender,
      observation: { sight: record(), sinceMs: 0, lastTerm: null, longestDurationMs: 0, confirmedAtMs: null },
      residence: { is: 'alone', reason: 'x' },
      provider: { ready: true, reason: 'x' },
      link: { problem: null, isPresent: true, interfaces: {}, reasons: {}, addresses: {}, plugged: {}, rivals: {} },
      verdict: { healthy: false, reason: 'x' },
    };
    const ill = await scrape();
    assert.deepEqual([ill.value('leasehold_can_take_over', LEASE), ill.value('leasehold_healthy', LEASE)], [0, 0]);
    assert.equal(ill.value('leasehold_hindered', { by: 'probes', ...LEASE }), 1);
    contender = { ...contender, verdict: { healthy: true, reason: 'x' } };
    const well = await scrape();
    assert.deepEqual([well.value('leasehold_can_take_over', LEASE), well.value('leasehold_healthy', LEASE)], [1, 1]);
    assert.equal(well.sum('leasehold_hindered'), 0);
  });

  test('count changes of role by their cause, from nothing on', async () => {
    const labels = { from: 'claiming', to: 'serving', reason: 'ready-to-serve', ...LEASE };
    assert.equal((await scrape()).value('leasehold_role_transitions_total', labels), 0);
    change('claiming', 'serving', 'ready-to-serve');
    const shown = await scrape();
    assert.equal(shown.value('leasehold_role_transitions_total', labels), 1);
    assert.equal(shown.sum('leasehold_role_transitions_total'), 1);
  });

  test('count incidents, from nothing on', async () => {
    incident({ event: 'stalled', address: null });
    const shown = await scrape();
    assert.equal(shown.value('leasehold_incidents_total', { event: 'stalled', ...LEASE }), 1);
    assert.equal(shown.value('leasehold_incidents_total', { event: 'conflict', ...LEASE }), 0);
  });

  for (const [cause, after] of [
    ['holder-silent', 'silence'],
    ['holder-released', 'release'],
    ['restart', 'restart'],
    ['vacancy', 'vacancy'],
  ] as const) {
    test(`measure a failover after a ${after} from the last change of the Lease until it serves`, async () => {
      const sinceMs = clock.nowMs();
      contender = { ...contender, observation: { sight: record(), sinceMs, lastTerm: null, longestDurationMs: 0, confirmedAtMs: null } };
      await clock.advance(3_000);
      change('standby', 'acquiring', cause);
      // The record that names this agent is a change, too.
      contender = { ...contender, observation: null };
      await clock.advance(100);
      change('acquiring', 'claiming', 'acquired');
      await clock.advance(400);
      change('claiming', 'serving', 'ready-to-serve');
      const shown = await scrape();
      assert.equal(shown.value('leasehold_failover_duration_seconds_sum', { after, ...LEASE }), 3.5);
      assert.equal(shown.sum('leasehold_failover_duration_seconds_count'), 1);
    });
  }

  test('measure no failover where another was faster', async () => {
    contender = { ...contender, observation: { sight: record(), sinceMs: 0, lastTerm: null, longestDurationMs: 0, confirmedAtMs: null } };
    change('standby', 'acquiring', 'holder-silent');
    change('acquiring', 'standby', 'race-lost');
    change('claiming', 'serving', 'ready-to-serve');
    assert.equal((await scrape()).sum('leasehold_failover_duration_seconds_count'), 0);
  });

  test('measure renewals and how much of the tenure they have left, and no other write', async () => {
    const store = (outcome: WriteOutcome): ((command: LeaseWrite) => Promise<WriteOutcome>) => {
      const slow = async (): Promise<WriteOutcome> => {
        await clock.advance(20);
        return outcome;
      };
      const observed = metrics.contender.observing({ read: () => assert.fail(), write: slow }, () => contender);
      return (command) => observed.write(command, new AbortController().signal);
    };
    holding(1_500);
    const renewal = { type: 'renew' } as LeaseWrite;
    await store({ is: 'written', record: record() })(renewal);
    await store({ is: 'conflict' })(renewal);
    await store({ is: 'written', record: record() })({ type: 'release' } as LeaseWrite);
    const shown = await scrape();
    assert.equal(shown.value('leasehold_renewals_total', { outcome: 'written', ...LEASE }), 1);
    assert.equal(shown.value('leasehold_renewals_total', { outcome: 'conflict', ...LEASE }), 1);
    assert.equal(shown.value('leasehold_renewals_total', { outcome: 'refused', ...LEASE }), 0);
    assert.equal(shown.value('leasehold_renewal_duration_seconds_count', LEASE), 2);
    assert.equal(shown.value('leasehold_tenure_margin_seconds_sum', LEASE), 1.48);
    assert.equal(shown.value('leasehold_tenure_margin_seconds_bucket', { le: '1.4', ...LEASE }), 0);
    assert.equal(shown.value('leasehold_tenure_margin_seconds_bucket', { le: '1.6', ...LEASE }), 1);
  });
});

describe('the metrics of addresses', () => {
  const conflict = (rival: string): void => incident({ event: 'conflict', address: ADDRESS, rival });

  test('count who else has claimed an address, from nothing on', async () => {
    assert.equal((await scrape()).value('leasehold_address_conflicts_total', { address: ADDRESS, mac: '', ...LEASE }), 0);
    conflict(RIVAL);
    conflict(RIVAL);
    assert.equal((await scrape()).value('leasehold_address_conflicts_total', { address: ADDRESS, mac: RIVAL, ...LEASE }), 2);
  });

  test('name only so many of them', async () => {
    for (let rival = 0; rival < 50; rival += 1) conflict(`02:00:00:00:00:${rival}`);
    const shown = await scrape();
    assert.equal(shown.series('leasehold_address_conflicts_total').length, 10);
    assert.equal(shown.value('leasehold_address_conflicts_total', { address: ADDRESS, mac: 'others', ...LEASE }), 42);
  });

  test('show where each one stands, on the interface and at the provider', async () => {
    const before = await scrape();
    assert.equal(before.value('leasehold_address_state', { address: ADDRESS, state: 'absent', ...LEASE }), 1);
    assert.equal(before.value('leasehold_address_owner', { address: ADDRESS, owner: 'unknown', ...LEASE }), 1);
    sources = { ...sources, owners: new Map([[ADDRESS, { owner: { is: 'other', name: 'server 2' } }]]) };
    contender = {
      ...contender,
      addresses: { [ADDRESS]: { is: 'binding', problem: null } },
      link: {
        problem: null,
        isPresent: true,
        interfaces: {},
        reasons: {},
        addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'eth0' } },
        plugged: {},
        rivals: {},
      },
    };
    const shown = await scrape();
    assert.equal(shown.value('leasehold_address_state', { address: ADDRESS, state: 'binding', ...LEASE }), 1);
    assert.equal(shown.value('leasehold_address_owner', { address: ADDRESS, owner: 'other', ...LEASE }), 1);
    assert.deepEqual([shown.sum('leasehold_address_state'), shown.sum('leasehold_address_owner')], [1, 1]);
    assert.equal(shown.value('leasehold_address_bound', { address: ADDRESS, ...LEASE }), 1);
  });

  test('count what was mended', async () => {
    incident({ event: 'owner-drifted', address: ADDRESS });
    incident({ event: 'bind-failed', address: ADDRESS });
    const shown = await scrape();
    assert.equal(shown.value('leasehold_address_repairs_total', { address: ADDRESS, what: 'route', ...LEASE }), 1);
    assert.equal(shown.value('leasehold_address_repairs_total', { address: ADDRESS, what: 'binding', ...LEASE }), 0);
  });

  test('measure claims by how they ended', async () => {
    for (const outcome of [
      { is: 'confirmed' },
      { is: 'failed', definitive: true, message: 'x' },
      { is: 'failed', definitive: false, message: 'x' },
    ] satisfies ClaimOutcome[]) {
      const claim = async (): Promise<ClaimOutcome> => {
        await clock.advance(1_500);
        return outcome;
      };
      const provider = metrics.addresses.observing({
        kind: 'routed',
        prepare: () => assert.fail(),
        check: () => assert.fail(),
        owner: () => assert.fail(),
        claim,
      });
      await provider.claim(ADDRESS, { signal: new AbortController().signal, isFirst: true, mayWrite: () => true });
    }
    const shown = await scrape();
    const counts = ['confirmed', 'refused', 'failed', 'withdrawn'].map((outcome) =>
      shown.value('leasehold_claim_duration_seconds_count', { outcome, ...LEASE }),
    );
    assert.deepEqual(counts, [1, 1, 1, 0]);
    assert.equal(shown.value('leasehold_claim_duration_seconds_sum', { outcome: 'confirmed', ...LEASE }), 1.5);
  });

  test('tell of no owner and no claims where nobody routes', async () => {
    metrics = new Metrics({ ...FACTS, isRouted: false, provider: 'l2', operations: {} }, clock);
    const shown = await scrape();
    assert.deepEqual(shown.series('leasehold_address_owner'), []);
    assert.deepEqual(shown.series('leasehold_claim_duration_seconds_count'), []);
    assert.deepEqual(shown.series('leasehold_provider_requests_total'), []);
  });
});

describe('the metrics of requests and probes', () => {
  test('count and time requests, from nothing on', async () => {
    const labels = { verb: 'patch', resource: 'leases', code: '409' } as const;
    assert.equal((await scrape()).value('leasehold_kubernetes_requests_total', labels), 0);
    metrics.requests.kubernetes({ ...labels, elapsedMs: 30 });
    metrics.requests.provider({ operation: 'GET /floating_ips', code: '200', elapsedMs: 200, budget: null });
    const shown = await scrape();
    assert.equal(shown.value('leasehold_kubernetes_requests_total', labels), 1);
    assert.equal(shown.value('leasehold_kubernetes_request_duration_seconds_sum', { verb: 'patch', resource: 'leases' }), 0.03);
    assert.equal(shown.value('leasehold_provider_requests_total', { operation: 'GET /floating_ips', code: '200' }), 1);
    assert.equal(shown.value('leasehold_provider_request_duration_seconds_sum', { operation: 'GET /floating_ips' }), 0.2);
  });

  test('show the provider’s budget once it has been told, never as used up before', async () => {
    assert.deepEqual((await scrape()).series('leasehold_provider_budget_remaining_requests'), []);
    metrics.requests.provider({ operation: 'x', code: '200', elapsedMs: 1, budget: { limit: 3_600, remaining: 3_599 } });
    const shown = await scrape();
    assert.equal(
      shown.value('leasehold_provider_budget_remaining_requests', { provider: 'hcloud-floating-ip', limit: 'RateLimit' }),
      3_599,
    );
    assert.equal(shown.value('leasehold_provider_budget_limit_requests', { provider: 'hcloud-floating-ip', limit: 'RateLimit' }), 3_600);
  });

  test('show each limit that the ledger keeps, how often there were moves, and what was held back', async () => {
    sources = {
      ...sources,
      budget: {
        ...budgetWith({ ...ROUTING, used: 22 }),
        heldBack: { 'first-claim': 0, 'claim-again': 4, verification: 9, preparation: 0 },
      },
    };
    const labels = { provider: 'hcloud-floating-ip', limit: 'routing requests' };
    for (const shown of [await scrape(), await scrape()]) {
      assert.equal(shown.value('leasehold_provider_budget_limit_requests', labels), 20);
      assert.equal(shown.value('leasehold_provider_budget_remaining_requests', labels), 0, 'never less than nothing');
      assert.equal(shown.value('leasehold_provider_budget_reserve_requests', labels), 5);
      assert.equal(shown.value('leasehold_provider_moves_total', { by: 'this' }), 2);
      assert.equal(shown.value('leasehold_provider_moves_total', { by: 'others' }), 1);
      assert.equal(shown.value('leasehold_provider_held_back_total', { purpose: 'verification' }), 9);
    }
  });

  test('show what is reached and ready', async () => {
    sources = { ...sources, watchStands: true, isProviderReady: true, isReady: true, droppedLogLines: 7 };
    const shown = await scrape();
    for (const name of ['leasehold_watch_up', 'leasehold_provider_ready', 'leasehold_ready']) assert.equal(shown.value(name, {}), 1);
    assert.equal(shown.value('leasehold_log_lines_dropped_total', {}), 7);
    assert.equal((await scrape()).value('leasehold_log_lines_dropped_total', {}), 7, 'and not twice as many the next time');
    assert.equal(shown.value('leasehold_events_written_total', { what: 'repeated' }), 2);
    assert.equal(shown.value('leasehold_events_dropped_total', { why: 'budget' }), 1);
    assert.equal(shown.value('process_cpu_seconds_total', {}), 1.5);
  });

  test('count and judge the answers to each probe', async () => {
    metrics.probes.note({ probe: PROBE, isGood: false, elapsedMs: 40 });
    metrics.probes.note({ probe: PROBE, isGood: true, elapsedMs: 20 });
    sources = { ...sources, probes: [{ probe: PROBE, healthy: true }] };
    const shown = await scrape();
    assert.equal(shown.value('leasehold_probe_results_total', { probe: PROBE, result: 'failure' }), 1);
    assert.equal(shown.value('leasehold_probe_duration_seconds_sum', { probe: PROBE }), 0.06);
    assert.equal(shown.value('leasehold_probe_up', { probe: PROBE }), 1);
  });

  test('two probes of one name are up while both are', async () => {
    sources = {
      ...sources,
      probes: [
        { probe: PROBE, healthy: false },
        { probe: PROBE, healthy: true },
      ],
    };
    assert.equal((await scrape()).value('leasehold_probe_up', { probe: PROBE }), 0);
  });

  test('measure how late timers fire', async () => {
    const observed = metrics.process.observing(clock);
    let fired = 0;
    observed.setTimer(100, () => (fired += 1));
    clock.freeze(250);
    await clock.advance(0);
    assert.equal(fired, 1);
    assert.equal((await scrape()).value('leasehold_wakeup_lateness_seconds_sum', {}), 0.15);
  });
});

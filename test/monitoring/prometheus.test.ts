/**
 * A real Prometheus collects from three real agents that live through failovers, and is asked everything that the dashboard
 * and the alerts ask.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { at, listAt, stringAt } from '../../agent/json.ts';
import { HCLOUD_FLOATING_IP } from '../../agent/provider/hcloud-floating-ip.ts';
import { buildAgent } from '../../scripts/build.ts';
import { AgentCluster, IP } from '../support/agent-cluster.ts';
import type { ClusterNode } from '../support/agent-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { parseExposition } from '../support/exposition.ts';
import { needsNamespaces } from '../support/namespace-test.ts';
import { alertsIn, lacks, Prometheus, promtool, RULES } from '../support/prometheus.ts';

const DASHBOARD: unknown = JSON.parse(readFileSync(new URL('../../manifests/monitoring/dashboard.json', import.meta.url), 'utf8'));
const ALERTS = alertsIn(readFileSync(RULES, 'utf8'));
const WAIT_MS = 20_000;
/** How long the scenario may have taken: everything that is asked of the past is asked of so much of it. */
const PAST_S = 120;

/** What a panel asks, with Grafana's own variables filled in. */
interface Question {
  readonly panel: string;
  readonly expr: string;
  readonly isInstant: boolean;
}

function fill(expr: string): string {
  return expr.replaceAll('$__rate_interval', '10s').replaceAll('$__range', `${PAST_S}s`).replaceAll('$lease', '.*');
}

const QUESTIONS: readonly Question[] = [
  ...(listAt(DASHBOARD, 'panels') ?? []).flatMap((panel) =>
    (listAt(panel, 'targets') ?? []).map((target) => ({
      panel: stringAt(panel, 'title') ?? '',
      expr: fill(stringAt(target, 'expr') ?? ''),
      isInstant: at(target, 'instant') === true,
    })),
  ),
  ...(listAt(DASHBOARD, 'annotations', 'list') ?? []).map((annotation) => ({
    panel: `the annotation ${stringAt(annotation, 'name') ?? ''}`,
    expr: fill(stringAt(annotation, 'expr') ?? ''),
    isInstant: false,
  })),
];

/** The names of metrics in a query, without what a histogram adds to its own. */
function metricsIn(expr: string): string[] {
  const names = expr.match(/\b(?:leasehold|process|nodejs)_\w+/g) ?? [];
  return names.map((name) => name.replace(/_(bucket|sum|count)$/, ''));
}

const { skip: noNamespaces } = needsNamespaces();
const skip = noNamespaces === false ? lacks('prometheus') : noNamespaces;

describe('a Prometheus that collects from agents', { skip }, () => {
  let folder: string;
  let cluster: AgentCluster;
  let prometheus: Prometheus;
  /** What each agent showed at the end. */
  let shown: string[];

  const value = async (query: string): Promise<number | undefined> => (await prometheus.query(query))[0]?.value;
  const untilValue = (query: string, wanted: number): Promise<void> =>
    eventually(`${query} is ${wanted}`, async () => (await value(query)) === wanted, WAIT_MS);
  const stateOf = async (alert: string): Promise<string> =>
    (await prometheus.rules()).find(({ name }) => name === alert)?.state ?? 'unknown';
  const untilAlert = (alert: string, ...states: readonly string[]): Promise<void> =>
    eventually(`${alert} is ${states.join(' or ')}`, async () => states.includes(await stateOf(alert)), WAIT_MS);

  /** Waits until an agent serves, and Prometheus knows. */
  async function served(): Promise<ClusterNode> {
    let node: ClusterNode | null = null;
    await eventually('an agent serves', async () => (node = await cluster.serving()) !== null, WAIT_MS);
    const serving = node as ClusterNode | null;
    assert.ok(serving);
    await untilValue(`leasehold_role{role="serving",instance="${serving.ip}:9808"}`, 1);
    return serving;
  }

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'leasehold-'));
    cluster = await AgentCluster.open(await buildAgent(join(folder, 'dist')));
    prometheus = await Prometheus.start(cluster.targets, 20_000 + (process.pid % 10_000));
    for (const node of cluster.nodes) cluster.start(node);
    await untilValue('count(leasehold_build_info)', 3);
  });
  after(async () => {
    await prometheus.close();
    await cluster.close();
    rmSync(folder, { recursive: true });
  });

  test('sees one holder, and candidates that could take over', async () => {
    await served();
    await untilValue('sum by (lease) (leasehold_is_holder)', 1);
    await untilValue('sum by (lease) (leasehold_can_take_over)', 2);
    await untilValue('sum(leasehold_address_bound)', 1);
    await untilValue('count(leasehold_address_owner{owner="self"} == 1)', 1);
  });

  test('sees a killed holder’s failover, how long it took, and that an agent is down', async () => {
    const dead = await served();
    dead.agent?.signal('SIGKILL');
    await untilAlert('LeaseholdAgentDown', 'pending', 'firing');
    const next = await served();
    assert.notEqual(next.name, dead.name);
    await untilValue('sum(leasehold_failover_duration_seconds_count{after="silence"})', 1);
    const tookS = (await value('sum(leasehold_failover_duration_seconds_sum{after="silence"})')) ?? assert.fail();
    assert.ok(tookS >= 3 && tookS < 10, `${tookS}s`);
    cluster.start(dead);
    await untilAlert('LeaseholdAgentDown', 'inactive');
  });

  test('sees an address that somebody moved being claimed back', async () => {
    const { server } = await served();
    cluster.hcloud.move(IP, cluster.nodes.find((node) => node.server !== server)?.server ?? null);
    await untilValue('sum(leasehold_address_repairs_total{what="route"})', 1);
    await eventually('it is routed back', () => cluster.hcloud.ownerOf(IP) === server, WAIT_MS);
  });

  test('sees a polite failover, told apart from the other', async () => {
    const leaver = await served();
    leaver.agent?.signal('SIGTERM');
    await leaver.agent?.ended;
    await served();
    await untilValue('sum(leasehold_failover_duration_seconds_count{after="release"})', 1);
    cluster.start(leaver);
    await untilValue('count(leasehold_build_info)', 3);
  });

  test('sees a node whose service has died, and what that hinders', async () => {
    const holder = await served();
    const candidate = cluster.nodes.find((node) => node !== holder) ?? assert.fail();
    candidate.service.faultFor = () => ({ is: 'answer', status: 503 });
    await untilValue(`leasehold_hindered{by="probes",instance="${candidate.ip}:9808"}`, 1);
    await untilAlert('LeaseholdNodeHindered', 'pending', 'firing');
    await untilValue(`leasehold_probe_up{instance="${candidate.ip}:9808"}`, 0);
    candidate.service.faultFor = () => null;
    await untilValue(`leasehold_hindered{by="probes",instance="${candidate.ip}:9808"}`, 0);
  });

  test('sees a silent Kubernetes API, and is alarmed by the tenure that it cost', async () => {
    await served();
    cluster.kube.http.faultFor = () => ({ is: 'cut', when: 'before' });
    await untilAlert('LeaseholdHoldingOver', 'pending', 'firing');
    await untilAlert('LeaseholdTenureLost', 'firing');
    assert.ok(((await value('sum(leasehold_kubernetes_requests_total{code="no-answer"})')) ?? 0) > 0);
    cluster.kube.http.faultFor = () => null;
    await served();
    await untilAlert('LeaseholdHoldingOver', 'inactive');
  });

  test('gets what promtool finds nothing wrong with, and every metric that anybody asks for, from each agent', async () => {
    shown = await Promise.all(cluster.nodes.map(async (node) => (await cluster.ask(node, '/metrics')) ?? assert.fail(node.name)));
    const asked = new Set([...QUESTIONS, ...ALERTS].flatMap(({ expr }) => metricsIn(expr)));
    assert.ok(asked.size > 30, `${asked.size} metrics`);
    for (const text of shown) {
      const { status, said } = promtool(['check', 'metrics'], text);
      assert.deepEqual([status, said], [0, '']);
      const exposition = parseExposition(text);
      const exported = new Set(exposition.all.map(({ name }) => name.replace(/_(bucket|sum|count)$/, '')));
      assert.deepEqual(
        [...asked].filter((name) => !exported.has(name)),
        [],
      );
      const operations = exposition.series('leasehold_provider_requests_total').map(({ labels }) => labels['operation'] ?? '');
      assert.deepEqual(new Set(operations), new Set(Object.keys(HCLOUD_FLOATING_IP.operations)), 'each operation is there from the start');
      assert.doesNotMatch(text, /hcloud-token|agent-token/);
    }
  });

  test('answers every question of the dashboard with series', async () => {
    const empty: string[] = [];
    for (const { panel, expr, isInstant } of QUESTIONS) {
      const count = isInstant ? (await prometheus.query(expr)).length : await prometheus.seriesOver(expr, PAST_S);
      if (count === 0) empty.push(`${panel}: ${expr}`);
    }
    assert.ok(QUESTIONS.length > 40, `${QUESTIONS.length} questions`);
    assert.deepEqual(empty, []);
  });

  test('evaluates every alert without an error', async () => {
    const rules = await prometheus.rules();
    assert.deepEqual(rules.map(({ name }) => name).sort(), ALERTS.map(({ alert }) => alert).sort());
    assert.deepEqual(
      rules.filter(({ health }) => health !== 'ok'),
      [],
    );
    for (const { expr } of ALERTS) await prometheus.query(expr);
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { alertsIn, lacks, promtool, RULES } from '../support/prometheus.ts';

const ALERTS = alertsIn(readFileSync(RULES, 'utf8'));
const RUNBOOK = 'https://leasehold.dev/docs/alerts.md#';

/** Values in promtool's notation: what stands for two hours, at one sample each half minute. */
const always = (value: number): string => `${value}+0x240`;
const growing = (each: number, from = 0): string => `${from}+${each}x240`;
/** Nothing for an hour, and then at once as much as this. */
const jumping = (to: number): string => `0+0x120 ${to}+0x119`;

const NODES = ['a', 'b', 'c'] as const;
const at = (node: string): string => `job="leasehold",instance="${node}"`;
const of = (node: string): string => `lease="edge/leasehold",${at(node)}`;
const margin = (node: string, le: string): string => `leasehold_tenure_margin_seconds_bucket{${of(node)},le="${le}"}`;
const transitions = (from: string, to: string, reason: string): string =>
  `leasehold_role_transitions_total{${of('a')},from="${from}",to="${to}",reason="${reason}"}`;
const daemonSet = (what: string): string => `kube_daemonset_status_${what}{namespace="leasehold",daemonset="leasehold"}`;

const budget = (what: 'limit' | 'remaining' | 'reserve', node: string, limit: string): string =>
  `leasehold_provider_budget_${what}_requests{${at(node)},provider="a provider",limit="${limit}"}`;

type World = Readonly<Record<string, string | null>>;

/** Three agents in ordinary times: a holds and serves, the others stand by. */
const CALM: World = {
  ...Object.fromEntries(
    NODES.flatMap((node): [string, string][] => {
      const isHolder = node === 'a';
      return [
        [`up{${at(node)}}`, always(1)],
        [`leasehold_build_info{${at(node)},version="1"}`, always(1)],
        [`leasehold_ready{${at(node)}}`, always(1)],
        [`leasehold_provider_ready{${at(node)}}`, always(1)],
        [budget('limit', node, 'RateLimit'), always(3_600)],
        [budget('remaining', node, 'RateLimit'), always(3_500)],
        [budget('reserve', node, 'RateLimit'), always(100)],
        [budget('limit', node, 'routing requests'), always(20)],
        [budget('remaining', node, 'routing requests'), always(20)],
        [budget('reserve', node, 'routing requests'), always(5)],
        [budget('limit', node, 'moves of 203.0.113.10'), always(30)],
        [budget('remaining', node, 'moves of 203.0.113.10'), always(29)],
        [budget('reserve', node, 'moves of 203.0.113.10'), always(0)],
        [`leasehold_provider_held_back_total{${at(node)},purpose="first-claim"}`, always(0)],
        [`leasehold_provider_held_back_total{${at(node)},purpose="verification"}`, growing(1)],
        [`leasehold_address_claim_patience_seconds{${of(node)},address="203.0.113.10"}`, always(0)],
        [`leasehold_is_holder{${of(node)}}`, always(isHolder ? 1 : 0)],
        [`leasehold_can_take_over{${of(node)}}`, always(isHolder ? 0 : 1)],
        [`leasehold_healthy{${of(node)}}`, always(1)],
        [`leasehold_hindered{${of(node)},by="probes"}`, always(0)],
        [`leasehold_role{${of(node)},role="serving"}`, always(isHolder ? 1 : 0)],
        [`leasehold_role{${of(node)},role="standby"}`, always(isHolder ? 0 : 1)],
        [`leasehold_role{${of(node)},role="holding-over"}`, always(0)],
        [`leasehold_address_owner{${of(node)},address="203.0.113.10",owner="self"}`, always(isHolder ? 1 : 0)],
        [`leasehold_address_owner{${of(node)},address="203.0.113.10",owner="other"}`, always(isHolder ? 0 : 1)],
        [`leasehold_renew_deadline_seconds{${of(node)}}`, always(2)],
        [`leasehold_incidents_total{${of(node)},event="conflict"}`, always(0)],
      ];
    }),
  ),
  [transitions('serving', 'standby', 'tenure-ended')]: always(0),
  [transitions('claiming', 'serving', 'ready-to-serve')]: always(1),
  [`leasehold_renewals_total{${of('a')},outcome="written"}`]: growing(60),
  [`leasehold_renewals_total{${of('a')},outcome="unavailable"}`]: always(0),
  [margin('a', '0.4')]: always(0),
  [margin('a', '1.4')]: growing(1),
  [margin('a', '1.6')]: growing(60),
  [margin('a', '+Inf')]: growing(60),
  [`leasehold_claim_duration_seconds_count{${of('a')},outcome="refused"}`]: always(0),
  [`leasehold_address_repairs_total{${of('a')},address="203.0.113.10",what="route"}`]: always(0),
  [daemonSet('desired_number_scheduled')]: always(3),
  [daemonSet('number_ready')]: always(3),
};

/** What is different in each scenario, when it is looked at, and every alert that fires then. */
const SCENARIOS: readonly {
  readonly what: string;
  readonly change: World;
  readonly atMinute: number;
  readonly fires: readonly string[];
}[] = [
  { what: 'ordinary times', change: {}, atMinute: 90, fires: [] },
  {
    what: 'nobody holds the Lease for a minute',
    change: { [`leasehold_is_holder{${of('a')}}`]: always(0), [`leasehold_role{${of('a')},role="serving"}`]: always(0) },
    atMinute: 1,
    fires: ['LeaseholdNobodyHolds'],
  },
  {
    what: 'the Kubernetes API is away, and the address is held over',
    change: {
      [`leasehold_is_holder{${of('a')}}`]: always(0),
      [`leasehold_role{${of('a')},role="serving"}`]: always(0),
      [`leasehold_role{${of('a')},role="holding-over"}`]: always(1),
    },
    atMinute: 1,
    fires: ['LeaseholdHoldingOver'],
  },
  {
    what: 'two agents say that they hold the Lease',
    change: { [`leasehold_is_holder{${of('b')}}`]: always(1), [`leasehold_role{${of('b')},role="serving"}`]: always(1) },
    atMinute: 2,
    // The other one knows who the owner is.
    fires: ['LeaseholdMoreThanOneHolder', 'LeaseholdRoutedElsewhere'],
  },
  {
    what: 'two scrapes of a handover each see a holder',
    change: {
      [`leasehold_is_holder{${of('b')}}`]: '0+0x10 1+0x1 0+0x220',
      [`leasehold_role{${of('b')},role="serving"}`]: '0+0x10 1+0x1 0+0x220',
    },
    atMinute: 7,
    fires: [],
  },
  {
    what: 'the holder never gets to serve',
    change: { [`leasehold_role{${of('a')},role="serving"}`]: always(0) },
    atMinute: 1,
    fires: ['LeaseholdHolderNotServing'],
  },
  {
    what: 'the provider goes on routing elsewhere',
    change: {
      [`leasehold_address_owner{${of('a')},address="203.0.113.10",owner="self"}`]: always(0),
      [`leasehold_address_owner{${of('a')},address="203.0.113.10",owner="other"}`]: always(1),
    },
    atMinute: 2,
    fires: ['LeaseholdRoutedElsewhere'],
  },
  {
    what: 'another machine answers for the address once',
    change: { [`leasehold_incidents_total{${of('a')},event="conflict"}`]: jumping(1) },
    atMinute: 62,
    fires: ['LeaseholdAddressConflict'],
  },
  {
    what: 'that is an hour ago',
    change: { [`leasehold_incidents_total{${of('a')},event="conflict"}`]: jumping(1) },
    atMinute: 110,
    fires: [],
  },
  {
    what: 'the probes fail on every node',
    change: Object.fromEntries(
      NODES.flatMap((node) => [
        [`leasehold_healthy{${of(node)}}`, always(0)],
        [`leasehold_can_take_over{${of(node)}}`, always(0)],
        [`leasehold_hindered{${of(node)},by="probes"}`, always(1)],
      ]),
    ),
    atMinute: 20,
    fires: ['LeaseholdNoStandby', 'LeaseholdNodeHindered', 'LeaseholdUnhealthyEverywhere'],
  },
  {
    what: 'the probes fail on one node',
    change: {
      [`leasehold_healthy{${of('b')}}`]: always(0),
      [`leasehold_can_take_over{${of('b')}}`]: always(0),
      [`leasehold_hindered{${of('b')},by="probes"}`]: always(1),
    },
    atMinute: 20,
    fires: ['LeaseholdNodeHindered'],
  },
  {
    what: 'there is no agent at all any more',
    change: Object.fromEntries(Object.keys(CALM).map((series) => [series, null])),
    atMinute: 11,
    fires: ['LeaseholdAbsent'],
  },
  {
    what: 'an agent is not ready',
    change: { [`leasehold_ready{${at('b')}}`]: always(0) },
    atMinute: 10,
    fires: ['LeaseholdAgentNotReady'],
  },
  {
    what: 'an agent has answered, and does not any more',
    change: {
      [`up{${at('b')}}`]: '1+0x60 0+0x180',
      [`leasehold_build_info{${at('b')},version="1"}`]: '1+0x60 stale',
    },
    atMinute: 60,
    fires: ['LeaseholdAgentDown'],
  },
  {
    what: 'something else that Prometheus collects from is down',
    change: { 'up{job="another",instance="x"}': always(0) },
    atMinute: 60,
    fires: [],
  },
  {
    what: 'a node and its agent are gone',
    change: {
      [`up{${at('c')}}`]: '1+0x120 stale',
      [`leasehold_is_holder{${of('c')}}`]: '0+0x120 stale',
      [`leasehold_can_take_over{${of('c')}}`]: '1+0x120 stale',
    },
    atMinute: 80,
    fires: ['LeaseholdFewerAgents'],
  },
  {
    what: 'a pod is not ready',
    change: { [daemonSet('number_ready')]: always(2) },
    atMinute: 15,
    fires: ['LeaseholdAgentsMissing'],
  },
  {
    what: 'a tenure has ended without a renewal',
    change: { [transitions('serving', 'standby', 'tenure-ended')]: jumping(1) },
    atMinute: 62,
    fires: ['LeaseholdTenureLost'],
  },
  {
    what: 'one renewal in ten is answered with little of the tenure left',
    change: { [margin('a', '0.4')]: growing(6), [margin('a', '1.4')]: growing(6) },
    atMinute: 20,
    fires: ['LeaseholdTenureMarginThin'],
  },
  {
    what: 'one renewal in five fails',
    change: { [`leasehold_renewals_total{${of('a')},outcome="unavailable"}`]: growing(15) },
    atMinute: 10,
    fires: ['LeaseholdRenewalsFail'],
  },
  {
    what: 'a claim was refused for good',
    change: { [`leasehold_claim_duration_seconds_count{${of('a')},outcome="refused"}`]: jumping(1) },
    atMinute: 62,
    fires: ['LeaseholdClaimRefused'],
  },
  {
    what: 'a node cannot use the provider',
    change: { [`leasehold_provider_ready{${at('b')}}`]: always(0) },
    atMinute: 5,
    fires: ['LeaseholdProviderNotReady'],
  },
  {
    what: 'the budget is nearly used up',
    change: { [budget('remaining', 'a', 'RateLimit')]: always(200) },
    atMinute: 5,
    fires: ['LeaseholdProviderBudgetLow'],
  },
  {
    what: 'no more moves are left than are kept for a failover',
    change: { [budget('remaining', 'a', 'routing requests')]: always(5) },
    atMinute: 5,
    fires: ['LeaseholdProviderBudgetLow'],
  },
  {
    what: 'a few moves more are left',
    change: { [budget('remaining', 'a', 'routing requests')]: always(6) },
    atMinute: 5,
    fires: [],
  },
  {
    what: 'a failover was held back',
    change: { [`leasehold_provider_held_back_total{${at('a')},purpose="first-claim"}`]: jumping(1) },
    atMinute: 62,
    fires: ['LeaseholdFailoverHeldBack'],
  },
  {
    what: 'an address was taken away three times in a short while',
    change: { [`leasehold_address_claim_patience_seconds{${of('a')},address="203.0.113.10"}`]: always(10) },
    atMinute: 1,
    fires: ['LeaseholdAddressContested'],
  },
  {
    what: 'an address was taken away twice',
    change: { [`leasehold_address_claim_patience_seconds{${of('a')},address="203.0.113.10"}`]: always(5) },
    atMinute: 1,
    fires: [],
  },
  {
    what: 'the address moves every few minutes',
    change: { [transitions('claiming', 'serving', 'ready-to-serve')]: growing(0.1) },
    atMinute: 60,
    fires: ['LeaseholdFlapping'],
  },
  {
    what: 'somebody goes on moving the address in the console',
    change: { [`leasehold_address_repairs_total{${of('a')},address="203.0.113.10",what="route"}`]: growing(0.05) },
    atMinute: 90,
    fires: ['LeaseholdAddressMeddledWith'],
  },
];

let folder: string;

/** What promtool says of a scenario: '' when exactly these alerts fire. */
function judge({ change, atMinute, fires }: Pick<(typeof SCENARIOS)[number], 'change' | 'atMinute' | 'fires'>): string {
  const world = Object.entries({ ...CALM, ...change }).filter((each): each is [string, string] => each[1] !== null);
  const content = {
    rule_files: [RULES],
    evaluation_interval: '30s',
    tests: [
      {
        interval: '30s',
        input_series: world.map(([series, values]) => ({ series, values })),
        promql_expr_test: [
          {
            expr: 'group by (alertname) (ALERTS{alertstate="firing"})',
            eval_time: `${atMinute}m`,
            exp_samples: fires.map((alertname) => ({ labels: `{alertname="${alertname}"}`, value: 1 })),
          },
        ],
      },
    ],
  };
  const path = join(folder, 'scenario.json');
  writeFileSync(path, JSON.stringify(content));
  const { status, said } = promtool(['test', 'rules', path]);
  return status === 0 ? '' : said;
}

describe('the alerts', { skip: lacks('promtool') }, () => {
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'alerts-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  test('are rules that Prometheus can use', () => {
    const { status, said } = promtool(['check', 'rules', '--lint=all', '--lint-fatal', RULES]);
    assert.equal(status, 0, said);
  });

  for (const scenario of SCENARIOS) {
    const { what, fires } = scenario;
    test(`when ${what}: ${fires.length === 0 ? 'none' : fires.join(' and ')}`, () => {
      assert.equal(judge(scenario), '');
    });
  }

  test('a scenario that expects another alert fails', () => {
    assert.match(judge({ change: {}, atMinute: 30, fires: ['LeaseholdFlapping'] }), /FAILED/);
  });
});

describe('each alert', () => {
  test('has a scenario in which it fires', () => {
    const fired = new Set(SCENARIOS.flatMap(({ fires }) => fires));
    assert.deepEqual(
      ALERTS.map(({ alert }) => alert).filter((alert) => !fired.has(alert)),
      [],
    );
  });

  const page = readFileSync(new URL('../../docs/alerts.md', import.meta.url), 'utf8');
  for (const { alert, labels, annotations } of ALERTS) {
    test(`${alert} says how bad it is and what to do, here and on its page`, () => {
      assert.match(labels['severity'] ?? '', /^(critical|warning)$/);
      assert.ok((annotations['summary'] ?? '').length > 40);
      assert.equal(annotations['runbook_url'], RUNBOOK + alert.toLowerCase());
      const [, section = ''] =
        new RegExp(`^## ${alert}\\n(.*?)(?=^## |$(?![^]))`, 'ms').exec(page) ?? assert.fail(`docs/alerts.md has no section ${alert}`);
      for (const part of ['**It means**', '**Look at**', '**Do**']) assert.ok(section.includes(part), `${alert}: ${part}`);
    });
  }

  test('that is explained exists', () => {
    const explained = [...page.matchAll(/^## (Leasehold\w+)$/gm)].map(([, name]) => name);
    assert.deepEqual(
      explained,
      ALERTS.map(({ alert }) => alert),
    );
  });
});

/**
 * The Grafana dashboard: what each panel asks and how it is shown. `npm run docs` writes it to manifests/monitoring/.
 *
 * Made here and not exported from Grafana, so that one can read what has changed. Aggregations and joins name the node, which
 * `leasehold_agent_info` knows by the target that was collected from.
 */

/** Each role's number in a timeline; what is better is higher. */
const ROLE_NUMBERS = {
  starting: 1,
  stopped: 1,
  standby: 2,
  leaving: 3,
  'stepping-down': 4,
  acquiring: 5,
  claiming: 6,
  'holding-over': 7,
  serving: 8,
} as const;

const ROLE_COLOURS: Readonly<Record<number, readonly [text: string, colour: string]>> = {
  1: ['starting', 'text'],
  2: ['standby', 'light-blue'],
  3: ['leaving', 'purple'],
  4: ['stepping-down', 'purple'],
  5: ['acquiring', 'yellow'],
  6: ['claiming', 'orange'],
  7: ['holding-over', 'orange'],
  8: ['serving', 'green'],
};

const DATASOURCE = { type: 'prometheus', uid: '${datasource}' };
const LEASE = 'lease=~"$lease"';
/** The agents of the chosen Leases, for what names no Lease. */
const CHOSEN = `and on (job, instance) leasehold_is_holder{${LEASE}}`;
const NAMED = '* on (job, instance) group_left (node) leasehold_agent_info';
const WIDTH = 24;

type Json = Readonly<Record<string, unknown>>;

/** One query of a panel. `instant`: its value now, instead of its course. */
interface Target {
  readonly expr: string;
  readonly legend?: string;
  readonly instant?: boolean;
  readonly format?: 'table';
}

interface PanelSpec {
  readonly type: 'stat' | 'timeseries' | 'state-timeline' | 'table' | 'bargauge';
  readonly title: string;
  readonly help: string;
  readonly targets: readonly Target[];
  readonly width: number;
  readonly height: number;
  readonly unit?: string;
  readonly mappings?: readonly Json[];
  readonly thresholds?: readonly Json[];
  readonly options?: Json;
  readonly custom?: Json;
  readonly noValue?: string;
  readonly transformations?: readonly Json[];
}

const yesNo = (yes: string, no: string, good: 'yes' | 'neither' = 'yes'): Json => ({
  type: 'value',
  options: { 1: { text: yes, color: 'green', index: 0 }, 0: { text: no, color: good === 'yes' ? 'red' : 'text', index: 1 } },
});

const above = (value: number, below: string, colour: string): Json[] => [
  { color: below, value: null },
  { color: colour, value },
];

const ROLES: Json = {
  type: 'value',
  options: Object.fromEntries(Object.entries(ROLE_COLOURS).map(([number, [text, color]], index) => [number, { text, color, index }])),
};

/** A role as a number, per node: the only way a timeline can show words. */
const roleNumber = Object.entries(ROLE_NUMBERS)
  .map(([role, number]) => `${number} * sum by (job, instance) (leasehold_role{${LEASE},role="${role}"})`)
  .join(' + ');

const stat = (title: string, help: string, target: Target, more: Partial<PanelSpec> = {}): PanelSpec => ({
  type: 'stat',
  title,
  help,
  targets: [{ instant: true, ...target }],
  width: 4,
  height: 4,
  options: { colorMode: 'value', graphMode: 'none', reduceOptions: { calcs: ['lastNotNull'] } },
  ...more,
});

const course = (title: string, help: string, targets: readonly Target[], more: Partial<PanelSpec> = {}): PanelSpec => ({
  type: 'timeseries',
  title,
  help,
  targets,
  width: 8,
  height: 8,
  options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
  custom: { lineWidth: 1, fillOpacity: 8, showPoints: 'never' },
  ...more,
});

const counted = (title: string, help: string, targets: readonly Target[]): PanelSpec =>
  course(title, help, targets, { custom: { drawStyle: 'bars', fillOpacity: 80, lineWidth: 0, stacking: { mode: 'normal' } } });

const timeline = (title: string, help: string, target: Target, mapping: Json, height = 6): PanelSpec => ({
  type: 'state-timeline',
  title,
  help,
  targets: [target],
  width: 12,
  height,
  mappings: [mapping],
  options: { mergeValues: true, showValue: 'auto', legend: { showLegend: false } },
  custom: { fillOpacity: 80, lineWidth: 0 },
});

const quantile = (q: number, metric: string, by: string, where = LEASE): string =>
  `histogram_quantile(${q}, sum by (${by}, le) (rate(${metric}_bucket{${where}}[$__rate_interval])))`;

const ofChosen = (q: number, metric: string, by: string): string =>
  `histogram_quantile(${q}, sum by (${by}, le) (rate(${metric}_bucket[$__rate_interval]) ${CHOSEN}))`;

const NOW: readonly PanelSpec[] = [
  stat(
    'Holder',
    'The node whose agent holds the Lease, with a tenure that lasts.',
    { expr: `(leasehold_is_holder{${LEASE}} == 1) ${NAMED}`, legend: '{{node}}' },
    {
      noValue: 'nobody',
      options: { colorMode: 'none', graphMode: 'none', textMode: 'name', reduceOptions: { calcs: ['lastNotNull'] } },
    },
  ),
  stat(
    'Serving since',
    'When its agent began to serve.',
    {
      expr: `1000 * max(leasehold_role_changed_timestamp_seconds{${LEASE}} and on (job, instance, lease) (leasehold_role{${LEASE},role="serving"} == 1))`,
    },
    { unit: 'dateTimeFromNow', noValue: 'not at all' },
  ),
  stat(
    'Could take over',
    'How many other nodes could take the Lease over right now.',
    { expr: `sum(leasehold_can_take_over{${LEASE}})` },
    { thresholds: above(1, 'red', 'green') },
  ),
  stat('Agents', 'How many agents there are data of.', { expr: `count(leasehold_is_holder{${LEASE}})` }),
  stat(
    'Failovers',
    'How often an agent began to serve in the time shown, its own restart included.',
    {
      expr: `sum(increase(leasehold_role_transitions_total{${LEASE},to="serving"}[$__range]))`,
    },
    { unit: 'short', options: { colorMode: 'none', graphMode: 'none', reduceOptions: { calcs: ['lastNotNull'] } } },
  ),
  stat(
    'Tenure left',
    'How much of its tenure the holder has left at this moment.',
    { expr: `max(leasehold_tenure_remaining_seconds{${LEASE}})` },
    { unit: 's', thresholds: above(0.1, 'red', 'green') },
  ),
  {
    type: 'table',
    title: 'Who does what, since when',
    help: 'Each agent as it was last collected.',
    targets: [
      {
        expr: `(leasehold_role{${LEASE}} == 1) * on (job, instance) group_left (node, provider) leasehold_agent_info`,
        instant: true,
        format: 'table',
      },
      { expr: `1000 * leasehold_role_changed_timestamp_seconds{${LEASE}}`, instant: true, format: 'table' },
      { expr: `leasehold_healthy{${LEASE}}`, instant: true, format: 'table' },
      { expr: `leasehold_can_take_over{${LEASE}}`, instant: true, format: 'table' },
      { expr: `leasehold_ready ${CHOSEN}`, instant: true, format: 'table' },
      { expr: `leasehold_build_info ${CHOSEN}`, instant: true, format: 'table' },
    ],
    width: 12,
    height: 8,
    transformations: [
      { id: 'joinByField', options: { byField: 'instance', mode: 'outer' } },
      {
        id: 'filterFieldsByName',
        options: {
          include: { names: ['node', 'role', 'Value #B', 'Value #C', 'Value #D', 'Value #E', 'version', 'provider', 'instance'] },
        },
      },
      {
        id: 'organize',
        options: {
          renameByName: { 'Value #B': 'since', 'Value #C': 'healthy', 'Value #D': 'could take over', 'Value #E': 'ready' },
          indexByName: {
            node: 0,
            role: 1,
            'Value #B': 2,
            'Value #C': 3,
            'Value #D': 4,
            'Value #E': 5,
            provider: 6,
            version: 7,
            instance: 8,
          },
        },
      },
    ],
  },
  { ...timeline('Roles', 'What each agent was doing.', { expr: `(${roleNumber}) ${NAMED}`, legend: '{{node}}' }, ROLES, 8) },
];

const TENURE: readonly PanelSpec[] = [
  course(
    'Tenure left when a renewal was answered',
    'Near the top all is well; at zero the holder lets go. The lowest renewal in twenty and the middle one.',
    [
      { expr: quantile(0.05, 'leasehold_tenure_margin_seconds', 'lease'), legend: '5 % of renewals' },
      { expr: quantile(0.5, 'leasehold_tenure_margin_seconds', 'lease'), legend: 'half of them' },
      { expr: `max(leasehold_renew_deadline_seconds{${LEASE}})`, legend: 'whole tenure' },
      { expr: `max(leasehold_lease_duration_seconds{${LEASE}})`, legend: 'lease duration' },
    ],
    { unit: 's' },
  ),
  course(
    'Renewals',
    'How many there are a second, by how they ended; and how many there should be.',
    [
      { expr: `sum by (outcome) (rate(leasehold_renewals_total{${LEASE}}[$__rate_interval]))`, legend: '{{outcome}}' },
      { expr: `1 / max(leasehold_renew_interval_seconds{${LEASE}})`, legend: 'RENEW_INTERVAL' },
    ],
    { unit: 'ops' },
  ),
  course(
    'How long renewals take',
    'Whatever comes of them. One that gets no answer is given up after 600 ms at the latest.',
    [
      { expr: quantile(0.5, 'leasehold_renewal_duration_seconds', 'lease'), legend: 'half of them' },
      { expr: quantile(0.99, 'leasehold_renewal_duration_seconds', 'lease'), legend: '99 %' },
    ],
    { unit: 's' },
  ),
];

const FAILOVERS: readonly PanelSpec[] = [
  counted('Changes of role', 'What changed, and the cause.', [
    {
      expr: `sum by (from, to, reason) (increase(leasehold_role_transitions_total{${LEASE}}[$__rate_interval])) > 0`,
      legend: '{{from}} → {{to}}: {{reason}}',
    },
  ]),
  {
    type: 'bargauge',
    title: 'How long failovers took',
    help: 'On average in the time shown, from the last sign of the previous holder until the next one served, by what came before it.',
    targets: [
      {
        expr: `sum by (after) (increase(leasehold_failover_duration_seconds_sum{${LEASE}}[$__range])) / sum by (after) (increase(leasehold_failover_duration_seconds_count{${LEASE}}[$__range]))`,
        legend: '{{after}}',
        instant: true,
      },
    ],
    width: 8,
    height: 8,
    unit: 's',
    noValue: 'none',
    thresholds: above(10, 'green', 'orange'),
    options: { orientation: 'horizontal', displayMode: 'basic', reduceOptions: { calcs: ['lastNotNull'] } },
  },
  counted('Incidents', 'What else was reported; the log has each of them in words.', [
    { expr: `sum by (event) (increase(leasehold_incidents_total{${LEASE}}[$__rate_interval])) > 0`, legend: '{{event}}' },
  ]),
];

const ADDRESSES: readonly PanelSpec[] = [
  timeline(
    'Where the addresses are bound',
    'After a failover the previous node may keep an address a little longer where a provider routes; on a shared segment never two at once.',
    { expr: `leasehold_address_bound{${LEASE}} ${NAMED}`, legend: '{{address}} {{node}}' },
    yesNo('bound', 'not bound', 'neither'),
  ),
  timeline(
    'Where the provider routes them',
    'As the holder reads it. Anything but self for long is wrong.',
    {
      expr: `(leasehold_address_owner{${LEASE},owner="self"} and on (job, instance, lease) (leasehold_is_holder{${LEASE}} == 1)) ${NAMED}`,
      legend: '{{address}} {{node}}',
    },
    yesNo('here', 'elsewhere'),
  ),
  counted('What the agents do with them', 'In how many agents an address is in which state, except that it is not there.', [
    { expr: `sum by (address, state) (leasehold_address_state{${LEASE},state!="absent"}) > 0`, legend: '{{address}} {{state}}' },
  ]),
  counted('Mended and contested', 'What somebody else had changed, and what another machine said of an address.', [
    {
      expr: `sum by (address, what) (increase(leasehold_address_repairs_total{${LEASE}}[$__rate_interval]))`,
      legend: '{{address}} {{what}} mended',
    },
    {
      expr: `sum by (address, mac) (increase(leasehold_address_conflicts_total{${LEASE}}[$__rate_interval]))`,
      legend: '{{address}} claimed by {{mac}}',
    },
  ]),
  counted('Claims', 'How the provider was asked to route an address here, and how that ended.', [
    { expr: `sum by (outcome) (increase(leasehold_claim_duration_seconds_count{${LEASE}}[$__rate_interval]))`, legend: '{{outcome}}' },
  ]),
];

const PROBES: readonly PanelSpec[] = [
  timeline(
    'Probes',
    'How each probe is judged on each node.',
    { expr: `(leasehold_probe_up ${CHOSEN}) ${NAMED}`, legend: '{{node}} {{probe}}' },
    yesNo('up', 'down'),
    8,
  ),
  {
    ...course(
      'How long probes take',
      '95 % of the answers are there within this.',
      [{ expr: ofChosen(0.95, 'leasehold_probe_duration_seconds', 'probe'), legend: '{{probe}}' }],
      { unit: 's', width: 6 },
    ),
  },
  {
    ...course(
      'Failures of probes',
      'A second, before they are judged.',
      [
        {
          expr: `sum by (probe) (rate(leasehold_probe_results_total{result="failure"}[$__rate_interval]) ${CHOSEN})`,
          legend: '{{probe}}',
        },
      ],
      { unit: 'ops', width: 6 },
    ),
  },
];

const REQUESTS: readonly PanelSpec[] = [
  course(
    'Requests to the Kubernetes API',
    'A second, by verb and code.',
    [
      {
        expr: `sum by (verb, resource, code) (rate(leasehold_kubernetes_requests_total[$__rate_interval]) ${CHOSEN}) > 0`,
        legend: '{{verb}} {{resource}} {{code}}',
      },
    ],
    { unit: 'reqps' },
  ),
  course(
    'How long they take',
    '99 % are over within this.',
    [{ expr: ofChosen(0.99, 'leasehold_kubernetes_request_duration_seconds', 'verb, resource'), legend: '{{verb}} {{resource}}' }],
    { unit: 's' },
  ),
  timeline(
    'Watch of the Lease',
    'Without it changes are found out later, by timers alone.',
    { expr: `(leasehold_watch_up ${CHOSEN}) ${NAMED}`, legend: '{{node}}' },
    yesNo('stands', 'broken'),
    8,
  ),
  course(
    'Requests to the provider',
    'A minute, by operation and code.',
    [
      {
        expr: `60 * sum by (operation, code) (rate(leasehold_provider_requests_total[$__rate_interval]) ${CHOSEN}) > 0`,
        legend: '{{operation}} {{code}}',
      },
    ],
    { unit: 'reqpm' },
  ),
  course(
    'How long the provider takes',
    '95 % of its answers are there within this.',
    [{ expr: ofChosen(0.95, 'leasehold_provider_request_duration_seconds', 'operation'), legend: '{{operation}}' }],
    { unit: 's' },
  ),
  course(
    'Budget left at the provider',
    'Of what it grants, as each agent last heard or has counted, and what of it is kept for a failover.',
    [
      {
        expr: `(leasehold_provider_budget_remaining_requests / leasehold_provider_budget_limit_requests ${CHOSEN}) ${NAMED}`,
        legend: '{{node}} {{limit}}',
      },
      {
        expr: `max by (limit) (leasehold_provider_budget_reserve_requests / leasehold_provider_budget_limit_requests ${CHOSEN})`,
        legend: 'kept of {{limit}}',
      },
    ],
    { unit: 'percentunit' },
  ),
  counted('Moves, and what was not asked', 'How often addresses were moved, by whom, and what was held back so that the budget lasts.', [
    { expr: `sum by (by) (increase(leasehold_provider_moves_total[$__rate_interval]) ${CHOSEN})`, legend: 'moved by {{by}}' },
    {
      expr: `sum by (purpose) (increase(leasehold_provider_held_back_total[$__rate_interval]) ${CHOSEN})`,
      legend: '{{purpose}} held back',
    },
  ]),
  course(
    'Patience',
    'How long an address is left to whoever takes it away before it is claimed back; nothing while nobody contests it.',
    [{ expr: `max by (address) (leasehold_address_claim_patience_seconds{${LEASE}})`, legend: '{{address}}' }],
    { unit: 's' },
  ),
  timeline(
    'Provider',
    'Whether each agent can use it.',
    { expr: `(leasehold_provider_ready ${CHOSEN}) ${NAMED}`, legend: '{{node}}' },
    yesNo('usable', 'not usable'),
  ),
  timeline(
    'What hinders nodes',
    'Nothing, where there is nothing to see.',
    { expr: `sum by (node, by) ((leasehold_hindered{${LEASE}} == 1) ${NAMED})`, legend: '{{node}}: {{by}}' },
    { type: 'value', options: { 1: { text: 'hindered', color: 'orange', index: 0 } } },
  ),
];

const PROCESS: readonly PanelSpec[] = [
  course(
    'Memory',
    'Resident, and what of it is JavaScript’s.',
    [
      { expr: `(process_resident_memory_bytes ${CHOSEN}) ${NAMED}`, legend: '{{node}} resident' },
      { expr: `(nodejs_heap_size_used_bytes ${CHOSEN}) ${NAMED}`, legend: '{{node}} heap' },
    ],
    { unit: 'bytes' },
  ),
  course(
    'Processor',
    'Of one core.',
    [{ expr: `(rate(process_cpu_seconds_total[$__rate_interval]) ${CHOSEN}) ${NAMED}`, legend: '{{node}}' }],
    { unit: 'percentunit' },
  ),
  course(
    'How late agents wake',
    'Of all wake-ups 99 % come no later than this. What starves an agent shows here first.',
    [{ expr: ofChosen(0.99, 'leasehold_wakeup_lateness_seconds', 'job, instance'), legend: '{{instance}}' }],
    { unit: 's' },
  ),
  course('Open files', 'Connections and all else.', [{ expr: `(process_open_fds ${CHOSEN}) ${NAMED}`, legend: '{{node}}' }]),
  counted('Log lines dropped', 'Because nobody read standard output.', [
    { expr: `(increase(leasehold_log_lines_dropped_total[$__rate_interval]) ${CHOSEN}) ${NAMED}`, legend: '{{node}}' },
  ]),
  counted('Kubernetes Events', 'Written, anew or counted on; and not written, by why.', [
    { expr: `(increase(leasehold_events_written_total[$__rate_interval]) ${CHOSEN}) ${NAMED}`, legend: '{{node}}: {{what}}' },
    { expr: `(increase(leasehold_events_dropped_total[$__rate_interval]) ${CHOSEN}) ${NAMED}`, legend: '{{node}}: dropped, {{why}}' },
  ]),
  course(
    'Running since',
    'Hours since each process was started.',
    [{ expr: `(time() - (process_start_time_seconds ${CHOSEN}) ) / 3600 ${NAMED}`, legend: '{{node}}' }],
    { unit: 'h' },
  ),
];

const ROWS: readonly (readonly [title: string, panels: readonly PanelSpec[]])[] = [
  ['Now', NOW],
  ['Tenure', TENURE],
  ['Failovers', FAILOVERS],
  ['Addresses', ADDRESSES],
  ['Probes', PROBES],
  ['Requests', REQUESTS],
  ['Process', PROCESS],
];

/** When an agent began to serve, in milliseconds since 1970: the time of the annotation and not only its value. */
const SERVING_SINCE = `1000 * ((leasehold_role_changed_timestamp_seconds{${LEASE}} and on (job, instance, lease) (leasehold_role{${LEASE},role="serving"} == 1)) ${NAMED})`;

/** The dashboard as Grafana imports it. */
export function dashboard(): Json {
  return {
    __inputs: [],
    uid: 'leasehold',
    title: 'Leasehold',
    description: 'Who holds which addresses since when, how failovers went, and what would keep the next one from going well.',
    tags: ['leasehold', 'kubernetes'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    timezone: 'browser',
    links: [],
    annotations: {
      list: [
        {
          name: 'Failovers',
          datasource: DATASOURCE,
          enable: true,
          iconColor: 'orange',
          expr: SERVING_SINCE,
          useValueForTime: true,
          titleFormat: '{{node}} serves',
          textFormat: '{{lease}}',
          step: '30s',
        },
      ],
    },
    templating: {
      list: [
        { name: 'datasource', label: 'Data source', type: 'datasource', query: 'prometheus', current: {}, hide: 0 },
        {
          name: 'lease',
          label: 'Lease',
          type: 'query',
          datasource: DATASOURCE,
          definition: 'label_values(leasehold_is_holder, lease)',
          query: { query: 'label_values(leasehold_is_holder, lease)', refId: 'lease' },
          refresh: 2,
          includeAll: true,
          multi: true,
          current: { text: ['All'], value: ['$__all'] },
          sort: 1,
        },
      ],
    },
    panels: placed(),
  };
}

/** Puts the panels of each row side by side, below its title, until the row is full. */
function placed(): Json[] {
  const panels: Json[] = [];
  let y = 0;
  for (const [title, specs] of ROWS) {
    panels.push({ id: panels.length + 1, type: 'row', title, collapsed: false, panels: [], gridPos: { x: 0, y, w: WIDTH, h: 1 } });
    y += 1;
    let [x, height] = [0, 0];
    for (const spec of specs) {
      if (x + spec.width > WIDTH) [x, y, height] = [0, y + height, 0];
      panels.push(panel(spec, panels.length + 1, { x, y, w: spec.width, h: spec.height }));
      x += spec.width;
      height = Math.max(height, spec.height);
    }
    y += height;
  }
  return panels;
}

function panel(spec: PanelSpec, id: number, gridPos: Json): Json {
  const { type, title, help, targets, unit, mappings, thresholds, options, custom, noValue, transformations } = spec;
  return {
    id,
    type,
    title,
    description: help,
    datasource: DATASOURCE,
    gridPos,
    targets: targets.map(({ expr, legend, instant, format }, index) => ({
      refId: String.fromCharCode(65 + index),
      datasource: DATASOURCE,
      expr,
      ...(legend === undefined ? {} : { legendFormat: legend }),
      ...(instant === true ? { instant: true, range: false } : {}),
      ...(format === undefined ? {} : { format }),
    })),
    fieldConfig: {
      defaults: {
        ...(unit === undefined ? {} : { unit }),
        ...(noValue === undefined ? {} : { noValue }),
        ...(custom === undefined ? {} : { custom }),
        mappings: mappings ?? [],
        thresholds: { mode: 'absolute', steps: thresholds ?? [{ color: 'green', value: null }] },
      },
      overrides: type === 'table' ? TABLE_OVERRIDES : [],
    },
    options: options ?? {},
    ...(transformations === undefined ? {} : { transformations }),
  };
}

const TABLE_OVERRIDES: readonly Json[] = [
  { matcher: { id: 'byName', options: 'since' }, properties: [{ id: 'unit', value: 'dateTimeFromNow' }] },
  ...['healthy', 'could take over', 'ready'].map((options) => ({
    matcher: { id: 'byName', options },
    properties: [{ id: 'mappings', value: [yesNo('yes', 'no', options === 'could take over' ? 'neither' : 'yes')] }],
  })),
];

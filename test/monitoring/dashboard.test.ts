import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadAll } from 'js-yaml';
import { at, integerAt, listAt, stringAt } from '../../agent/json.ts';
import { metricsTable } from '../../agent/report/documentation.ts';
import { dashboard } from '../../scripts/dashboard.ts';
import { cannotRender } from '../support/manifests.ts';
import type { KubeObject } from '../support/manifests.ts';
import { alertsIn, RULES } from '../support/prometheus.ts';

const PANELS = listAt(dashboard(), 'panels') ?? [];
const EXPORTED = new Set([...metricsTable().matchAll(/^\| `(\w+)`/gm)].map(([, name = '']) => name));
const MONITORING = fileURLToPath(new URL('../../manifests/monitoring', import.meta.url));

/** The names of our metrics in a text, without what a histogram adds to its own. */
function named(text: string): Set<string> {
  const names = text.match(/\b(?:leasehold|process|nodejs)_[a-z_]+[a-z]/g) ?? [];
  return new Set(names.map((name) => (EXPORTED.has(name) ? name : name.replace(/_(bucket|sum|count)$/, ''))));
}

function unknown(text: string): string[] {
  return [...named(text)].filter((name) => !EXPORTED.has(name));
}

function place(panel: unknown): { x: number; y: number; w: number; h: number } {
  const [x = NaN, y = NaN, w = NaN, h = NaN] = ['x', 'y', 'w', 'h'].map((side) => integerAt(panel, 'gridPos', side));
  return { x, y, w, h };
}

describe('the dashboard', () => {
  const text = JSON.stringify(dashboard());

  test('and the alerts name no metric that there is not, and leave none out', () => {
    const alerts = alertsIn(readFileSync(RULES, 'utf8'))
      .map(({ expr }) => expr)
      .join('\n');
    assert.deepEqual(unknown(text + alerts), []);
    const used = named(text + alerts);
    assert.deepEqual(
      [...EXPORTED].filter((name) => !used.has(name)),
      [],
    );
  });

  test('takes its data from a variable, and so does each query', () => {
    assert.deepEqual(at(listAt(dashboard(), 'templating', 'list')?.[0], 'type'), 'datasource');
    for (const panel of PANELS) {
      for (const target of listAt(panel, 'targets') ?? []) assert.equal(stringAt(target, 'datasource', 'uid'), '${datasource}');
    }
  });

  test('has panels with a name, an explanation and an id of their own, side by side and never over each other', () => {
    const ids = PANELS.map((panel) => integerAt(panel, 'id'));
    assert.equal(new Set(ids).size, PANELS.length);
    for (const [index, panel] of PANELS.entries()) {
      const { x, y, w, h } = place(panel);
      assert.ok(x + w <= 24 && (stringAt(panel, 'title') ?? '') !== '');
      if (stringAt(panel, 'type') !== 'row') assert.ok((stringAt(panel, 'description') ?? '').length > 10);
      for (const other of PANELS.slice(index + 1).map(place)) {
        const isApart = x + w <= other.x || other.x + other.w <= x || y + h <= other.y || other.y + other.h <= y;
        assert.ok(isApart, `${stringAt(panel, 'title') ?? ''} lies over another panel`);
      }
    }
  });
});

for (const page of ['metrics.md', 'alerts.md']) {
  test(`docs/${page} names no metric that there is not`, () => {
    assert.deepEqual(unknown(readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8')), []);
  });
}

test('manifests/monitoring brings the alerts and the dashboard', { skip: cannotRender() }, () => {
  const { status, stdout, stderr } = spawnSync('kubectl', ['kustomize', MONITORING], { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
  const [map, rule] = loadAll(stdout) as (KubeObject & { data: Record<string, string> })[];
  assert.deepEqual([map?.kind, map?.metadata.labels?.['grafana_dashboard']], ['ConfigMap', '1']);
  assert.deepEqual(JSON.parse(map?.data['leasehold.json'] ?? ''), dashboard());
  assert.equal(rule?.kind, 'PrometheusRule');
  const plain = alertsIn(readFileSync(RULES, 'utf8'));
  assert.deepEqual(
    (listAt(rule, 'spec', 'groups') ?? []).flatMap((group) => listAt(group, 'rules') ?? []),
    plain,
  );
});

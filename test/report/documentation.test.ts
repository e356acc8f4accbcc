import assert from 'node:assert/strict';
import { test } from 'node:test';
import { metricsTable } from '../../agent/report/documentation.ts';
import { MADE, read } from '../../scripts/docs.ts';

for (const { path, current } of MADE) {
  test(`${path} is what it is made of`, () => {
    const now = read(path);
    assert.equal(now, current(now));
  });
}

test('every metric has a row with its type, its labels and its meaning, each once', () => {
  const rows = metricsTable().split('\n').slice(2);
  const names = rows.map((row) => /^\| `([a-z_]+)` \| (?:counter|gauge|histogram) \|.*\| \S.*\. \|$/.exec(row)?.[1] ?? assert.fail(row));
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length > 40);
  assert.ok(rows.some((row) => row.startsWith('| `leasehold_role_transitions_total` | counter | `lease`, `from`, `to`, `reason` |')));
  assert.ok(rows.some((row) => row.startsWith('| `leasehold_ready` | gauge | – |')));
});

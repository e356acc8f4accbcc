import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { SCHEMA } from '../../agent/config/schema.ts';
import { settingsTable } from '../../agent/config/documentation.ts';
import { withCurrentTable } from '../../scripts/docs.ts';

test('the settings table in the README is what the schema gives', () => {
  const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
  assert.equal(readme, withCurrentTable(readme));
});

test('every setting has a row with its default and its meaning, and secrets name their twin', () => {
  const rows = settingsTable().split('\n').slice(2);
  assert.equal(rows.length, Object.keys(SCHEMA).length);
  assert.ok(rows.includes('| `RENEW_INTERVAL` | `500ms` | How often a holder renews. At most half of `RENEW_DEADLINE`. |'));
  assert.ok(rows.some((row) => row.startsWith('| `HCLOUD_TOKEN`, `HCLOUD_TOKEN_FILE` | – | Required')));
});

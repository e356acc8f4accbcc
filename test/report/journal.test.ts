import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { Logger } from 'pino';
import { Journal } from '../../agent/report/journal.ts';
import { ManualClock } from '../support/manual-clock.ts';

let lines: { level: string; fields: Record<string, unknown>; text: string }[];
let clock: ManualClock;
let journal: Journal;

beforeEach(() => {
  lines = [];
  clock = new ManualClock();
  const at = (level: string) => (fields: Record<string, unknown>, text: string) => lines.push({ level, fields, text });
  journal = new Journal({ info: at('info'), warn: at('warn'), error: at('error') } as unknown as Logger, clock);
});

function transition(count: number): void {
  journal.report({
    kind: 'transition',
    from: 'standby',
    to: 'serving',
    cause: 'ready-to-serve',
    reason: `reason ${count}`,
    term: { uid: 'u', transitions: count, holder: 'h' },
    elapsedMs: 12,
  });
}

describe('the journal', () => {
  test('logs each transition once with its cause, its reason, its term and how long the role before lasted', () => {
    transition(7);
    assert.deepEqual(lines, [
      {
        level: 'info',
        fields: {
          event: 'transition',
          from: 'standby',
          to: 'serving',
          cause: 'ready-to-serve',
          reason: 'reason 7',
          transitions: 7,
          elapsedMs: 12,
        },
        text: 'standby → serving: reason 7',
      },
    ]);
  });

  test('keeps the last ten, the latest first', () => {
    for (let count = 1; count <= 12; count += 1) transition(count);
    assert.deepEqual(
      journal.transitions.map(({ transitions }) => transitions),
      [12, 11, 10, 9, 8, 7, 6, 5, 4, 3],
    );
  });

  test('logs an incident that repeats itself once a minute, with how often it was left out', async () => {
    const fail = (): void => journal.report({ kind: 'incident', event: 'claim-failed', message: 'no', address: '203.0.113.10' });
    for (let count = 0; count < 30; count += 1) {
      fail();
      await clock.advance(4_000);
    }
    assert.deepEqual(
      lines.map(({ fields }) => fields['repeated'] ?? 0),
      [0, 14],
    );
    assert.equal(lines[0]?.text, '203.0.113.10: no');
  });

  test('logs every incident that is news', () => {
    for (const event of ['relief-wanted', 'relief-withdrawn', 'relief-wanted', 'relief-withdrawn'] as const) {
      journal.report({ kind: 'incident', event, message: 'x', address: null });
    }
    assert.equal(lines.length, 4);
  });
});

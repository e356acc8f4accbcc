import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { findOutages, totalOutageMs } from '../../e2e/lab/outage.ts';

const answered = (atMs: number): { atMs: number; by: string } => ({ atMs, by: 'node-a' });
const unanswered = (atMs: number): { atMs: number; by: null } => ({ atMs, by: null });

describe('an outage', () => {
  test('lasts from the first attempt without an answer to the next one with one', () => {
    const attempts = [answered(0), unanswered(20), unanswered(40), answered(60), answered(80), unanswered(100), answered(120)];
    assert.deepEqual(findOutages(attempts, 0), [
      { fromMs: 20, toMs: 60 },
      { fromMs: 100, toMs: 120 },
    ]);
    assert.equal(totalOutageMs(findOutages(attempts, 0)), 60);
  });

  test('is found in attempts that became known in another order', () => {
    assert.deepEqual(findOutages([answered(0), answered(60), unanswered(20), unanswered(40)], 0), [{ fromMs: 20, toMs: 60 }]);
  });

  test('counts when it begins within the span, and is followed to its end beyond it', () => {
    const attempts = [unanswered(0), answered(20), unanswered(40), answered(60), unanswered(80), answered(100)];
    assert.deepEqual(findOutages(attempts, 20, 50), [{ fromMs: 40, toMs: 60 }]);
  });

  test('that has not ended counts as without end', () => {
    assert.equal(totalOutageMs(findOutages([answered(0), unanswered(20)], 0)), Number.POSITIVE_INFINITY);
    assert.equal(totalOutageMs(findOutages([answered(0)], 0)), 0);
  });
});

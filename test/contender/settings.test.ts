import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { timingProblems } from '../../agent/contender/settings.ts';

const SAFE = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, renewIntervalMs: 500, kind: 'routed', isFenced: false } as const;

describe('timings', () => {
  test('the defaults are safe, routed and on L2', () => {
    assert.deepEqual(timingProblems(SAFE), []);
    assert.deepEqual(timingProblems({ ...SAFE, kind: 'l2' }), []);
  });

  test('a deadline must leave room to unbind and for clocks that differ, and the problem names numbers that would do', () => {
    assert.deepEqual(timingProblems({ ...SAFE, renewDeadlineMs: 2_689 }), []);
    const [problem] = timingProblems({ ...SAFE, renewDeadlineMs: 2_690 });
    assert.match(problem?.message ?? '', /lower the deadline to 2689ms or raise the duration to 3001ms/);
    assert.deepEqual(timingProblems({ ...SAFE, renewDeadlineMs: 2_690, leaseDurationMs: 3_001 }), []);
  });

  test('an interval must leave room for a second try', () => {
    assert.deepEqual(timingProblems({ ...SAFE, renewIntervalMs: 1_000 }), []);
    const [problem] = timingProblems({ ...SAFE, renewIntervalMs: 1_001 });
    assert.match(problem?.message ?? '', /lower the interval to 1000ms or raise the deadline to 2002ms/);
  });

  test('sub-second timings are possible behind a fence and where a provider routes, and not where only whole-second lifetimes stop a frozen agent', () => {
    const fast = { leaseDurationMs: 600, renewDeadlineMs: 300, renewIntervalMs: 100 };
    assert.deepEqual(timingProblems({ ...SAFE, ...fast }), []);
    assert.deepEqual(timingProblems({ ...SAFE, ...fast, kind: 'l2', isFenced: true }), []);
    const [problem] = timingProblems({ ...SAFE, ...fast, kind: 'l2' });
    assert.match(problem?.message ?? '', /raise the duration to 2909ms/);
    assert.deepEqual(timingProblems({ ...SAFE, leaseDurationMs: 2_909, kind: 'l2' }), []);
  });

  test('no duration is long enough for a deadline of its own length', () => {
    for (const ms of [100, 1_000, 10_000, 100_000]) {
      assert.notDeepEqual(timingProblems({ ...SAFE, leaseDurationMs: ms, renewDeadlineMs: ms, renewIntervalMs: ms / 2 }), []);
    }
  });
});

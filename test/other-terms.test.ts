import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LeaseRecord, LeaseSight } from '../agent/contender/lease.ts';
import { OtherTerms } from '../agent/other-terms.ts';
import { ME, neverHeld, OTHER, record, SETTINGS } from './contender/driver.ts';

/** How many are counted at each of these sights. */
function counts(...sights: readonly LeaseSight[]): number[] {
  const terms = new OtherTerms();
  return sights.map((sight) =>
    terms.begun({ observation: { sight, sinceMs: 0, lastTerm: null, longestDurationMs: 0, confirmedAtMs: null }, settings: SETTINGS }),
  );
}

const held = (holder: string, transitions: number, more: Partial<LeaseRecord> = {}): LeaseRecord =>
  record({ holder, transitions, ...more });

describe('the terms of other holders', () => {
  test('are each counted once, and none of before the first look', () => {
    assert.deepEqual(counts(held(OTHER, 7), held(OTHER, 7), held('node-c_x_1', 8), held(OTHER, 9)), [0, 0, 1, 1]);
  });

  test('are told from this agent’s own', () => {
    assert.deepEqual(counts(held(OTHER, 7), held(ME, 8), held(ME, 8), held(OTHER, 9)), [0, 0, 0, 1]);
  });

  test('are counted where several were missed', () => {
    assert.deepEqual(counts(held(OTHER, 7), held(OTHER, 10)), [0, 3]);
    assert.deepEqual(counts(held(OTHER, 7), held(ME, 10)), [0, 2]);
  });

  test('do not begin while nobody holds the Lease, nor with an older sight of it', () => {
    assert.deepEqual(counts(held(OTHER, 7), neverHeld({ transitions: 7 }), 'absent', held(OTHER, 7), held(OTHER, 6)), [0, 0, 0, 0, 0]);
  });

  test('are counted of a Lease that was made anew', () => {
    assert.deepEqual(counts(held(OTHER, 7), held(OTHER, 1, { uid: 'uid-2' })), [0, 1]);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { claimWithRetries } from '../../agent/provider/claim.ts';
import { ProviderError } from '../../agent/provider/error.ts';
import type { ProviderErrorCode } from '../../agent/provider/error.ts';
import { ManualClock } from '../support/manual-clock.ts';

/** Lets every try fail in the same way and gives the pauses between the first of them, in milliseconds. */
async function pausesAfter(code: ProviderErrorCode, retryAfterMs: number | null = null, withinMs = 12_000): Promise<number[]> {
  const clock = new ManualClock();
  const ending = new AbortController();
  const triedAtMs: number[] = [];
  const claim = claimWithRetries(clock, { signal: ending.signal }, () => {
    triedAtMs.push(clock.nowMs());
    return Promise.reject(new ProviderError(code, 'no', { retryAfterMs }));
  });
  await clock.advance(withinMs);
  ending.abort(new Error('enough'));
  await claim;
  return triedAtMs.slice(1).map((atMs, index) => atMs - (triedAtMs[index] ?? 0));
}

describe('a claim is tried again', () => {
  test('quickly while another action runs', async () => {
    assert.deepEqual((await pausesAfter('busy')).slice(0, 5), [250, 500, 1_000, 2_000, 2_000]);
  });

  test('at once where the outcome is unknown, because a try begins with reading', async () => {
    assert.deepEqual((await pausesAfter('unknown-outcome')).slice(0, 6), [50, 100, 200, 400, 800, 1_000]);
  });

  test('with growing pauses while the provider is not there', async () => {
    assert.deepEqual((await pausesAfter('unavailable', null, 15_000)).slice(0, 5), [500, 1_000, 2_000, 4_000, 5_000]);
  });

  test('not before the provider allows it', async () => {
    assert.deepEqual(await pausesAfter('rate-limited', 5_000), [5_000, 5_000]);
  });

  for (const code of ['unauthorized', 'forbidden', 'not-found', 'invalid'] as const) {
    test(`never after ${code}, which only a person can mend`, async () => {
      assert.deepEqual(await pausesAfter(code), []);
    });
  }
});

test('what a claim should never have thrown is not taken for the provider’s word', async () => {
  const claim = claimWithRetries(new ManualClock(), { signal: new AbortController().signal }, () => Promise.reject(new Error('a defect')));
  await assert.rejects(claim, /a defect/);
});

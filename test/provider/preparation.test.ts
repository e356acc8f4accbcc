import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { ProviderReadiness } from '../../agent/ports.ts';
import { keepPrepared } from '../../agent/provider/preparation.ts';
import { ManualClock } from '../support/manual-clock.ts';

const READY: ProviderReadiness = { is: 'ready', reason: 'this is server 1' };
const OUT_OF_REACH: ProviderReadiness = { is: 'not-ready', isPassing: true, reason: 'no answer' };
const REFUSED: ProviderReadiness = { is: 'not-ready', isPassing: false, reason: 'the token is not accepted' };

let clock: ManualClock;
let ending: AbortController;
let answer: ProviderReadiness;
let askedAtMs: number[];
let told: { readonly reason: string; readonly mayContend: boolean }[];
let running: Promise<void>;

beforeEach(() => {
  clock = new ManualClock(0);
  ending = new AbortController();
  askedAtMs = [];
  told = [];
});

/** Asks a provider that answers at once. */
async function begin(first: ProviderReadiness): Promise<void> {
  answer = first;
  const prepare = (): Promise<ProviderReadiness> => {
    askedAtMs.push(clock.nowMs());
    return Promise.resolve(answer);
  };
  running = keepPrepared({ prepare }, clock, ending.signal, ({ reason }, mayContend) => told.push({ reason, mayContend }));
  await clock.advance(0);
}

describe('a provider', () => {
  test('that is not ready is asked again with growing pauses', async () => {
    await begin(OUT_OF_REACH);
    await clock.advance(100_000);
    assert.deepEqual(askedAtMs, [0, 1_000, 3_000, 7_000, 15_000, 31_000, 61_000, 91_000]);
    assert.ok(told.every(({ mayContend }) => !mayContend));
  });

  test('that is ready is asked once a minute', async () => {
    await begin(READY);
    await clock.advance(120_000);
    assert.deepEqual(askedAtMs, [0, 60_000, 120_000]);
  });

  test('that was ready and is out of reach for a while keeps no node from contending', async () => {
    await begin(READY);
    answer = OUT_OF_REACH;
    await clock.advance(60_000);
    assert.deepEqual(told.at(-1), { reason: 'no answer', mayContend: true });
    answer = REFUSED;
    await clock.advance(1_000);
    assert.deepEqual(told.at(-1), { reason: 'the token is not accepted', mayContend: false });
    answer = OUT_OF_REACH;
    await clock.advance(2_000);
    assert.equal(told.at(-1)?.mayContend, false, 'and not by becoming unreachable');
  });

  test('is asked no more once the agent ends', async () => {
    await begin(READY);
    ending.abort(new Error('the agent ends'));
    await running;
    assert.equal(clock.timers, 0);
  });
});

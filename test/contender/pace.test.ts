/**
 * How often the owner is read where a provider grants a hundred reads an hour to all nodes together.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Owner } from '../../agent/contender/input.ts';
import { HETZNER_ROBOT } from '../../agent/provider/hetzner-robot.ts';
import { Driver, record } from './driver.ts';

const { claimTimeoutMs, verifyIntervalMs, ownerReadPace = 0 } = HETZNER_ROBOT;
const SETTINGS = { worstMoveMs: claimTimeoutMs, claimTimeoutMs, verifyIntervalMs, ownerReadPace, onApiLoss: 'hold' } as const;
const HOUR_MS = 3_600_000;
const ELSEWHERE: Owner = { is: 'other', name: 'server 2' };

/** Lets time pass, a second at a time, each read being answered as it comes; gives the seconds at which there was one. */
function readsOf(driver: Driver, ms: number, ownerAt: (passedMs: number) => Owner, pass: (ms: number) => unknown): number[] {
  const reads: number[] = [];
  driver.forget();
  for (let passedMs = 1_000; passedMs <= ms; passedMs += 1_000) {
    pass(1_000);
    if (driver.all('verify-owner').length === 0) continue;
    reads.push(passedMs / 1_000);
    driver.forget().ownerIs(ownerAt(passedMs));
  }
  return reads;
}

describe('where reads are dear', () => {
  test('a holder verifies a claim after one, two and a half, and seven and a half minutes, and then every five', () => {
    const driver = new Driver(SETTINGS).serve();
    const reads = readsOf(
      driver,
      HOUR_MS,
      () => ({ is: 'self' }),
      (ms) => driver.serveOn(ms),
    );
    assert.deepEqual(reads.slice(0, 5), [60, 150, 450, 750, 1_050]);
    assert.ok(reads.length <= 14, reads.join());
  });

  test('a holder that reads another owner looks twice more within half a minute before it claims again', () => {
    const driver = new Driver(SETTINGS).serve().serveOn(60_000).forget().ownerIs(ELSEWHERE);
    const reads = readsOf(
      driver,
      30_000,
      () => ELSEWHERE,
      (ms) => driver.serveOn(ms),
    );
    assert.deepEqual(reads, [9, 18]);
    assert.equal(driver.all('claim').length, 1);
  });

  test('a holder that cannot read the owner asks again every two and a half minutes', () => {
    const driver = new Driver(SETTINGS).serve().serveOn(60_000).forget().ownerIs({ is: 'unknown', message: 'RATE_LIMIT_EXCEEDED' });
    const reads = readsOf(
      driver,
      600_000,
      () => ({ is: 'unknown', message: 'RATE_LIMIT_EXCEEDED' }),
      (ms) => driver.serveOn(ms),
    );
    assert.deepEqual(reads, [150, 300, 450, 600]);
  });

  test('a node that lingers for the minute of a switch reads eight times at the most', () => {
    const driver = new Driver(SETTINGS).serve().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    const { life } = driver.contender;
    assert.ok(life.is === 'stepping-down');
    driver.answerRead(record(life.term)).succeed('release');
    const reads = readsOf(
      driver,
      120_000,
      (passedMs) => (passedMs < 55_000 ? { is: 'self' } : ELSEWHERE),
      (ms) => driver.pass(ms),
    );
    assert.ok(reads.length <= 8, reads.join());
    assert.equal(driver.all('unbind').length + (driver.address().is === 'unbinding' ? 1 : 0) > 0, true);
  });

  test('one that holds over for an hour leaves two thirds of the hour for others', () => {
    const driver = new Driver(SETTINGS).serve();
    driver.pass(2_000);
    assert.equal(driver.address().is, 'held-over');
    driver.ownerIs({ is: 'self' });
    const reads = readsOf(
      driver,
      HOUR_MS,
      () => ({ is: 'self' }),
      (ms) => {
        driver.pass(ms);
        if (driver.contender.request?.kind === 'read')
          driver.answerRead({ is: 'unknown', message: 'no answer within 600ms', retryAfterMs: null });
      },
    );
    assert.ok(reads.length > 10 && reads.length <= 33, `${reads.length}: ${reads.join()}`);
  });
});

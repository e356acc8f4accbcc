import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Owner } from '../../agent/contender/input.ts';
import { isOver, lost, patienceMs } from '../../agent/contender/contest.ts';
import type { Contest } from '../../agent/contender/contest.ts';
import { ADDRESS, Driver } from './driver.ts';

const RIVAL = { is: 'other', name: 'server 2' } as const;
const MINUTE_MS = 60_000;

/** A holder whose claim was just confirmed loses the address, and has seen it three times when this returns. */
function loseIt(driver: Driver, to: Owner = RIVAL): Driver {
  driver.serveOn(2_000);
  for (let read = 0; read < 3; read += 1) driver.ownerIs(to).serveOn(read < 2 ? 300 : 0);
  return driver;
}

/** How long it takes from then on until the address is claimed again, which succeeds at once. */
function claimedAfterMs(driver: Driver): number {
  const sinceMs = driver.nowMs;
  const before = driver.last('claim').attempt;
  while (driver.last('claim').attempt === before) {
    assert.ok(driver.nowMs - sinceMs < 10 * MINUTE_MS, 'it is never claimed again');
    driver.serveOn(50);
  }
  driver.claimed();
  return driver.nowMs - sinceMs;
}

/** The holder goes on, and every owner that it reads is itself. */
function stay(driver: Driver, ms: number): Driver {
  for (const untilMs = driver.nowMs + ms; driver.nowMs < untilMs;) {
    driver.serveOn(500);
    const state = driver.address();
    if (state.is === 'bound' && state.claim.is === 'confirmed' && state.claim.attempt !== null) driver.ownerIs({ is: 'self' });
  }
  return driver;
}

describe('an address that somebody else claims, too', () => {
  test('is claimed back at once the first time', () => {
    const driver = loseIt(new Driver().serve());
    assert.equal(driver.last('claim').isFirst, false);
    assert.ok(!driver.incidents().includes('contested'));
  });

  test('is claimed back with growing patience when it is lost again and again', () => {
    const driver = loseIt(new Driver().serve());
    driver.claimed();
    const waits: number[] = [];
    for (let round = 0; round < 9; round += 1) waits.push(claimedAfterMs(loseIt(driver)) / 1_000);
    assert.deepEqual(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
  });

  test('is not left to nobody for long: routed nowhere, it is claimed back after five seconds at the most', () => {
    const driver = loseIt(new Driver().serve());
    driver.claimed();
    const waits: number[] = [];
    for (let round = 0; round < 4; round += 1) waits.push(claimedAfterMs(loseIt(driver, { is: 'nobody' })) / 1_000);
    assert.deepEqual(waits, [5, 5, 5, 5]);
  });

  test('is left where it is meanwhile: nothing is written for it, and the office goes on', () => {
    const driver = loseIt(new Driver().serve()).claimed();
    loseIt(driver).forget().serveOn(4_900);
    assert.deepEqual([driver.all('claim'), driver.role], [[], 'serving']);
    assert.ok(driver.all('renew').every(({ marks }) => marks.relief === null));
  });

  test('is told of once, at the third time, with how often and how long', () => {
    const driver = loseIt(new Driver().serve());
    driver.claimed();
    for (let round = 0; round < 4; round += 1) claimedAfterMs(loseIt(driver));
    const told = driver.all('report').flatMap(({ report }) => (report.kind === 'incident' && report.event === 'contested' ? [report] : []));
    assert.equal(told.length, 1);
    assert.equal(told[0]?.address, ADDRESS);
    assert.match(told[0]?.message ?? '', /taken away 3 times within 1 min.*second installation.*waits 10s/);
  });

  test('is claimed back sooner again after a quiet while, and the end of it is told', () => {
    const driver = loseIt(new Driver().serve());
    driver.claimed();
    for (let round = 0; round < 3; round += 1) claimedAfterMs(loseIt(driver));
    stay(driver.forget(), 15 * MINUTE_MS);
    assert.ok(!driver.incidents().includes('contest-over'), 'three of four levels have faded');
    stay(driver, 6 * MINUTE_MS);
    assert.ok(driver.incidents().includes('contest-over'));
    driver.serveOn(30_000);
    for (let read = 0; read < 3; read += 1) driver.ownerIs(RIVAL).serveOn(read < 2 ? 300 : 0);
    const state = driver.address();
    assert.ok(state.is === 'bound' && state.claim.is === 'claiming', 'at once');
  });

  test('is claimed at once by the first claim of a new term, whatever was before', () => {
    const driver = loseIt(new Driver().serve());
    driver.claimed();
    for (let round = 0; round < 3; round += 1) claimedAfterMs(loseIt(driver));
    driver.pass(2_000);
    assert.equal(driver.role, 'standby');
    driver.answerRead(driver.contender.observation?.sight ?? 'absent').forget();
    driver.succeed('acquire').bound();
    assert.equal(driver.all('claim')[0]?.isFirst, true);
  });
});

describe('patience', () => {
  const level = (times: number): Contest | null => {
    let contest: Contest | null = null;
    for (let each = 0; each < times; each += 1) contest = lost(contest, 1_000, each);
    return contest;
  };

  test('never grows beyond five minutes, nor beyond what fades in forty', () => {
    const contest = level(100);
    assert.ok(contest !== null);
    assert.equal(patienceMs(contest), 5 * MINUTE_MS);
    assert.equal(isOver(contest, 40 * MINUTE_MS - 1), false);
    assert.equal(isOver(contest, 40 * MINUTE_MS), true);
  });

  test('counts a loss after a quiet while for less', () => {
    assert.deepEqual(lost(level(3), 5 * MINUTE_MS, 9).level, 3);
    assert.deepEqual(lost(level(3), 10 * MINUTE_MS, 9).level, 2);
    assert.deepEqual(lost(level(3), 60 * MINUTE_MS, 9), { level: 1, losses: 1, sinceMs: 9, isTold: false });
  });
});

describe('an owner that was not asked for, to leave the budget to a failover', () => {
  const held = (driver: Driver, ms: number) => driver.ownerIs({ is: 'unknown', message: 'not asked', notBeforeMs: driver.nowMs + ms });

  test('is no trouble: nothing is told, and it is asked when it may be', () => {
    const driver = new Driver().serve().serveOn(2_000).forget();
    held(driver, 40_000).serveOn(39_900);
    assert.deepEqual([driver.all('verify-owner'), driver.incidents()], [[], []]);
    driver.serveOn(200);
    assert.equal(driver.all('verify-owner').length, 1);
  });

  test('does not end what one foreign read has begun, nor count as one', () => {
    const driver = new Driver().serve().serveOn(2_000).ownerIs(RIVAL).serveOn(300).forget();
    held(driver, 1_000).serveOn(1_100).ownerIs(RIVAL).serveOn(300);
    assert.equal(driver.all('claim').length, 0);
    driver.ownerIs(RIVAL);
    assert.equal(driver.all('claim').length, 1);
  });

  test('is asked for no sooner while an address lingers, and lets go of nothing', () => {
    const driver = new Driver().serve().pass(2_000).pass(200).forget();
    held(driver, 10_000).pass(9_900);
    assert.deepEqual([driver.all('verify-owner'), driver.all('unbind')], [[], []]);
    driver.pass(200);
    assert.equal(driver.all('verify-owner').length, 1);
  });

  test('and a claim that was held back is made again when it may be, unless it is the first of its term', () => {
    const failed = (driver: Driver): Driver => {
      const { attempt } = driver.last('claim');
      const outcome = { is: 'failed', definitive: false, message: 'not asked', notBeforeMs: driver.nowMs + 60_000 } as const;
      return driver.give({ type: 'claim-done', address: ADDRESS, attempt, outcome }).forget();
    };
    const again = failed(loseIt(new Driver().serve())).serveOn(59_900);
    assert.equal(again.all('claim').length, 0);
    assert.equal(again.serveOn(200).all('claim').length, 1);
    assert.equal(failed(new Driver().acquire().bound()).serveOn(1_000).all('claim').length, 1);
  });
});

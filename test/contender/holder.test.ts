import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Driver, ME, OTHER, record, released } from './driver.ts';
import type { LeaseMarks, LeaseRecord } from '../../agent/contender/lease.ts';

/** The record of the driver's own present term, as a read would show it. */
function own(driver: Driver, fields: Partial<LeaseRecord> = {}, marks: Partial<LeaseMarks> = {}): LeaseRecord {
  const { life } = driver.contender;
  assert.equal(life.is, 'holding');
  assert.ok(life.is === 'holding');
  const { term, basis, renewTime } = life.office;
  return record({ ...term, ...basis, renewTime, ...fields }, marks);
}

function tenureEndMs(driver: Driver): number {
  const { life } = driver.contender;
  assert.ok(life.is === 'holding', `is ${life.is}`);
  return life.office.tenureEndMs;
}

describe('tenure', () => {
  test('is counted from the instant the acquisition was sent, not from its answer', () => {
    const driver = new Driver().standBy(released());
    const sentAtMs = driver.nowMs;
    driver.freeze(400).succeed('acquire');
    assert.equal(tenureEndMs(driver), sentAtMs + 2_000);
  });

  test('is counted from the instant a renewal was sent, not from its answer', () => {
    const driver = new Driver().serve().pass(500);
    const sentAtMs = driver.nowMs;
    driver.freeze(300).succeed('renew');
    assert.equal(tenureEndMs(driver), sentAtMs + 2_000);
  });

  test('ends at the renew deadline, and the holder lets go of its claim at that instant', () => {
    const driver = new Driver().acquire().bound().forget();
    const endMs = tenureEndMs(driver);
    driver.pass(endMs - driver.nowMs - 1);
    assert.equal(driver.role, 'claiming');
    driver.pass(1);
    assert.equal(driver.role, 'standby');
    assert.equal(driver.all('cancel-claim').length, 1);
    assert.equal(driver.address().is, 'lingering');
  });

  test('is not revived by an answer that arrives after it, whichever comes first, answer or tick', () => {
    const driver = new Driver().serve().pass(500);
    const answer = driver.written('renew');
    driver.freeze(2_000).answer('renew', answer);
    assert.equal(driver.role, 'standby');
  });

  test('is not prolonged by a renewal that changed nothing', () => {
    const driver = new Driver().serve();
    const endMs = tenureEndMs(driver);
    driver.pass(500);
    const { basis } = driver.last('renew');
    driver.succeed('renew', { resourceVersion: basis.resourceVersion });
    assert.equal(tenureEndMs(driver), endMs);
  });
});

describe('a renewal', () => {
  test('is sent once in every interval, one at a time, conditional on the record it knows', () => {
    const driver = new Driver().serve().pass(499);
    assert.deepEqual(driver.types(), []);
    driver.pass(1);
    assert.deepEqual(driver.types(), ['renew']);
    driver.pass(400);
    assert.deepEqual(driver.types(), ['renew']);
    driver.succeed('renew').pass(100);
    assert.deepEqual(driver.types(), ['renew', 'renew']);
  });

  test('is waited for no longer than 0.6 s, and never longer than the tenure lasts', () => {
    const driver = new Driver().serve().pass(500);
    assert.equal(driver.last('renew').timeoutMs, 600);
    const trouble = { is: 'unknown', message: 'time-out', retryAfterMs: null } as const;
    driver.pass(600).answer('renew', trouble).pass(600).answer('renew', trouble);
    const { timeoutMs, notAfterMs } = driver.last('renew');
    assert.equal(timeoutMs, 300);
    assert.equal(notAfterMs, tenureEndMs(driver));
  });

  test('that met a conflict is followed at once by a consistent read, and by another renewal if the term still stands', () => {
    const driver = new Driver().serve().pass(500).answer('renew', { is: 'conflict' });
    assert.deepEqual(driver.types(), ['renew', 'read']);
    driver.answerRead(own(driver, { resourceVersion: '4711' }));
    assert.deepEqual(driver.types(), ['renew', 'read', 'renew']);
    assert.equal(driver.last('renew').basis.resourceVersion, '4711');
  });

  test('that met a conflict is followed at once by a read, however many time-outs came before', () => {
    const driver = new Driver({ leaseDurationMs: 60_000, renewDeadlineMs: 40_000, renewIntervalMs: 10_000 }).serve().pass(10_000);
    const unknown = { is: 'unknown', message: 'no answer', retryAfterMs: null } as const;
    for (let timeouts = 0; timeouts < 5; timeouts += 1) driver.answer('renew', unknown).pass(600);
    driver.answer('renew', { is: 'conflict' });
    assert.equal(driver.contender.request?.kind, 'read');
  });

  test('that keeps meeting conflicts is not repeated without a pause', () => {
    const driver = new Driver().serve().pass(500).forget();
    driver.give({ type: 'lease-written', request: driver.contender.request?.id ?? 0, outcome: { is: 'conflict' } });
    for (let round = 0; round < 20 && driver.contender.request !== null; round += 1) {
      if (driver.contender.request.kind === 'renew') driver.answer('renew', { is: 'conflict' });
      else driver.answerRead(own(driver, { resourceVersion: `v${round}` }));
    }
    assert.ok(driver.all('renew').length <= 4, `${driver.all('renew').length} renewals at one instant`);
  });

  for (const [what, sight, reason] of [
    ['names another holder', record({ holder: OTHER, transitions: 2 }), 'node-b holds the Lease now'],
    ['names it in another term', record({ holder: ME, transitions: 9 }), 'the Lease was changed by somebody else'],
    ['is another Lease', record({ holder: ME, transitions: 1, uid: 'uid-2' }), 'the Lease was changed by somebody else'],
    ['is empty', record({ holder: '', transitions: 1 }), 'the Lease was emptied by somebody else'],
    ['is gone', 'absent', 'the Lease was deleted'],
  ] as const) {
    test(`whose conflict turns out to be that the record ${what} ends the term at once`, () => {
      const driver = new Driver().serve().pass(500).answer('renew', { is: 'conflict' }).answerRead(sight);
      assert.equal(driver.role, 'standby');
      assert.equal(driver.lastTransition().reason, reason);
      assert.equal(driver.address().is, 'lingering');
    });
  }

  test('to a Lease that is missing is followed by a read before the term ends', () => {
    const driver = new Driver().serve().pass(500).answer('renew', { is: 'missing' });
    assert.deepEqual(driver.types(), ['renew', 'read']);
    assert.equal(driver.answerRead('absent').role, 'standby');
  });

  test('that failed quickly is tried again after a short pause that grows', () => {
    const driver = new Driver().serve().pass(500);
    const trouble = { is: 'unavailable', message: '503', retryAfterMs: null } as const;
    const pauses: number[] = [];
    for (let round = 0; round < 4; round += 1) {
      driver.answer('renew', trouble).forget();
      const before = driver.nowMs;
      while (driver.all('renew').length === 0) driver.pass(1);
      pauses.push(driver.nowMs - before);
    }
    assert.deepEqual(pauses.slice(0, 3), [100, 200, 400]);
    assert.deepEqual(driver.incidents(), [], 'the trouble was reported once, before');
    driver.succeed('renew').pass(500).answer('renew', trouble).forget().pass(100);
    assert.equal(driver.all('renew').length, 1, 'and begins with the shortest again after a good one');
  });

  test('that a busy server put off is tried once more before the tenure ends', () => {
    const driver = new Driver().serve().pass(500).answer('renew', { is: 'throttled', message: '429', retryAfterMs: 60_000 }).forget();
    const endMs = tenureEndMs(driver);
    driver.pass(endMs - driver.nowMs - 1);
    assert.equal(driver.all('renew').length, 1);
  });

  test('is followed by a look at the interface', () => {
    const driver = new Driver().serve().pass(500).forget();
    driver.give({
      type: 'lease-written',
      request: driver.contender.request?.id ?? 0,
      outcome: { is: 'written', record: own(driver, { resourceVersion: 'x' }) },
    });
    assert.equal(driver.all('look').length, 1);
  });
});

describe("a watch's word", () => {
  test('that another holds the Lease ends nothing, but causes a consistent read', () => {
    const driver = new Driver().serve().give({ type: 'lease-seen', sight: record({ transitions: 2 }) });
    assert.equal(driver.role, 'serving');
    assert.deepEqual(driver.types(), ['read']);
    driver.answerRead(own(driver));
    assert.equal(driver.role, 'serving');
  });

  test('that repeats what the holder itself wrote causes nothing', () => {
    const driver = new Driver().serve();
    driver.give({ type: 'lease-seen', sight: own(driver) });
    assert.deepEqual(driver.types(), []);
  });

  test('that comes while a renewal is under way is looked into after it', () => {
    const driver = new Driver().serve().pass(500).give({ type: 'lease-seen', sight: 'absent' });
    assert.deepEqual(driver.types(), ['renew']);
    driver.succeed('renew');
    assert.deepEqual(driver.types(), ['renew', 'read']);
  });
});

describe('a holder that cannot serve', () => {
  test('marks its record at once and goes on holding', () => {
    const driver = new Driver().serve().pass(100).unhealthy();
    assert.deepEqual(driver.types(), ['renew']);
    const { relief } = driver.last('renew').marks;
    assert.equal(relief?.cause, 'unhealthy');
    assert.match(relief.reason, /connection refused/);
    driver.succeed('renew');
    assert.equal(driver.role, 'serving');
  });

  test('steps down for the candidate that asks, and says for whom and why', () => {
    const driver = new Driver().serve().unhealthy().succeed('renew');
    const { life } = driver.contender;
    assert.ok(life.is === 'holding');
    const asked = own(driver, { resourceVersion: '4711' }, { ask: { term: life.office.term, by: OTHER } });
    driver.give({ type: 'lease-seen', sight: asked }).forget();
    driver.give({ type: 'lease-read', request: driver.contender.request?.id ?? 0, outcome: { is: 'read', sight: asked } });
    assert.equal(driver.role, 'stepping-down');
    assert.match(driver.lastTransition().reason, /^node-b offered to take over, because .*connection refused/);
  });

  test('does not step down for an ask that is about another term', () => {
    const driver = new Driver().serve().unhealthy().succeed('renew');
    const stale = own(driver, {}, { ask: { term: { uid: 'uid-1', transitions: 0, holder: ME }, by: OTHER } });
    driver.pass(500).answer('renew', { is: 'conflict' }).answerRead(stale);
    assert.equal(driver.role, 'serving');
  });

  test('withdraws its wish at once when it can serve again', () => {
    const driver = new Driver().serve().unhealthy().succeed('renew').forget().healthy();
    assert.deepEqual(driver.types(), ['renew']);
    assert.equal(driver.last('renew').marks.relief, null);
  });

  test('says what is wrong now, when that changes, without a new wish', () => {
    const driver = new Driver().serve().unhealthy('answered 503').succeed('renew').forget();
    driver.unhealthy('connection refused').pass(500);
    assert.equal(driver.last('renew').marks.relief?.reason, 'connection refused');
    assert.deepEqual(driver.incidents(), []);
  });

  test('holds on loudly when nobody asks', () => {
    const driver = new Driver().serve().unhealthy().succeed('renew').serveOn(95_000);
    assert.equal(driver.role, 'serving');
    assert.equal(driver.incidents().filter((event) => event === 'unrelieved').length, 3);
  });

  test('steps down after a lease duration when nobody asks and it is told to release', () => {
    const driver = new Driver({ whenAllUnhealthy: 'release' }).serve().unhealthy().succeed('renew').serveOn(2_900);
    assert.equal(driver.role, 'serving');
    driver.serveOn(200);
    assert.equal(driver.role, 'stepping-down');
  });

  test('asks to be relieved when its interface loses its carrier', () => {
    const driver = new Driver().serve().looked({ problem: 'the interface eth0 has no carrier' });
    assert.equal(driver.last('renew').marks.relief?.reason, 'the interface eth0 has no carrier');
  });
});

test('every change of role is reported once, with its reason, its term and how long the role before it lasted', () => {
  const driver = new Driver().serve().pass(500).answer('renew', { is: 'missing' }).freeze(250).answerRead('absent');
  const { from, to, reason, term, elapsedMs } = driver.lastTransition();
  assert.deepEqual({ from, to, reason, elapsedMs }, { from: 'serving', to: 'standby', reason: 'the Lease was deleted', elapsedMs: 750 });
  assert.equal(term?.transitions, 1);
  assert.deepEqual(driver.transitions(), ['serving → standby']);
});

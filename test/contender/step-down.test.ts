import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NO_MARKS } from '../../agent/contender/lease.ts';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { Driver, ME, neverHeld, OTHER, record, released, term } from './driver.ts';

const WHY = 'an operator has asked for a step down';

const plan = (driver: Driver, waitMs: number | null = 10_000): Driver =>
  driver.give({ type: 'step-down-requested', reason: WHY, untilMs: waitMs === null ? null : driver.nowMs + waitMs });

/** Another candidate asks, and the holder learns of it with its next renewal. */
function asked(driver: Driver): Driver {
  const { life } = driver.contender;
  assert.ok(life.is === 'holding');
  return driver.succeed('renew', { marks: { ...NO_MARKS, ask: { term: life.office.term, by: OTHER } } });
}

function own(driver: Driver): LeaseRecord {
  const { life } = driver.contender;
  assert.ok(life.is === 'stepping-down');
  return record({ ...life.term, resourceVersion: '4711' });
}

describe('a holder that an operator asks to step down', () => {
  test('marks its record at once and goes on serving until another one asks', () => {
    const driver = plan(new Driver().serve());
    const { relief } = driver.last('renew').marks;
    assert.deepEqual([relief?.cause, relief?.reason], ['planned', WHY]);
    driver.succeed('renew').serveOn(5_000);
    assert.equal(driver.role, 'serving');
    assert.deepEqual(driver.all('release'), []);
  });

  test('steps down in order for the one that asks, stays a candidate, and says in the Lease why it went', () => {
    const driver = asked(plan(new Driver().serve()));
    assert.equal(driver.role, 'stepping-down');
    driver.answerRead(own(driver));
    const { marks } = driver.last('release');
    assert.equal(marks.reason?.reason, `node-b offered to take over, because ${WHY}`);
    assert.deepEqual(marks.reason?.term, marks.released);
    driver.succeed('release');
    assert.equal(driver.role, 'standby');
    assert.equal(driver.address().is, 'lingering');
  });

  test('stands back, so that another one takes it, and takes it back when nobody does', () => {
    const driver = asked(plan(new Driver().serve()));
    const lease = own(driver);
    const ask = { term: { uid: lease.uid, transitions: lease.transitions, holder: lease.holder }, by: OTHER };
    driver
      .answerRead({ ...lease, marks: { ...NO_MARKS, ask } })
      .succeed('release')
      .forget()
      .pass(3_200);
    assert.deepEqual(driver.all('acquire'), []);
    driver.pass(200);
    assert.equal(driver.all('acquire').length, 1);
  });

  test('goes on when nobody has asked in time, and takes its mark back', () => {
    const driver = plan(new Driver().serve(), 1_000).succeed('renew').serveOn(1_200);
    assert.equal(driver.role, 'serving');
    assert.equal(driver.last('renew').marks.relief, null);
    assert.ok(driver.incidents().includes('relief-withdrawn'));
  });

  test('told to do it at once it waits for nobody, and stands back all the same', () => {
    const driver = plan(new Driver().serve(), null);
    assert.equal(driver.role, 'stepping-down');
    driver.answerRead(own(driver)).succeed('release').forget().pass(2_900);
    assert.deepEqual(driver.all('acquire'), []);
    driver.pass(200);
    assert.equal(driver.all('acquire').length, 1);
  });

  test('on L2 unbinds, sees it done, and releases only then', () => {
    const driver = plan(new Driver({ kind: 'l2', worstMoveMs: 0 }).serve(), null);
    assert.deepEqual(driver.types(), ['unbind']);
    driver.unbound();
    assert.deepEqual(driver.types(), ['unbind', 'read']);
  });

  test('is still nobody’s fault: its address is held over when the API falls silent meanwhile', () => {
    const driver = plan(new Driver({ onApiLoss: 'hold' }).serve(), 60_000).succeed('renew');
    for (let round = 0; round < 100 && driver.role === 'serving'; round += 1) {
      driver.pass(50);
      const { request } = driver.contender;
      const trouble = { is: 'unreachable', message: 'x', retryAfterMs: null } as const;
      if (request?.kind === 'renew') driver.answer('renew', trouble);
    }
    assert.equal(driver.role, 'holding-over');
  });

  test('does not count it as a failure of its own', () => {
    const driver = asked(plan(new Driver().serve()));
    assert.deepEqual([driver.contender.standBack.healthFailures, driver.contender.standBack.claimFailures], [0, 0]);
  });

  test('says of a probe that fails meanwhile that it fails', () => {
    const driver = plan(new Driver().serve()).succeed('renew').unhealthy();
    assert.equal(driver.last('renew').marks.relief?.cause, 'unhealthy');
  });
});

test('who does not hold the Lease has nothing to give up', () => {
  for (const driver of [new Driver(), new Driver().standBy(), new Driver().standBy(released())]) {
    const before = driver.contender.life;
    driver.forget();
    plan(driver, null);
    assert.equal(driver.contender.life.is, before.is);
    assert.deepEqual(driver.all('release'), []);
  }
});

test('a healthy candidate asks a holder that wants to step down', () => {
  const driver = new Driver().standBy(record({}, { relief: { term: term(), cause: 'planned', reason: WHY } }));
  assert.deepEqual(driver.last('ask').marks.ask, { term: term(), by: ME });
});

describe('why the Lease moved last', () => {
  const reasonAfter = (sight: LeaseRecord): string | undefined =>
    new Driver().standBy(sight).pass(4_000).answerRead(sight).last('acquire').marks.reason?.reason;

  test('is written by who takes it, in the words of the one that has let go', () => {
    const lease = released();
    const left = { term: lease.marks.released ?? term(), reason: 'asked to end by SIGTERM' };
    assert.equal(
      new Driver().standBy({ ...lease, marks: { ...lease.marks, reason: left } }).last('acquire').marks.reason?.reason,
      'node-b: asked to end by SIGTERM',
    );
  });

  test('is that the holder gave no sign of life, where it has said nothing', () => {
    assert.equal(
      reasonAfter(record({}, { reason: { term: term(), reason: 'of an earlier move' } })),
      'node-b has not renewed the Lease for its whole duration',
    );
  });

  test('is never what was said of another term', () => {
    const lease = released();
    const left = { term: term({ transitions: 6 }), reason: 'asked to end by SIGTERM' };
    const driver = new Driver().standBy({ ...lease, marks: { ...lease.marks, reason: left } });
    assert.equal(driver.last('acquire').marks.reason?.reason, 'node-b released the Lease');
  });

  test('names the term that begins with it', () => {
    const driver = new Driver().standBy(released());
    const { marks, transitions } = driver.last('acquire');
    assert.deepEqual(marks.reason?.term, { uid: 'uid-1', transitions, holder: ME });
    assert.deepEqual(new Driver().standBy('absent').pass(3_000).answerRead('absent').last('create').marks.reason?.term, {
      uid: '',
      transitions: 1,
      holder: ME,
    });
  });

  test('is not written again with every renewal', () => {
    const driver = new Driver().serve().serveOn(2_000);
    assert.ok(!('reason' in driver.last('renew').marks));
    assert.equal(neverHeld().marks.reason, null);
  });
});

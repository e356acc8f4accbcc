import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { ADDRESS, Driver, ME, released, OTHER, record } from './driver.ts';

function own(driver: Driver, fields: Partial<LeaseRecord> = {}): LeaseRecord {
  const { life } = driver.contender;
  assert.ok(life.is === 'stepping-down');
  return record({ ...life.term, resourceVersion: '4711', ...fields });
}

function shutdown(driver: Driver): Driver {
  return driver.give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
}

describe('a holder that is asked to end', () => {
  test('reads the Lease afresh, releases its own term with that read, lingers until clients have moved, and stops', () => {
    const driver = shutdown(new Driver().serve());
    assert.deepEqual(driver.types(), ['read']);
    driver.answerRead(own(driver));
    const { basis, marks } = driver.last('release');
    assert.deepEqual(basis, { uid: 'uid-1', resourceVersion: '4711' });
    assert.deepEqual(marks.released, { uid: 'uid-1', transitions: 1, holder: ME });
    driver.succeed('release');
    assert.equal(driver.role, 'leaving');
    assert.equal(driver.all('unbind').length, 0);
    driver.pass(200).ownerIs({ is: 'other', name: 'server 2' }).pass(100).ownerIs({ is: 'other', name: 'server 2' }).unbound();
    assert.equal(driver.role, 'stopped');
    assert.equal(driver.all('stop').length, 1);
  });

  test('cancels the claim under way before anything else', () => {
    const driver = shutdown(new Driver().acquire().bound().forget());
    assert.deepEqual(driver.types(), ['cancel-claim', 'read']);
  });

  test('lets a renewal under way settle for a moment, and calls it off if it does not', () => {
    const settled = shutdown(new Driver().serve().pass(500));
    assert.deepEqual(settled.types(), ['renew']);
    assert.deepEqual(settled.succeed('renew').types(), ['renew', 'read']);
    const aborted = shutdown(new Driver().serve().pass(500)).pass(50);
    assert.deepEqual(aborted.types(), ['renew', 'abort-request', 'read']);
  });

  test('writes nothing when the fresh read shows that the Lease has gone to another', () => {
    const driver = shutdown(new Driver().serve());
    driver.answerRead(record({ holder: OTHER, transitions: 2 }));
    assert.deepEqual(driver.all('release'), []);
    assert.equal(driver.role, 'leaving');
  });

  test('writes nothing when the fresh read shows a term of its own that is not this one', () => {
    const driver = shutdown(new Driver().serve());
    driver.answerRead(own(driver, { transitions: 3 }));
    assert.deepEqual(driver.all('release'), []);
  });

  test('reads again when its release met a conflict, and releases only what is still its own', () => {
    const driver = shutdown(new Driver().serve());
    driver
      .answerRead(own(driver))
      .answer('release', { is: 'conflict' })
      .answerRead(own(driver, { resourceVersion: '4712' }));
    assert.deepEqual(
      driver.all('release').map(({ basis }) => basis.resourceVersion),
      ['4711', '4712'],
    );
    driver.answer('release', { is: 'conflict' }).answerRead(record({ transitions: 2 }));
    assert.equal(driver.all('release').length, 2);
  });

  test('gives a release up after two seconds and leaves the Lease to run out', () => {
    const driver = shutdown(new Driver().serve());
    for (let round = 0; round < 100 && driver.role === 'stepping-down'; round += 1) {
      if (driver.contender.request !== null) driver.answerRead({ is: 'unreachable', message: 'connection refused', retryAfterMs: null });
      driver.pass(50);
    }
    assert.equal(driver.role, 'leaving');
    assert.ok(driver.incidents().includes('release-failed'));
  });

  test('ends at the longest time for a move, when nobody takes over', () => {
    const driver = shutdown(new Driver().serve());
    driver.answerRead(own(driver)).succeed('release').pass(30_000).unbound();
    assert.equal(driver.role, 'stopped');
  });

  test('releases an acquisition that was still under way if it turns out to have succeeded', () => {
    const driver = shutdown(new Driver().standBy(released())).pass(50);
    driver.answerRead(own(driver));
    assert.equal(driver.all('release').length, 1);
  });

  test('releases a Lease that it was still creating', () => {
    const driver = new Driver().standBy('absent').pass(3_000).answerRead('absent');
    shutdown(driver)
      .pass(50)
      .answerRead(own(driver, { uid: 'made-by-the-server' }));
    assert.equal(driver.last('release').marks.released?.uid, 'made-by-the-server');
  });
});

describe('a candidate that is asked to end', () => {
  test('ends at once', () => {
    const driver = shutdown(new Driver().standBy());
    assert.deepEqual(driver.types(), ['read', 'stop']);
    assert.deepEqual(driver.transitions().slice(-1), ['standby → stopped']);
    assert.equal(driver.lastTransition().reason, 'asked to end by SIGTERM');
  });

  test('releases a term that it lost in silence but that the Lease still names', () => {
    const driver = shutdown(new Driver().serve().pass(2_000)).pass(50);
    driver.answerRead(own(driver)).succeed('release');
    assert.equal(driver.all('release').length, 1);
    assert.equal(driver.role, 'leaving');
  });

  test('releases a term that it asked for without learning whether it was granted', () => {
    const driver = new Driver().standBy(released()).answer('acquire', { is: 'unknown', message: 'time-out', retryAfterMs: null });
    shutdown(driver).pass(50);
    driver.answerRead(own(driver)).succeed('release');
    assert.equal(driver.role, 'stopped');
  });

  test('releases nothing when a read has shown that its write was not carried out', () => {
    const driver = new Driver().standBy(released()).answer('acquire', { is: 'unknown', message: 'time-out', retryAfterMs: null });
    driver.pass(100).answerRead(record()).forget();
    assert.deepEqual(shutdown(driver).types(), ['stop']);
  });

  test('waits for what still lingers', () => {
    const driver = new Driver().serve().pass(2_000).answerRead(record());
    shutdown(driver);
    assert.equal(driver.role, 'leaving');
    driver.pass(30_000).unbound();
    assert.equal(driver.role, 'stopped');
  });

  test('leaves to its lifetime what an earlier agent bound', () => {
    const driver = new Driver().standBy().looked({ addresses: { [ADDRESS]: { is: 'ours', remainingMs: 30_000 } } });
    assert.equal(shutdown(driver).role, 'stopped');
    assert.equal(driver.all('unbind').length, 0);
  });
});

describe('on L2 a holder that steps down', () => {
  const l2 = { kind: 'l2', worstMoveMs: 0 } as const;

  test('unbinds first, and touches the Lease only when it has seen that done', () => {
    const driver = shutdown(new Driver(l2).serve());
    assert.deepEqual(driver.types(), ['unbind']);
    driver.unbound();
    assert.deepEqual(driver.types(), ['unbind', 'read']);
    driver.answerRead(own(driver)).succeed('release');
    assert.equal(driver.role, 'stopped');
  });

  test('does not release what it could not see unbound', () => {
    const driver = shutdown(new Driver(l2).serve());
    for (let round = 0; round < 30; round += 1) {
      if (driver.address().is === 'unbinding')
        driver.give({ type: 'unbind-done', address: ADDRESS, outcome: { is: 'failed', message: 'EPERM' } });
      driver.pass(100);
    }
    assert.deepEqual(driver.all('read'), []);
    assert.deepEqual(driver.all('release'), []);
    assert.ok(driver.incidents().includes('release-failed'));
  });

  test('stops all the same when an address cannot be unbound, and leaves it to its lifetime', () => {
    const driver = shutdown(new Driver(l2).serve());
    for (let round = 0; round < 100 && driver.role !== 'stopped'; round += 1) {
      if (driver.address().is === 'unbinding')
        driver.give({ type: 'unbind-done', address: ADDRESS, outcome: { is: 'failed', message: 'EPERM' } });
      driver.pass(100);
    }
    assert.equal(driver.role, 'stopped');
    assert.ok(driver.incidents().includes('address-left-behind'));
  });
});

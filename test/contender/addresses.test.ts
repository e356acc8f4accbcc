import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LeaseRecord } from '../../agent/contender/lease.ts';
import { mayWriteToProvider } from '../../agent/contender/state.ts';
import { ADDRESS, Driver, released, OTHER, record, term } from './driver.ts';

const SECOND = '2001:db8::1';
const OURS = { addresses: { [ADDRESS]: { is: 'ours', remainingMs: 30_000 } } } as const;

describe('an address on a routed provider', () => {
  test('is bound before it is claimed', () => {
    const driver = new Driver().acquire().forget();
    driver.give({ type: 'tick' });
    assert.deepEqual(driver.types(), []);
    driver.bound();
    assert.deepEqual(driver.types(), ['claim']);
    assert.equal(driver.last('claim').isFirst, true);
  });

  test('gets a kernel lifetime of the lease duration, the worst move and a margin, and is not bound after the tenure', () => {
    const driver = new Driver().acquire();
    const { untilMs, notAfterMs } = driver.last('bind');
    assert.equal(untilMs - driver.nowMs, 3_000 + 30_000 + 5_000);
    assert.equal(notAfterMs - driver.nowMs, 2_000);
  });

  test('counts as served only when every address is bound and confirmed', () => {
    const driver = new Driver({ addresses: [ADDRESS, SECOND] }).acquire().bound(ADDRESS).bound(SECOND);
    assert.equal(driver.all('claim').length, 2, 'both are claimed at the same time');
    driver.claimed(ADDRESS);
    assert.equal(driver.role, 'claiming');
    driver.claimed(SECOND);
    assert.equal(driver.role, 'serving');
  });

  test('is verified 2, 5 and 15 s after its claim, and then once in every interval', () => {
    const driver = new Driver().serve();
    const startMs = driver.nowMs;
    const readsAtMs: number[] = [];
    while (readsAtMs.length < 5) {
      driver.serveOn(50);
      if (driver.all('verify-owner').length === 0) continue;
      readsAtMs.push(driver.nowMs - startMs);
      driver.ownerIs({ is: 'self' }).forget();
    }
    assert.deepEqual(readsAtMs, [2_000, 5_000, 15_000, 45_000, 75_000]);
  });

  test('is claimed again only when three reads in a row show another owner', () => {
    const served = new Driver().serve().serveOn(2_000);
    served.ownerIs({ is: 'other', name: 'server 2' }).serveOn(300).ownerIs({ is: 'other', name: 'server 2' });
    served.serveOn(300).ownerIs({ is: 'self' }).serveOn(5_000);
    assert.equal(served.all('claim').length, 0, 'two wrong reads and a right one are nothing');
    served.ownerIs({ is: 'nobody' }).serveOn(300);
    assert.equal(served.all('claim').length, 0, 'and what came before the right one does not count any more');
    served
      .ownerIs({ is: 'self' })
      .serveOn(30_000)
      .ownerIs({ is: 'nobody' })
      .serveOn(300)
      .ownerIs({ is: 'other', name: 'server 2' })
      .serveOn(300)
      .ownerIs({ is: 'nobody' });
    assert.equal(served.all('claim').length, 1);
    assert.equal(served.last('claim').isFirst, false);
    assert.ok(served.incidents().includes('owner-drifted'));
  });

  test('is not claimed because the provider cannot be asked', () => {
    const driver = new Driver().serve().serveOn(2_000);
    for (let round = 0; round < 10; round += 1) driver.ownerIs({ is: 'unknown', message: 'time-out' }).serveOn(6_000);
    assert.equal(driver.all('claim').length, 0);
    assert.equal(driver.role, 'serving');
    driver.forget().ownerIs({ is: 'self' });
    assert.deepEqual(driver.incidents(), ['owner-known'], 'and the end of it is told');
  });

  test('is put back when somebody removes it', () => {
    const driver = new Driver().serve().pass(500).succeed('renew').looked();
    assert.equal(driver.all('bind').length, 1);
    assert.deepEqual(driver.incidents(), ['address-repaired']);
    assert.equal(driver.role, 'serving');
  });

  for (const kind of ['routed', 'l2'] as const) {
    test(`that cannot be put back makes the holder ask for relief (${kind})`, () => {
      const driver = new Driver({ kind }).serve().pass(500).succeed('renew').looked();
      driver.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'IPv6 is switched off there' } });
      assert.equal(driver.last('renew').marks.relief?.cause, 'unhealthy');
      assert.match(driver.last('renew').marks.relief?.reason ?? '', /cannot be bound: IPv6 is switched off there/);
      driver.succeed('renew').looked().bound().lookedBound();
      assert.deepEqual(driver.incidents(), ['address-repaired', 'bind-failed', 'relief-wanted', 'relief-withdrawn']);
    });
  }

  test('that could not be refreshed but is still there is tried again, without troubling anybody', () => {
    const driver = new Driver().serve().pass(500).succeed('renew').lookedBound(1_000);
    driver
      .give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'EAGAIN' } })
      .forget()
      .lookedBound(35_000);
    assert.equal(driver.all('bind').length, 1, 'though its lifetime would do');
    driver.bound().lookedBound();
    assert.equal(driver.all('bind').length, 1);
    assert.deepEqual(driver.incidents(), []);
  });

  test('that an administrator makes their own is used, and left where it is at the end', () => {
    const foreign = { addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'eth0' } } } as const;
    const driver = new Driver().serve().looked(foreign).pass(2_000).looked();
    assert.equal(driver.address().is, 'lingering');
    driver.pass(30_000);
    assert.deepEqual(driver.all('bind').length + driver.all('unbind').length, 0);
  });

  test('is refreshed before its lifetime runs down, and not at every look', () => {
    const driver = new Driver().serve().lookedBound(36_000);
    assert.equal(driver.all('bind').length, 0);
    driver.lookedBound(35_000);
    assert.equal(driver.all('bind').length, 1);
  });

  test("that an administrator configured is used and never touched, also not when the agent's term ends", () => {
    const driver = new Driver().acquire().give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'foreign', interfaceName: 'lo' } });
    driver
      .claimed()
      .looked({ addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'lo' } } })
      .forget();
    assert.equal(driver.role, 'serving');
    driver.give({ type: 'shutdown', reason: 'SIGTERM' }).pass(40_000);
    assert.deepEqual(driver.all('bind').concat(driver.all('unbind') as never), []);
  });

  test('that cannot be bound is not claimed, is tried again, and makes the holder ask for relief', () => {
    const driver = new Driver().acquire().forget();
    driver.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'IPv6 is switched off there' } });
    assert.deepEqual(driver.types(), ['renew']);
    assert.match(driver.last('renew').marks.relief?.reason ?? '', /IPv6 is switched off there/);
    driver.succeed('renew').pass(1_000);
    assert.equal(driver.all('bind').length, 1);
    assert.equal(driver.all('claim').length, 0);
  });
});

describe('a first claim', () => {
  test('that fails for good lets another try at once, and the record says who has failed', () => {
    const driver = new Driver().acquire().bound().claimFails();
    const { relief, claimFailed } = driver.last('renew').marks;
    assert.equal(relief?.cause, 'claim-failed');
    assert.deepEqual(claimFailed, ['node-a']);
    assert.equal(driver.role, 'claiming', 'but nobody is left without a holder');
  });

  test('that keeps failing is made again with growing pauses', () => {
    const driver = new Driver().acquire().bound();
    const pauses: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const failedAtMs = driver.claimFails(false).forget().nowMs;
      while (driver.all('claim').length === 0) driver.serveOn(50);
      pauses.push(driver.nowMs - failedAtMs);
    }
    assert.deepEqual(pauses, [1_000, 2_000, 4_000]);
  });

  test('that succeeds in the end clears the list of those who failed', () => {
    const driver = new Driver().acquire().bound().claimFails(false).succeed('renew').serveOn(1_000).claimed().forget().serveOn(600);
    assert.deepEqual(driver.last('renew').marks, { ...driver.last('renew').marks, relief: null, claimFailed: [] });
  });

  test('is not what a confirmed owner loses its office for', () => {
    const driver = new Driver().serve().serveOn(2_000);
    for (let round = 0; round < 3; round += 1) driver.ownerIs({ is: 'other', name: 'server 2' }).serveOn(300);
    driver.claimFails().serveOn(5_000);
    assert.ok(driver.all('renew').every(({ marks }) => marks.relief === null));
  });

  test('waits while healthier nodes may offer relief, once this one has turned unhealthy', () => {
    const driver = new Driver().acquire().unhealthy().bound().forget().serveOn(2_900);
    assert.equal(driver.all('claim').length, 0);
    driver.serveOn(200);
    assert.equal(driver.all('claim').length, 1, 'nobody came: somebody must hold');
  });

  test('of a node that is on the list is left to others until its pause is over', () => {
    const relief = { term: term(), cause: 'claim-failed', reason: 'no' } as const;
    const wanting = (beat: number): LeaseRecord => record({ renewTime: `beat-${beat}` }, { relief, claimFailed: ['node-b', 'node-a'] });
    const driver = new Driver().acquire().bound().claimFails().succeed('renew');
    const { life } = driver.contender;
    assert.ok(life.is === 'holding');
    const { term: own, basis } = life.office;
    const asked = record({ ...own, ...basis, resourceVersion: 'x' }, { ask: { term: own, by: OTHER } });
    driver.give({ type: 'lease-seen', sight: asked }).answerRead(asked).answerRead(asked).succeed('release').forget();
    for (let second = 0; second < 29; second += 1) driver.give({ type: 'lease-seen', sight: wanting(second) }).pass(1_000);
    assert.equal(driver.all('ask').length, 0);
    driver.give({ type: 'lease-seen', sight: wanting(29) }).pass(2_000);
    assert.equal(driver.all('ask').length, 1);
  });
});

describe('the check before each write to the provider', () => {
  test('allows the claim under way while the tenure lasts, and nothing else', () => {
    const driver = new Driver().acquire().bound();
    const { attempt } = driver.last('claim');
    const endMs = driver.nowMs + 2_000;
    assert.equal(mayWriteToProvider(driver.contender, ADDRESS, attempt, endMs - 1), true);
    assert.equal(mayWriteToProvider(driver.contender, ADDRESS, attempt, endMs), false);
    assert.equal(mayWriteToProvider(driver.contender, ADDRESS, attempt + 1, driver.nowMs), false);
    assert.equal(mayWriteToProvider(driver.contender, SECOND, attempt, driver.nowMs), false);
  });

  test('forbids it from the instant the contender steps down', () => {
    const driver = new Driver().acquire().bound();
    const { attempt } = driver.last('claim');
    driver.give({ type: 'shutdown', reason: 'SIGTERM' });
    assert.equal(mayWriteToProvider(driver.contender, ADDRESS, attempt, driver.nowMs), false);
  });

  test('forbids a first claim that a node would make which has just turned unhealthy', () => {
    const driver = new Driver().acquire().bound().unhealthy();
    assert.equal(mayWriteToProvider(driver.contender, ADDRESS, driver.last('claim').attempt, driver.nowMs), false);
  });
});

describe('after its term, an address on a routed provider', () => {
  function lost(): Driver {
    const driver = new Driver().serve().pass(2_000).forget();
    assert.equal(driver.role, 'standby');
    return driver;
  }

  test('lingers: it stays bound, and nothing is written for it', () => {
    const driver = lost().pass(10_000);
    assert.equal(driver.address().is, 'lingering');
    assert.deepEqual([...new Set(driver.types())], ['verify-owner']);
  });

  test('is unbound when two reads in a row show another owner', () => {
    const driver = lost().pass(200).ownerIs({ is: 'other', name: 'server 2' });
    assert.equal(driver.address().is, 'lingering');
    driver.pass(100).ownerIs({ is: 'other', name: 'server 2' });
    assert.equal(driver.all('unbind').length, 1);
    assert.equal(driver.unbound().address().is, 'absent');
  });

  test('is not unbound for two reads of another owner with another answer in between', () => {
    const driver = lost().pass(200).ownerIs({ is: 'other', name: 'server 2' });
    driver.pass(100).ownerIs({ is: 'self' }).pass(2_100).ownerIs({ is: 'other', name: 'server 2' });
    assert.equal(driver.all('unbind').length, 0);
  });

  test('stays while the provider still routes it here, or cannot be asked', () => {
    const driver = lost().pass(200);
    for (const owner of [{ is: 'self' }, { is: 'unknown', message: 'x' }, { is: 'nobody' }] as const) driver.ownerIs(owner).pass(2_100);
    assert.equal(driver.address().is, 'lingering');
  });

  test('is unbound when the longest time for a move is over', () => {
    const driver = lost().pass(29_999);
    assert.equal(driver.all('unbind').length, 0);
    assert.equal(driver.pass(1).all('unbind').length, 1);
    assert.ok(driver.incidents().includes('linger-expired'));
  });

  test('lingers for as long after its tenure as it may, and no longer for a freeze that hid its end', () => {
    const driver = new Driver().serve().freeze(20_000).give({ type: 'tick' });
    assert.equal(driver.pass(11_999).all('unbind').length, 0);
    assert.equal(driver.pass(1).all('unbind').length, 1);
  });

  test('does not linger at all when its office has been over for longer, and is not put back', () => {
    const driver = new Driver().serve().freeze(40_000).give({ type: 'tick' }).looked();
    assert.deepEqual([driver.all('unbind').length, driver.all('bind').length], [1, 0]);
    driver.unbound().looked().pass(1_000);
    assert.equal(driver.all('bind').length, 0);
  });

  test('is put back when somebody removes it, for no longer than it may linger', () => {
    const driver = lost().looked();
    const { untilMs, notAfterMs } = driver.last('bind');
    assert.ok(untilMs - driver.nowMs <= 31_000);
    assert.ok(notAfterMs <= untilMs);
  });

  test('is simply kept when the node takes office again', () => {
    const driver = lost()
      .answerRead(record({ holder: 'node-a_boot_0001', transitions: 1 }))
      .succeed('acquire');
    assert.equal(driver.all('bind').length, 1);
    assert.equal(driver.all('unbind').length, 0);
    assert.equal(driver.bound().last('claim').isFirst, true);
  });
});

describe('what an earlier agent on this node left bound', () => {
  test('is left to its lifetime while the provider routes it here or cannot be asked, and never refreshed', () => {
    const driver = new Driver().standBy().looked(OURS).forget();
    driver.pass(1).ownerIs({ is: 'self' }).pass(2_000).ownerIs({ is: 'unknown', message: 'x' }).pass(5_000);
    assert.equal(driver.address().is, 'leftover');
    assert.deepEqual(driver.all('bind'), []);
    assert.deepEqual(driver.all('unbind'), []);
    assert.equal(driver.looked().address().is, 'absent');
  });

  test('is swept as soon as the provider routes it elsewhere', () => {
    const driver = new Driver()
      .standBy()
      .looked(OURS)
      .ownerIs({ is: 'other', name: 'server 2' })
      .pass(100)
      .ownerIs({ is: 'other', name: 'server 2' });
    assert.equal(driver.all('unbind').length, 1);
  });

  test('is taken over when this node becomes the holder', () => {
    const driver = new Driver().looked(OURS).standBy(released()).looked(OURS).succeed('acquire');
    assert.equal(driver.all('bind').length, 1);
    assert.equal(driver.all('unbind').length, 0);
  });

  test('is swept on L2 as soon as the Lease is seen in other hands, and not before', () => {
    const driver = new Driver({ kind: 'l2' }).looked(OURS).alone();
    assert.equal(driver.all('unbind').length, 0);
    driver.give({ type: 'tick' }).answerRead(record());
    assert.equal(driver.all('unbind').length, 1);
  });

  for (const residence of ['shared', 'unsure'] as const) {
    test(`is left alone, and nothing is asked about it, while this process may not be the only one here (${residence})`, () => {
      for (const kind of ['routed', 'l2'] as const) {
        const driver = new Driver({ kind }).healthy().ready().looked(OURS).give({ type: 'residence', residence, reason: 'x' });
        driver.answerRead(record()).pass(1_000);
        assert.deepEqual([driver.all('unbind'), driver.all('verify-owner')], [[], []]);
      }
    });
  }
});

describe('an address on L2', () => {
  const l2 = { kind: 'l2', worstMoveMs: 0 } as const;

  test('serves as soon as it is bound, and nothing is claimed or verified', () => {
    const driver = new Driver(l2).acquire().probed().bound();
    assert.equal(driver.role, 'serving');
    driver.serveOn(60_000);
    assert.deepEqual(driver.all('claim').concat(driver.all('verify-owner') as never), []);
  });

  test('has a lifetime that ends before another node may start, also if the kernel is late', () => {
    const driver = new Driver(l2).acquire();
    const sentAtMs = driver.nowMs;
    driver.probed();
    assert.equal(driver.last('bind').untilMs, sentAtMs + 3_000 * 0.98 - 1_600);
  });

  test('is not bound with less than the kernel can count; the next renewal brings more', () => {
    const driver = new Driver(l2).standBy(released()).freeze(400).succeed('acquire').probed();
    assert.equal(driver.all('bind').length, 0);
    driver.pass(75).succeed('renew').probed();
    assert.equal(driver.all('bind').length, 1);
  });

  test('keeps the lifetime that it has when a look comes too long after a renewal to give it a better one', () => {
    const driver = new Driver(l2).serve().freeze(400).lookedBound(1_000).looked();
    assert.deepEqual([driver.all('bind'), driver.incidents()], [[], []]);
  });

  test('is refreshed with every renewal, counted from its sending', () => {
    const driver = new Driver(l2).serve().pass(500);
    const { sentAtMs } = driver.contender.request ?? assert.fail();
    driver.freeze(200).succeed('renew').lookedBound(1_000);
    assert.equal(driver.last('bind').untilMs, sentAtMs + 3_000 * 0.98 - 1_600);
  });

  test('is unbound at the end of the tenure', () => {
    const driver = new Driver(l2).serve().pass(2_000);
    assert.equal(driver.all('unbind').length, 1);
  });

  test('that could not be refreshed is let go of like any other, because it may still be there', () => {
    const driver = new Driver(l2).serve().pass(500).succeed('renew').lookedBound(1_000);
    driver.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'it did not answer in time' } });
    assert.deepEqual(driver.incidents(), ['bind-failed']);
    driver.forget().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    assert.deepEqual(driver.types(), ['unbind']);
  });

  test('that somebody else made their own is refused, and the holder asks for relief', () => {
    const driver = new Driver(l2).serve().looked({ addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'eth0' } } });
    assert.deepEqual(driver.incidents(), ['bind-failed', 'relief-wanted']);
    assert.match(driver.last('renew').marks.relief?.reason ?? '', /configured on eth0 by somebody else: remove it there/);
    // Only what had been opened for our own copy is closed: theirs is not touched.
    assert.equal(driver.all('unbind').length, 1);
  });

  test('that somebody else configured is refused', () => {
    const driver = new Driver(l2)
      .acquire()
      .probed()
      .give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'foreign', interfaceName: 'eth0' } });
    assert.equal(driver.role, 'claiming');
    assert.deepEqual(
      driver.incidents().filter((event) => event === 'bind-failed'),
      ['bind-failed'],
    );
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Owner } from '../../agent/contender/input.ts';
import { mayWriteToProvider } from '../../agent/contender/state.ts';
import { ADDRESS, Driver, ME, OTHER, record } from './driver.ts';

const SILENCE = { is: 'unreachable', message: 'connection refused', retryAfterMs: null } as const;
const ELSEWHERE = { is: 'other', name: 'server 2' } as const;

/** A holder whose every request about the Lease fails from now on, for so long. */
function silence(driver: Driver, ms: number): Driver {
  const untilMs = driver.nowMs + ms;
  while (driver.nowMs < untilMs) {
    driver.pass(Math.min(50, untilMs - driver.nowMs));
    const { request } = driver.contender;
    if (request?.kind === 'renew') driver.answer('renew', SILENCE);
    else if (request?.kind === 'read') driver.answerRead(SILENCE);
  }
  return driver;
}

/** Has served, and then the API has been silent until its tenure was over. */
function heldOver(settings: ConstructorParameters<typeof Driver>[0] = {}): Driver {
  const driver = silence(new Driver({ onApiLoss: 'hold', ...settings }).serve(), 2_100);
  assert.equal(driver.role, 'holding-over');
  return driver.forget();
}

describe('a holder whose tenure only the silence of the API has ended', () => {
  test('keeps the address, refreshes its lifetime and reads its owner often, for as long as that is this node', () => {
    const driver = heldOver().lookedBound(1_000);
    const lifetimeMs = driver.last('bind').untilMs - driver.nowMs;
    assert.equal(lifetimeMs, 38_000);
    for (let minute = 0; minute < 10; minute += 1) {
      silence(driver.forget(), 60_000).ownerIs({ is: 'self' });
      assert.equal(driver.role, 'holding-over');
    }
    assert.deepEqual([driver.all('unbind'), driver.all('claim')], [[], []]);
    assert.ok(silence(driver.forget(), 2_100).all('verify-owner').length >= 1);
  });

  test('leaves a lifetime that is long enough as it is, and an administrator’s own copy in any case', () => {
    assert.deepEqual(heldOver().lookedBound(37_000).all('bind'), []);
    const foreign = { addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'lo' } } } as const;
    const used = heldOver().lookedBound(1_000);
    used.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'foreign', interfaceName: 'lo' } }).forget();
    assert.deepEqual(used.looked(foreign).all('bind'), []);
    assert.deepEqual(used.unhealthy().all('unbind'), []);
  });

  test('may not write to the provider', () => {
    const driver = heldOver();
    for (let attempt = 0; attempt < 20; attempt += 1)
      assert.equal(mayWriteToProvider(driver.contender, ADDRESS, attempt, driver.nowMs), false);
  });

  test('keeps it while the provider cannot be asked, either', () => {
    const driver = silence(heldOver().ownerIs({ is: 'unknown', message: 'x' }), 100_000);
    assert.equal(driver.address().is, 'held-over');
  });

  for (const [what, owner] of [
    ['to another server', ELSEWHERE],
    ['nowhere', { is: 'nobody' }],
  ] as const) {
    test(`takes it off when two reads in a row show that it is routed ${what}`, () => {
      const driver = heldOver().ownerIs(owner);
      assert.deepEqual(driver.all('unbind'), []);
      silence(driver, 150).ownerIs(owner);
      assert.equal(driver.all('unbind').length, 1);
      assert.ok(driver.incidents().includes('holdover-ended'));
    });
  }

  test('takes it off while the node is unhealthy, and puts it back when it is well and still routed here', () => {
    const driver = heldOver();
    assert.equal(driver.unhealthy().all('unbind').length, 1);
    silence(driver, 5_000).ownerIs({ is: 'self' });
    assert.deepEqual(driver.all('bind'), []);
    silence(driver.healthy(), 2_100);
    assert.deepEqual(driver.all('bind'), []);
    assert.equal(driver.ownerIs({ is: 'self' }).all('bind').length, 1);
    assert.equal(driver.role, 'holding-over');
  });

  test('takes the Lease again when the API is back and nobody else has, and goes on as if nothing had been', () => {
    const driver = silence(heldOver(), 10_000)
      .pass(600)
      .answerRead(record({ holder: ME, transitions: 1 }))
      .succeed('acquire');
    assert.equal(driver.role, 'serving');
    assert.deepEqual([driver.all('unbind'), driver.all('claim')], [[], []], 'what was confirmed need not be claimed again');
    assert.equal(driver.all('bind').length, 1);
    assert.equal(driver.all('verify-owner').length, 1, 'it is only verified, at once');
  });

  test('goes on when its own late renewal has come before its attempt to take the Lease again', () => {
    const own = record({ holder: ME, transitions: 1 });
    const driver = silence(heldOver(), 10_000).pass(600).answerRead(own).answer('acquire', { is: 'conflict' });
    driver.answerRead({ ...own, resourceVersion: '101', renewTime: 'late' });
    assert.equal(driver.role, 'acquiring');
    assert.equal(driver.address().is, 'held-over');
    driver.answer('acquire', { is: 'unknown', message: 'no answer', retryAfterMs: null }).pass(200).answerRead(own);
    assert.equal(driver.address().is, 'held-over', 'nor does a write of which nobody knows what became');
  });

  test('holds it over again when the API is back for a moment only, and the provider cannot be asked', () => {
    const driver = silence(heldOver().ownerIs({ is: 'unknown', message: 'x' }), 10_000).pass(600);
    driver.answerRead(record({ holder: ME, transitions: 1 })).succeed('acquire');
    assert.equal(silence(driver, 2_100).address().is, 'held-over');
  });

  test('asks for the Lease quickly at first and then as often as it would renew, even where it is refused', () => {
    const driver = heldOver();
    const refused = { is: 'refused', message: '403', retryAfterMs: null } as const;
    let asked = 0;
    for (const endMs = driver.nowMs + 30_000; driver.nowMs < endMs; driver.pass(10)) {
      if (driver.contender.request?.kind !== 'read') continue;
      asked += 1;
      driver.answerRead(refused);
    }
    assert.ok(asked >= 60 && asked <= 75, `asked ${asked} times`);
  });

  test('reads the owner ever more rarely, and never more than a few times a second whatever it is told', () => {
    const told = [{ is: 'unknown', message: '429' }, ELSEWHERE, { is: 'unknown', message: '429' }, { is: 'self' }] as const;
    const driver = heldOver();
    let reads = 0;
    for (const endMs = driver.nowMs + 3_600_000; driver.nowMs < endMs;) {
      driver.forget();
      silence(driver, 1_000);
      for (let read = driver.all('verify-owner').length; read > 0; read -= 1) driver.ownerIs(told[reads++ % told.length] ?? ELSEWHERE);
    }
    assert.equal(driver.address().is, 'held-over');
    assert.ok(reads < 700, `${reads} reads in an hour`);
  });

  test('believes two answers that show another server, though one in between brought nothing', () => {
    const driver = heldOver().ownerIs(ELSEWHERE);
    silence(driver, 150).ownerIs({ is: 'unknown', message: '429' });
    silence(driver, 10_100).ownerIs(ELSEWHERE);
    assert.ok(driver.incidents().includes('holdover-ended'));
  });

  test('is told by the watch that another has begun a term, and reads at once', () => {
    const driver = silence(heldOver(), 10_000).give({ type: 'provider-readiness', ready: false, reason: 'the token is refused' });
    driver
      .pass(600)
      .answerRead(record({ holder: ME, transitions: 1 }))
      .forget();
    driver.give({ type: 'lease-seen', sight: record({ holder: OTHER, transitions: 2 }) });
    assert.equal(driver.all('read').length, 1);
    driver.answerRead(record({ holder: OTHER, transitions: 2 }));
    assert.equal(driver.address().is, 'lingering');
  });

  test('goes on reading while something keeps it from taking the Lease again, and does not call it vacant', () => {
    const driver = silence(heldOver(), 10_000).give({ type: 'provider-readiness', ready: false, reason: 'the token is refused' });
    driver
      .pass(600)
      .answerRead(record({ holder: ME, transitions: 1 }))
      .forget();
    for (let second = 0; second < 60; second += 1) {
      driver.pass(1_000);
      if (driver.contender.request?.kind === 'read') driver.answerRead(record({ holder: ME, transitions: 1 }));
    }
    assert.ok(driver.all('read').length >= 55);
    assert.ok(!driver.incidents().includes('vacant'));
  });

  test('says so at once, and again every minute', () => {
    const driver = silence(new Driver({ onApiLoss: 'hold' }).serve(), 2_100);
    assert.equal(driver.incidents().filter((event) => event === 'holding-over').length, 1);
    silence(driver, 180_000);
    assert.equal(driver.incidents().filter((event) => event === 'holding-over').length, 4);
  });

  test('goes on serving only until clients have moved when the API shows another term', () => {
    const driver = silence(heldOver(), 10_000)
      .pass(600)
      .answerRead(record({ holder: OTHER, transitions: 2 }));
    assert.equal(driver.role, 'standby');
    assert.equal(driver.address().is, 'lingering');
    assert.match(driver.lastTransition().reason, /node-b holds the Lease now/);
  });

  test('does so, too, when the Lease is gone', () => {
    const driver = silence(heldOver(), 10_000).pass(600).answerRead('absent');
    assert.equal(driver.address().is, 'lingering');
  });

  test('ends in order when it is asked to: it lingers, at the longest for the worst move', () => {
    const driver = silence(heldOver().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' }), 2_100);
    assert.equal(driver.address().is, 'lingering');
    silence(driver, 31_000).unbound();
    assert.equal(driver.role, 'stopped');
  });

  test('takes it off first of all when its process has stood still, then looks, and puts it back when it is still routed here', () => {
    const driver = heldOver().freeze(5_000).give({ type: 'tick' });
    assert.deepEqual(driver.types().slice(0, 2), ['unbind', 'verify-owner']);
    assert.ok(driver.incidents().includes('stalled'));
    driver.ownerIs({ is: 'self' });
    assert.equal(driver.all('bind').length, 1);
    const gone = heldOver().freeze(5_000).give({ type: 'tick' }).ownerIs(ELSEWHERE);
    silence(gone, 150).ownerIs(ELSEWHERE).unbound();
    assert.equal(gone.address().is, 'absent');
    assert.deepEqual(gone.all('bind'), []);
  });

  test('goes on trying to take it off when that has failed, and to put it back when somebody has removed it', () => {
    const off = heldOver().unhealthy().forget().lookedBound();
    assert.equal(off.all('unbind').length, 1);
    assert.equal(heldOver().looked().all('bind').length, 1);
  });

  test('keeps it in spite of a conflict that may have been its own late renewal', () => {
    const driver = new Driver({ onApiLoss: 'hold' }).serve().serveOn(450).pass(50);
    driver.answer('renew', { is: 'unknown', message: 'no answer within 600ms', retryAfterMs: null });
    driver.pass(1).answer('renew', { is: 'conflict' });
    assert.equal(silence(driver, 2_100).address().is, 'held-over');
  });
});

describe('a linger that is over', () => {
  const lingered = (owner: Owner): Driver => {
    const driver = silence(new Driver({ onApiLoss: 'hold' }).acquire().bound(), 2_500);
    assert.equal(driver.address().is, 'lingering', 'its claim was not confirmed yet');
    driver.ownerIs(owner);
    return silence(driver.forget(), 30_000);
  };

  test('becomes a holdover where the API has been silent all the time and the provider routes here', () => {
    assert.equal(lingered({ is: 'self' }).address().is, 'held-over');
  });

  test('ends where the provider has not said so', () => {
    assert.equal(lingered({ is: 'unknown', message: 'x' }).address().is, 'unbinding');
  });

  test('ends where another term has been seen', () => {
    const driver = silence(new Driver({ onApiLoss: 'hold' }).acquire().bound(), 2_500).pass(2_000);
    driver.answerRead(record({ transitions: 2 })).ownerIs({ is: 'self' });
    assert.equal(driver.pass(30_000).address().is, 'unbinding');
  });
});

describe('an address is not held over', () => {
  const isLetGo = (driver: Driver): void => assert.equal(driver.address().is, 'lingering');

  test('where that is not wanted', () => {
    isLetGo(silence(new Driver({ onApiLoss: 'release' }).serve(), 2_100));
  });

  test('on L2, where nobody says where it is routed', () => {
    const driver = silence(new Driver({ onApiLoss: 'hold', kind: 'l2', worstMoveMs: 0 }).serve(), 2_100);
    assert.equal(driver.address().is, 'unbinding');
  });

  test('when the provider has not confirmed it', () => {
    isLetGo(silence(new Driver({ onApiLoss: 'hold' }).acquire().bound(), 2_100));
  });

  test('when the last read showed another owner', () => {
    const driver = new Driver({ onApiLoss: 'hold' }).serve().serveOn(2_000).ownerIs(ELSEWHERE);
    isLetGo(silence(driver, 2_100));
  });

  test('when something spoke against the term before the silence', () => {
    const driver = new Driver({ onApiLoss: 'hold' }).serve();
    isLetGo(silence(driver.give({ type: 'lease-seen', sight: record({ transitions: 2 }) }), 2_100));
  });

  test('by a node that is unhealthy', () => {
    isLetGo(silence(new Driver({ onApiLoss: 'hold' }).serve().unhealthy(), 2_100));
  });

  test('after a freeze, in which silence proves nothing', () => {
    isLetGo(new Driver({ onApiLoss: 'hold' }).serve().freeze(5_000).give({ type: 'tick' }));
  });
});

describe('a loop that has stood still for longer than lies between one tenure and the next', () => {
  test('on L2 takes the address off before anything else, reads the Lease, and binds only then', () => {
    const driver = new Driver({ kind: 'l2', worstMoveMs: 0 }).serve().serveOn(500).forget();
    driver.freeze(1_600).give({ type: 'tick' });
    assert.deepEqual(driver.types().slice(0, 2), ['unbind', 'read']);
    driver.unbound();
    assert.deepEqual(driver.all('bind'), []);
    driver
      .answerRead(driver.contender.observation?.sight ?? 'absent')
      .succeed('renew')
      .probed();
    assert.equal(driver.all('bind').length, 1);
  });

  test('on a routed provider leaves it bound, and reads the Lease before it renews', () => {
    const driver = new Driver().serve().serveOn(500).forget();
    driver.freeze(1_600).give({ type: 'tick' });
    assert.deepEqual([driver.all('read').length, driver.all('renew').length, driver.all('unbind').length], [1, 0, 0]);
    assert.equal(driver.role, 'serving');
  });

  test('says so', () => {
    const driver = new Driver().serve().freeze(1_600).give({ type: 'tick' });
    assert.ok(driver.incidents().includes('stalled'));
  });

  test('is not made of a busy moment', () => {
    const driver = new Driver({ kind: 'l2', worstMoveMs: 0 }).serve().freeze(900).give({ type: 'tick' });
    assert.deepEqual([driver.incidents(), driver.all('unbind')], [[], []]);
  });
});

test('on L2 nothing is bound again while a standstill has not been looked into, though there would be time', () => {
  const driver = new Driver({ kind: 'l2', worstMoveMs: 0, leaseDurationMs: 10_000, renewDeadlineMs: 8_000 }).serve();
  driver.freeze(3_000).give({ type: 'tick' }).unbound();
  assert.deepEqual(driver.all('bind'), []);
  driver.answerRead(driver.contender.observation?.sight ?? 'absent').probed();
  assert.equal(driver.all('bind').length, 1);
});

test('on L2 nothing is refreshed while a watch contradicts the term', () => {
  const driver = new Driver({ kind: 'l2', worstMoveMs: 0 }).serve();
  driver.give({ type: 'lease-seen', sight: record({ transitions: 2 }) }).lookedBound(1_000);
  assert.deepEqual(driver.all('bind'), []);
});

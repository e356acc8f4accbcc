import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
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

  test('takes it off when the node turns unhealthy', () => {
    assert.equal(heldOver().unhealthy().all('unbind').length, 1);
  });

  test('takes the Lease again when the API is back and nobody else has, and the address never leaves', () => {
    const driver = heldOver();
    silence(driver, 10_000)
      .pass(600)
      .answerRead(record({ holder: ME, transitions: 1 }))
      .succeed('acquire')
      .bound()
      .claimed();
    assert.equal(driver.role, 'serving');
    assert.deepEqual(driver.all('unbind'), []);
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

  test('takes it off first of all when its process has stood still', () => {
    const driver = heldOver().freeze(5_000).give({ type: 'tick' });
    assert.equal(driver.types()[0], 'unbind');
    assert.ok(driver.incidents().includes('stalled'));
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
    driver.answerRead(driver.contender.observation?.sight ?? 'absent').succeed('renew');
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

test('on L2 nothing is refreshed while a watch contradicts the term', () => {
  const driver = new Driver({ kind: 'l2', worstMoveMs: 0 }).serve();
  driver.give({ type: 'lease-seen', sight: record({ transitions: 2 }) }).lookedBound(1_000);
  assert.deepEqual(driver.all('bind'), []);
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ADDRESS, Driver, record } from './driver.ts';

const L2 = { kind: 'l2', isFenced: true, worstMoveMs: 0 } as const;
const RIVAL = '02:00:00:00:00:99';

/** A holder whose address is bound and announced for a while already. */
const serving = (): Driver => new Driver(L2).serve().serveOn(120_000).forget();

describe('before an address is bound on a segment', () => {
  test('the segment is asked who has it, and given a moment to answer', () => {
    const driver = new Driver(L2).acquire();
    assert.deepEqual(driver.types().slice(-1), ['probe']);
    driver.forget().pass(24);
    assert.deepEqual(driver.types(), []);
    driver.pass(1).looked();
    assert.deepEqual(driver.types(), ['bind']);
  });

  test('nobody asks where a provider routes', () => {
    assert.deepEqual(new Driver().acquire().all('probe'), []);
  });

  test('an answer keeps it off: that is said with the other one’s hardware address, and asked again every second', () => {
    const driver = new Driver(L2).acquire().pass(10).forget();
    driver.looked({ rivals: { [ADDRESS]: RIVAL } });
    assert.deepEqual(driver.incidents(), ['conflict', 'relief-wanted']);
    assert.match(driver.last('report').report.kind === 'incident' ? JSON.stringify(driver.all('report')) : '', new RegExp(RIVAL));
    assert.deepEqual(driver.all('bind'), []);
    driver.forget().pass(999);
    assert.deepEqual(driver.all('probe'), []);
    driver.pass(1);
    assert.equal(driver.all('probe').length, 1);
    driver.pass(25).looked();
    assert.equal(driver.all('bind').length, 1);
  });

  test('the wish to be relieved lasts while it is asked again', () => {
    const driver = new Driver(L2).acquire();
    for (let second = 0; second < 3; second += 1) {
      driver.pass(25).looked({ rivals: { [ADDRESS]: RIVAL } });
      for (let renewal = 0; renewal < 2; renewal += 1) driver.pass(500).succeed('renew');
    }
    assert.deepEqual(
      driver.incidents().filter((event) => event !== 'conflict'),
      ['relief-wanted'],
    );
    assert.equal(driver.incidents().filter((event) => event === 'conflict').length, 3);
  });

  test('an interface that is gone meanwhile is a failure, and no look without end', () => {
    const driver = new Driver(L2).acquire().pass(25);
    driver.forget().looked({ problem: 'there is no interface eth0', isPresent: false, addresses: {} });
    assert.deepEqual(driver.types().includes('bind'), false);
    assert.ok(driver.incidents().includes('bind-failed'));
  });

  test('an office that ends while it is asked leaves nothing bound', () => {
    const driver = new Driver(L2).acquire().forget().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    driver.pass(25).looked();
    assert.deepEqual(driver.all('bind'), []);
    assert.equal(driver.address().is, 'absent');
  });
});

describe('behind a fence', () => {
  test('an address is opened for as long as no other node may start, and the kernel’s lifetime only tidies up', () => {
    const driver = new Driver(L2).acquire();
    const sentAtMs = driver.nowMs;
    driver.probed();
    const { openUntilMs, untilMs, notAfterMs } = driver.last('bind');
    assert.deepEqual([openUntilMs, untilMs, notAfterMs], [sentAtMs + 3_000 * 0.98 - 50, sentAtMs + 6_000, sentAtMs + 2_000]);
  });

  test('every renewal opens it for longer, counted from its sending', () => {
    const driver = serving().pass(500);
    const { sentAtMs } = driver.contender.request ?? assert.fail();
    driver.freeze(150).succeed('renew').lookedBound(4_000);
    assert.equal(driver.last('bind').openUntilMs, sentAtMs + 3_000 * 0.98 - 50);
  });

  test('nothing is opened where a provider routes, nor where there is no fence', () => {
    assert.equal(new Driver().acquire().last('bind').openUntilMs, null);
    assert.equal(new Driver({ ...L2, isFenced: false }).acquire().probed().last('bind').openUntilMs, null);
  });

  test('what an earlier process has left of it is closed once it is proven to be gone', () => {
    const driver = new Driver(L2);
    driver.give({ type: 'residence', residence: 'unsure', reason: 'a stranger' });
    assert.deepEqual(driver.all('sweep'), []);
    assert.equal(driver.alone().all('sweep').length, 1);
    assert.equal(driver.forget().alone().all('sweep').length, 0);
    assert.deepEqual(new Driver().alone().all('sweep'), []);
  });
});

describe('a bound address', () => {
  test('is announced at once, again within seconds, and slowly for ever', () => {
    const driver = new Driver(L2).acquire().probed().bound();
    const boundAtMs = driver.nowMs;
    const atMs: number[] = [];
    while (driver.nowMs < boundAtMs + 125_000) {
      for (const each of driver.all('announce')) atMs.push(driver.nowMs - boundAtMs + (each.address === ADDRESS ? 0 : Number.NaN));
      driver.forget().serveOn(50);
    }
    assert.deepEqual(atMs, [0, 250, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 90_000, 120_000]);
  });

  test('is announced no longer than the tenure lasts', () => {
    const driver = new Driver(L2).acquire().probed().bound();
    const { tenureEndMs } = driver.contender.life.is === 'holding' ? driver.contender.life.office : assert.fail();
    assert.equal(driver.last('announce').notAfterMs, tenureEndMs);
  });

  test('is not announced while something speaks against the term', () => {
    const driver = new Driver(L2).acquire().probed().bound().forget();
    driver.give({ type: 'lease-seen', sight: record({ transitions: 9 }) }).pass(250);
    assert.deepEqual(driver.all('announce'), []);
  });

  test('is announced anew when its cable has been out, however shortly', () => {
    const driver = serving();
    driver.lookedBound(4_000);
    const view = { addresses: { [ADDRESS]: { is: 'ours', remainingMs: 4_000 } as const } };
    driver.looked({ ...view, plugged: { [ADDRESS]: 'in' } }).forget();
    driver.looked({ ...view, plugged: { [ADDRESS]: 'in' } });
    assert.deepEqual(driver.all('announce'), []);
    driver.looked({ ...view, plugged: { [ADDRESS]: 'in again' } });
    assert.equal(driver.all('announce').length, 1);
    assert.equal(driver.forget().serveOn(500).all('announce').length, 2);
  });

  test('is not announced while it cannot be refreshed, because it may not be there', () => {
    const driver = serving().pass(500).succeed('renew').lookedBound(4_000);
    driver.give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'no' } }).forget();
    for (let look = 0; look < 3; look += 1) driver.looked();
    assert.deepEqual(driver.all('announce'), []);
  });

  test('whose announcement fails says so', () => {
    const driver = serving().give({ type: 'announce-done', address: ADDRESS, outcome: { is: 'failed', message: 'the network is down' } });
    assert.deepEqual(driver.incidents(), ['announce-failed']);
  });
});

describe('when somebody else says that a bound address is theirs', () => {
  test('it is taken off first, then the Lease is read, then the segment asked, and only then it is bound again', () => {
    const driver = serving();
    const rivals = { [ADDRESS]: RIVAL };
    driver.looked({ rivals, addresses: { [ADDRESS]: { is: 'ours', remainingMs: 4_000 } } });
    assert.deepEqual(driver.types(), ['unbind', 'read']);
    assert.deepEqual(driver.incidents(), ['conflict']);
    driver.forget().unbound().pass(50);
    assert.deepEqual(driver.types(), []);
    driver.answerRead(driver.contender.observation?.sight ?? 'absent');
    assert.deepEqual(
      driver.types().filter((type) => type !== 'renew'),
      ['probe'],
    );
    driver.forget().pass(25).looked();
    assert.deepEqual(driver.types(), ['bind']);
  });

  test('and the Lease has another holder, it stays off', () => {
    const driver = serving();
    driver.looked({ rivals: { [ADDRESS]: RIVAL }, addresses: { [ADDRESS]: { is: 'ours', remainingMs: 4_000 } } });
    driver
      .unbound()
      .answerRead(record({ transitions: 99 }))
      .pass(100)
      .looked();
    assert.equal(driver.role, 'standby');
    assert.deepEqual(driver.all('bind'), []);
  });

  test('out of office nobody minds', () => {
    const driver = new Driver(L2).standBy().forget();
    driver.looked({ rivals: { [ADDRESS]: RIVAL } });
    assert.deepEqual([driver.types(), driver.incidents()], [[], []]);
  });
});

describe('clients of a holder that lets go on a segment', () => {
  test('are told while it still may answer, when it steps down of its own accord', () => {
    const driver = serving();
    const { tenureEndMs } = driver.contender.life.is === 'holding' ? driver.contender.life.office : assert.fail();
    driver.give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    assert.equal(driver.last('unbind').tellUntilMs, tenureEndMs);
  });

  test('are not told when its tenure is over', () => {
    const driver = serving().pass(3_000);
    assert.equal(driver.last('unbind').tellUntilMs, null);
  });

  test('are not told where a provider routes: they are still served', () => {
    const driver = new Driver().serve().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    driver.pass(31_000);
    assert.equal(driver.last('unbind').tellUntilMs, null);
  });
});

describe('what is still there of an address that could not be bound', () => {
  test('is looked for at once, and taken off before the Lease is released', () => {
    const driver = new Driver(L2).acquire().probed();
    driver.forget().give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'no buffer space' } });
    assert.equal(driver.all('look').length, 1);
    driver.lookedBound(4_000).forget().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    assert.deepEqual(driver.types(), ['unbind']);
  });

  test('is closed when somebody else’s copy has taken its place', () => {
    const driver = serving().looked({ addresses: { [ADDRESS]: { is: 'foreign', interfaceName: 'eth0' } } });
    assert.equal(driver.all('unbind').length, 1);
  });
});

describe('what a dead predecessor has left bound on a segment', () => {
  const beside = (): Driver =>
    new Driver(L2)
      .standBy(record({ holder: 'node-a_boot_0000' }))
      .lookedBound(4_000)
      .forget();

  test('is taken off by a successor that ends, before the fence goes', () => {
    const driver = beside().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    assert.deepEqual(driver.types(), ['unbind']);
    assert.deepEqual(driver.forget().unbound().types(), ['stop']);
  });

  test('does not keep that one from ending when it cannot be taken off', () => {
    const driver = beside().give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    for (let tries = 0; tries < 5; tries += 1)
      driver.give({ type: 'unbind-done', address: ADDRESS, outcome: { is: 'failed', message: 'no' } }).pass(100);
    assert.deepEqual(driver.types().slice(-1), ['stop']);
  });
});

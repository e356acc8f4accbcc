import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Driver, neverHeld, ME, released, OTHER, record, term } from './driver.ts';

const RELIEF = { term: term(), cause: 'unhealthy', reason: 'its service is gone' } as const;

describe('a candidate', () => {
  test('reads the Lease first and takes it if it was never held', () => {
    const driver = new Driver().standBy(released());
    assert.deepEqual(driver.types(), ['read', 'acquire']);
    const { basis, transitions, marks } = driver.last('acquire');
    assert.deepEqual(basis, { uid: 'uid-1', resourceVersion: '100' });
    assert.equal(transitions, 1);
    assert.deepEqual(marks.duration, { term: { uid: 'uid-1', transitions: 1, holder: ME }, durationMs: 3_000 });
    assert.equal(driver.role, 'acquiring');
  });

  test('sends nothing while somebody else holds the Lease and a watch shows it alive', () => {
    const driver = new Driver().standBy().forget();
    for (let beat = 0; beat < 100; beat += 1) driver.pass(500).give({ type: 'lease-seen', sight: record({ renewTime: `beat-${beat}` }) });
    assert.deepEqual(driver.types(), []);
  });

  test('reads a Lease that has run out once more before it takes it', () => {
    const driver = new Driver().standBy().forget().pass(2_999);
    assert.deepEqual(driver.types(), []);
    driver.pass(1);
    assert.deepEqual(driver.types(), ['read']);
    driver.answerRead(record());
    assert.deepEqual(driver.types(), ['read', 'acquire']);
    assert.equal(driver.last('acquire').transitions, 8);
  });

  test('waits on, and starts the watch afresh, if that read shows that the holder lives', () => {
    const driver = new Driver()
      .standBy()
      .forget()
      .pass(3_000)
      .answerRead(record({ renewTime: 'later' }));
    assert.deepEqual(driver.types(), ['read', 'restart-watch']);
    driver.forget().pass(2_999);
    assert.deepEqual(driver.types(), []);
    driver.pass(1);
    assert.deepEqual(driver.types(), ['read']);
  });

  test('does not take a term for its own that it asked for and another one was granted, even if somebody writes its name in', () => {
    const driver = new Driver().standBy(released()).answer('acquire', { is: 'conflict' });
    driver.answerRead(record({ transitions: 1 })).forget();
    driver.give({ type: 'lease-seen', sight: record({ transitions: 1, holder: ME }) });
    assert.deepEqual(driver.types(), []);
    driver.pass(3_000);
    assert.deepEqual(driver.types(), ['read']);
  });

  test('takes a Lease that its holder has released without another read', () => {
    const driver = new Driver().standBy().forget();
    driver.give({ type: 'lease-seen', sight: record({ holder: '', resourceVersion: '101' }, { released: term() }) });
    assert.deepEqual(driver.types(), ['acquire']);
    assert.equal(driver.last('acquire').basis.resourceVersion, '101');
  });

  test('creates a Lease that does not exist, a whole duration after it first saw that', () => {
    const driver = new Driver().standBy('absent').forget().pass(2_999);
    assert.deepEqual(driver.types(), []);
    driver.pass(1).answerRead('absent');
    assert.deepEqual(driver.types(), ['read', 'create']);
    driver.succeed('create');
    assert.equal(driver.role, 'claiming');
    assert.deepEqual(
      driver.last('renew').marks.duration?.durationMs,
      3_000,
      'the first renewal adds the mark that a creation cannot carry',
    );
  });

  for (const [what, hinder] of [
    ['its probes fail', (driver: Driver): Driver => driver.unhealthy()],
    [
      'its interface is not there yet',
      (driver: Driver): Driver => driver.looked({ problem: 'there is no interface eth1', isPresent: false }),
    ],
    ['its interface has no carrier', (driver: Driver): Driver => driver.looked({ problem: 'the interface eth0 has no carrier' })],
    [
      'the provider does not know it',
      (driver: Driver): Driver => driver.give({ type: 'provider-readiness', ready: false, reason: 'cannot tell which server this is' }),
    ],
    [
      'another agent for the Lease lives on this node',
      (driver: Driver): Driver => driver.give({ type: 'residence', residence: 'shared', reason: 'another agent runs here' }),
    ],
  ] as const) {
    test(`does not contend while ${what}, and does as soon as that is over`, () => {
      const driver = new Driver().healthy().ready().alone().looked();
      hinder(driver).answerRead(released()).forget().pass(60_000);
      assert.deepEqual(driver.types(), []);
      driver.healthy().ready().alone().looked();
      assert.deepEqual(driver.types(), ['acquire']);
    });
  }

  test('contends where it cannot be told whether another agent lives on this node', () => {
    const driver = new Driver().healthy().ready().looked().give({ type: 'residence', residence: 'unsure', reason: 'x' });
    assert.equal(driver.answerRead(released()).last('acquire').transitions, 1);
  });

  test('reads once more before it takes what it has read long ago, when a hindrance is over', () => {
    const driver = new Driver().standBy(record()).unhealthy().pass(3_000).answerRead(record()).forget().pass(60_000);
    assert.deepEqual(driver.types(), []);
    assert.deepEqual(driver.healthy().types(), ['read']);
    assert.deepEqual(driver.answerRead(record()).types(), ['read', 'acquire']);
  });

  test('waits for no holder longer because the API was once silent, long ago', () => {
    const driver = new Driver().standBy(record()).pass(3_000);
    driver.answerRead({ is: 'unreachable', message: 'connection refused', retryAfterMs: null }).pass(500);
    driver
      .answerRead(record({ renewTime: 'later' }))
      .pass(3_000)
      .forget();
    assert.deepEqual(driver.answerRead(record({ renewTime: 'later' })).types(), ['acquire']);
  });

  test('gives a holder the time to renew first when the API has been silent for itself', () => {
    const driver = new Driver().standBy(record()).pass(3_000);
    driver.answerRead({ is: 'unreachable', message: 'connection refused', retryAfterMs: null }).pass(500);
    driver.answerRead(record()).forget().pass(2_499);
    assert.deepEqual(driver.types(), []);
    assert.deepEqual(driver.pass(1).types(), ['read']);
    assert.deepEqual(driver.answerRead(record()).types(), ['read', 'acquire']);
  });

  test('does not contend before its probes have answered', () => {
    const driver = new Driver().ready().looked().answerRead(released()).pass(10_000);
    assert.deepEqual(driver.types(), ['read']);
  });

  test('reads again at once when another candidate was faster, and then waits for that one', () => {
    const driver = new Driver().standBy(released()).answer('acquire', { is: 'conflict' });
    assert.equal(driver.role, 'standby');
    driver.forget().give({ type: 'tick' });
    driver.give({
      type: 'lease-read',
      request: driver.contender.request?.id ?? 0,
      outcome: { is: 'read', sight: record({ transitions: 1 }) },
    });
    driver.pass(2_999);
    assert.deepEqual(driver.types(), []);
  });

  test('reads before it acts again when it is unknown whether its write was carried out', () => {
    const driver = new Driver().standBy(released()).forget();
    const { request } = { request: driver.contender.request?.id ?? 0 };
    driver.give({ type: 'lease-written', request, outcome: { is: 'unknown', message: 'time-out', retryAfterMs: null } });
    driver.pass(100);
    assert.deepEqual(driver.types(), ['read']);
    driver.answerRead(record({ holder: ME, transitions: 1, resourceVersion: '101' }));
    assert.equal(driver.last('acquire').transitions, 2, 'a term that began unknown to it is followed by one of its own');
  });

  test('an answer that makes it the holder after the tenure would have ended does not', () => {
    const driver = new Driver().standBy(released()).freeze(2_000).succeed('acquire');
    assert.equal(driver.role, 'standby');
    assert.equal(driver.all('bind').length, 0);
  });

  test('an answer that names another holder does not make it one', () => {
    const driver = new Driver().standBy(released()).succeed('acquire', { holder: OTHER });
    assert.equal(driver.role, 'standby');
    assert.equal(driver.all('bind').length, 0);
  });

  test('an instant that lies in the past counts as the latest known one', () => {
    const driver = new Driver().standBy().pass(1_000);
    const { nowMs } = driver.contender;
    driver.freeze(-5_000).give({ type: 'tick' });
    assert.equal(driver.contender.nowMs, nowMs);
  });

  test('comes back rarely when it is refused, and says once why', () => {
    const driver = new Driver().healthy().ready().looked();
    const refusal = { is: 'refused', message: 'cannot get the Lease default/leasehold: 403', retryAfterMs: null } as const;
    driver.answerRead(refusal).forget().pass(4_999);
    assert.deepEqual(driver.types(), []);
    driver.pass(1).answerRead(refusal);
    assert.deepEqual(driver.types(), ['read']);
    assert.deepEqual(driver.incidents(), []);
  });

  test('comes back when a busy server asks it to', () => {
    const driver = new Driver().healthy().ready().looked().answerRead({ is: 'throttled', message: '429', retryAfterMs: 3_000 }).forget();
    assert.deepEqual(driver.pass(2_999).types(), []);
    assert.deepEqual(driver.pass(1).types(), ['read']);
  });

  test('does not stay away for as long as a proxy might say', () => {
    const driver = new Driver().healthy().ready().looked();
    driver.answerRead({ is: 'unavailable', message: '503', retryAfterMs: 3_600_000 }).forget();
    assert.deepEqual(driver.pass(5_000).types(), ['read']);
  });

  test('waits anew when the Lease that it could not create, because somebody had, is gone again', () => {
    const driver = new Driver().standBy('absent').pass(3_000).answerRead('absent');
    driver.answer('create', { is: 'conflict' }).answerRead('absent').forget();
    assert.deepEqual(driver.pass(2_999).types(), []);
    assert.deepEqual(driver.pass(1).answerRead('absent').types(), ['read', 'create']);
  });

  test('pauses when it meets conflict after conflict though nobody takes the Lease', () => {
    const driver = new Driver().standBy(released());
    let rounds = 0;
    for (; driver.role === 'acquiring' && rounds < 20; rounds += 1) {
      driver.answer('acquire', { is: 'conflict' });
      if (driver.contender.request !== null) driver.answerRead(released());
    }
    assert.equal(rounds, 4);
    assert.deepEqual(driver.forget().pass(100).types(), ['read']);
  });

  test('that may not contend says so again and again while nobody holds the Lease, and no longer once somebody does', () => {
    const driver = new Driver()
      .standBy(neverHeld({ transitions: 7 }))
      .unhealthy()
      .forget();
    driver
      .pass(3_000)
      .answerRead(neverHeld({ transitions: 7 }))
      .pass(95_000);
    assert.deepEqual(driver.incidents(), ['vacant', 'vacant', 'vacant']);
    driver
      .give({ type: 'lease-seen', sight: record({ transitions: 8 }) })
      .forget()
      .pass(2_900);
    assert.deepEqual(driver.incidents(), []);
    driver
      .pass(100)
      .answerRead(record({ transitions: 8 }))
      .pass(29_000);
    assert.deepEqual(driver.incidents(), [], 'the next vacancy is counted anew');
  });

  test('that may not contend still reads a Lease that has run out, once, so that it knows whether the API answers', () => {
    const driver = new Driver().standBy(record()).unhealthy().forget().pass(3_000);
    assert.deepEqual(driver.types(), ['read']);
    driver.answerRead(record()).forget().pass(60_000);
    assert.deepEqual(driver.types(), []);
    assert.equal(driver.role, 'standby');
  });

  test('waits for its own read for as long as a tenure may last', () => {
    assert.equal(new Driver().healthy().ready().looked().last('read').timeoutMs, 2_000);
  });

  test('leaves the Lease of another program alone for ever, and says so once', () => {
    const foreign = record({ isOurs: false, holder: 'kube-scheduler' });
    const driver = new Driver().standBy(foreign);
    for (let minute = 0; minute < 10; minute += 1) {
      driver.pass(60_000);
      if (driver.contender.request?.kind === 'read') driver.answerRead(foreign);
    }
    assert.deepEqual([...new Set(driver.types())], ['read']);
    assert.deepEqual(driver.incidents(), ['hindered']);
  });

  test('finds out that the Lease of another program is gone, though no watch tells it', () => {
    const driver = new Driver()
      .standBy(record({ isOurs: false, holder: 'kube-scheduler' }))
      .pass(30_000)
      .answerRead('absent');
    driver.pass(3_000).answerRead('absent');
    assert.equal(driver.all('create').length, 1);
  });
});

describe('a candidate that sees that the holder wants relief', () => {
  const wanting = record({ resourceVersion: '101' }, { relief: RELIEF });

  test('asks for it with a conditional annotation, once, and takes the Lease as soon as it is released', () => {
    const driver = new Driver().standBy().forget().give({ type: 'lease-seen', sight: wanting });
    assert.deepEqual(driver.types(), ['ask']);
    const ask = driver.last('ask');
    assert.deepEqual(ask.basis, { uid: 'uid-1', resourceVersion: '101' });
    assert.deepEqual(ask.marks, { ask: { term: term(), by: ME } });
    driver.succeed('ask').give({ type: 'lease-seen', sight: wanting }).pass(200);
    driver.give({ type: 'lease-seen', sight: record({ holder: '' }, { released: term(), ask: { term: term(), by: ME } }) });
    assert.deepEqual(driver.types(), ['ask', 'acquire']);
  });

  test('reads again when the answer to its ask comes behind the release that followed it, and takes the Lease then', () => {
    const driver = new Driver().standBy().forget().give({ type: 'lease-seen', sight: wanting });
    const answer = driver.written('ask');
    const free = record({ holder: '', resourceVersion: '103' }, { released: term(), ask: { term: term(), by: ME } });
    driver.pass(5).give({ type: 'lease-seen', sight: free }).answer('ask', answer);
    assert.deepEqual(driver.types(), ['ask', 'read']);
    assert.deepEqual(driver.answerRead(free).types(), ['ask', 'read', 'acquire']);
  });

  test('reads again when a watch has shown the release before a read that was made earlier is answered', () => {
    const driver = new Driver().standBy().forget().give({ type: 'lease-seen', sight: wanting });
    const asked = { term: term(), by: 'node-c_boot_0003' };
    driver.answer('ask', { is: 'conflict' }).pass(5);
    const free = record({ holder: '', resourceVersion: '103' }, { released: term(), ask: asked });
    driver.give({ type: 'lease-seen', sight: free }).answerRead(record({ resourceVersion: '102' }, { relief: RELIEF, ask: asked }));
    assert.deepEqual(driver.types(), ['ask', 'read', 'read']);
    assert.deepEqual(driver.answerRead(free).pass(250).types(), ['ask', 'read', 'read', 'acquire']);
  });

  test('does not read again for renewals that a watch shows while it reads', () => {
    const driver = new Driver().standBy().pass(2_999).forget().pass(1).pass(5);
    driver.give({ type: 'lease-seen', sight: record({ renewTime: 'later' }) }).answerRead(record({ renewTime: 'late' }));
    assert.deepEqual(driver.types(), ['read']);
  });

  test('does not ask when another has asked, and leaves it to that one first', () => {
    const asked = { term: term(), by: 'node-c_boot_0003' };
    const driver = new Driver().standBy().forget();
    driver.give({ type: 'lease-seen', sight: record({}, { relief: RELIEF, ask: asked }) });
    driver.give({ type: 'lease-seen', sight: record({ holder: '' }, { released: term(), ask: asked }) });
    assert.deepEqual(driver.pass(249).types(), []);
    assert.deepEqual(driver.pass(1).types(), ['acquire']);
  });

  test('does not ask itself, where the Lease still names it', () => {
    const own = record({ holder: ME, transitions: 1 }, { relief: { ...RELIEF, term: term({ holder: ME, transitions: 1 }) } });
    const driver = new Driver().serve().pass(2_000).forget().answerRead(own);
    assert.deepEqual(driver.all('ask'), []);
    assert.equal(driver.all('acquire').length, 1);
  });

  test('does not take a term for its own that a person has written its name into, while another one may be serving', () => {
    const driver = new Driver()
      .standBy()
      .forget()
      .give({ type: 'lease-seen', sight: record({ holder: ME, resourceVersion: '101' }) });
    driver.pass(2_999);
    assert.deepEqual(driver.types(), []);
    driver.give({ type: 'shutdown', reason: 'asked to end by SIGTERM' });
    assert.equal(driver.role, 'stopped');
    assert.deepEqual(driver.types(), ['stop'], 'nor does it release it');
  });

  test('does not ask while it is not healthy itself', () => {
    const driver = new Driver().standBy().unhealthy().forget().give({ type: 'lease-seen', sight: wanting });
    assert.deepEqual(driver.types(), []);
  });

  test('does not ask for a mark that is about another term', () => {
    const stale = record({ transitions: 8 }, { relief: RELIEF });
    const driver = new Driver().standBy(stale);
    assert.deepEqual(driver.types(), ['read']);
  });

  test('reads the Lease again when its ask met a conflict', () => {
    const driver = new Driver().standBy().give({ type: 'lease-seen', sight: wanting }).forget();
    driver.give({ type: 'lease-written', request: driver.contender.request?.id ?? 0, outcome: { is: 'conflict' } });
    assert.deepEqual(driver.types(), ['read']);
  });
});

describe('after a term that failed', () => {
  function relieved(serving = new Driver().serve()): Driver {
    const driver = serving.unhealthy();
    driver.succeed('renew');
    const { term: own } = driver.last('renew');
    const { resourceVersion } = driver.last('renew').basis;
    const asked = record(
      { holder: ME, transitions: own.transitions, resourceVersion: `${resourceVersion}9` },
      { ask: { term: own, by: OTHER } },
    );
    driver.give({ type: 'lease-seen', sight: asked }).answerRead(asked);
    assert.equal(driver.role, 'stepping-down');
    return driver.answerRead(asked).succeed('release').forget();
  }

  test('a node stands back behind the others for a lease duration, though its service is well again', () => {
    const driver = relieved().healthy();
    assert.equal(driver.role, 'standby');
    driver.give({ type: 'lease-seen', sight: record({ holder: '', transitions: 2 }, { released: term({ transitions: 2 }) }) });
    assert.deepEqual(
      driver
        .pass(1_900)
        .types()
        .filter((type) => type === 'acquire'),
      [],
    );
    driver.pass(1_200);
    assert.deepEqual(
      driver.types().filter((type) => type === 'acquire'),
      ['acquire'],
      'but not for ever, if nobody else comes',
    );
  });

  for (const [what, servesMs, pauseMs] of [
    ['for twice as long when it fails again soon', 1_000, 4_000],
    ['as if for the first time when it fails again after a term that was good for long', 600_000, 2_000],
  ] as const) {
    test(`it stands back ${what}, and not for a claim that it could have made`, () => {
      const driver = relieved().healthy();
      driver.give({ type: 'lease-seen', sight: record({ holder: '', transitions: 2 }, { released: term({ transitions: 2 }) }) });
      for (let wait = 0; driver.role !== 'acquiring' && wait < 100; wait += 1) driver.pass(100);
      driver.succeed('acquire').bound().claimed().serveOn(servesMs);
      assert.equal(driver.role, 'serving');
      relieved(driver).healthy();
      assert.equal(driver.contender.standBack.claimUntilMs, null);
      driver.give({ type: 'lease-seen', sight: record({ transitions: 9 }, { relief: { ...RELIEF, term: term({ transitions: 9 }) } }) });
      assert.equal(driver.pass(pauseMs - 1).all('ask').length, 0);
      assert.equal(driver.pass(1).all('ask').length, 1);
    });
  }

  test('it does not offer relief until its pause is over', () => {
    const driver = relieved().healthy();
    const wanting = record({ transitions: 2 }, { relief: { ...RELIEF, term: term({ transitions: 2 }) } });
    driver.give({ type: 'lease-seen', sight: wanting });
    assert.equal(driver.all('ask').length, 0);
    driver.pass(2_000);
    assert.equal(driver.all('ask').length, 1);
  });
});

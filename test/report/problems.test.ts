import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { problemsOf } from '../../agent/report/problems.ts';
import type { StatusSources } from '../../agent/report/status.ts';
import { ADDRESS, Driver, record, released } from '../contender/driver.ts';
import type { LimitStatus } from '../../agent/provider/budget.ts';
import { budgetWith, ROUTING, sourcesOf, statusOf } from '../support/status-example.ts';

const problems = (driver: Driver, changes: Partial<StatusSources> = {}): string[] =>
  problemsOf(sourcesOf(driver, changes)).map(({ name, level, message }) => `${level} ${name}: ${message}`);

const advice = (driver: Driver, changes: Partial<StatusSources> = {}): string[] =>
  problemsOf(sourcesOf(driver, changes)).map((problem) => problem.advice);

describe('there is nothing to do', () => {
  test('for a healthy candidate, nor for a holder that serves', () => {
    assert.deepEqual(problems(new Driver().standBy()), []);
    assert.deepEqual(problems(new Driver().serve()), []);
    assert.deepEqual(problems(new Driver({ kind: 'l2', isFenced: true }).serve()), []);
  });

  test('for a holder that was asked to step down and waits for another one: it hands over by itself', () => {
    const driver = new Driver().serve().give({ type: 'step-down-requested', reason: 'an operator has asked for it', untilMs: Infinity });
    assert.deepEqual(problems(driver), []);
    assert.deepEqual(problems(driver.unhealthy()), ['fail this node: http://127.0.0.1/: connection refused'], 'but what is wrong counts');
  });

  test('on the way to office', () => assert.deepEqual(problems(new Driver().acquire()), []));

  test('at the start, though not everything is known yet: it says that this passes', () => {
    const driver = new Driver().give({ type: 'tick' }).answerRead(record());
    assert.deepEqual(problems(driver), ['warn residence: whether another agent runs on this node is not known yet']);
    assert.deepEqual(advice(driver), ['Nothing: this passes by itself soon after the start.']);
  });
});

describe('something is wrong', () => {
  test('where a node could not take over, and it is named once', () => {
    const driver = new Driver().standBy().unhealthy();
    assert.deepEqual(problems(driver), ['warn probes: http://127.0.0.1/: connection refused']);
    assert.match(advice(driver)[0] ?? '', /rise count/);
  });

  test('worse, where nobody holds the Lease and this node may not', () => {
    const driver = new Driver().standBy(released()).give({ type: 'shutdown', reason: 'x' });
    assert.deepEqual(problems(driver), [], 'one that ends is not asked to take over');
    const vacant = new Driver().ready().alone().looked().unhealthy().give({ type: 'tick' }).answerRead(released());
    assert.deepEqual(problems(vacant), [
      'fail probes: http://127.0.0.1/: connection refused',
      'fail lease: nobody holds the Lease default/leasehold, and this node may not take it',
    ]);
  });

  test('where a holder is unfit and nobody relieves it', () => {
    const driver = new Driver().serve().unhealthy();
    assert.deepEqual(problems(driver), ['fail this node: http://127.0.0.1/: connection refused']);
    assert.match(
      advice(driver)[0] ?? '',
      /a healthy one takes over by itself\. Until then this node goes on \(WHEN_ALL_UNHEALTHY=keep\)\./,
    );
    assert.doesNotMatch(advice(new Driver({ whenAllUnhealthy: 'release' }).serve().unhealthy())[0] ?? '', /Until then/);
  });

  test('where an address could not be bound', () => {
    const driver = new Driver()
      .acquire()
      .give({ type: 'bind-done', address: ADDRESS, outcome: { is: 'failed', message: 'no permission' } });
    assert.deepEqual(problems(driver), [`fail this node: ${ADDRESS} cannot be bound: no permission`]);
  });

  test('where somebody moves the address away from its holder', () => {
    const owners = new Map([[ADDRESS, { owner: { is: 'other', name: 'server 9' } as const, atMs: 1 }]]);
    assert.deepEqual(problems(new Driver().serve(), { owners }), [
      `fail ${ADDRESS}: ${ADDRESS}: the provider routes it to server 9, though this node holds the Lease`,
    ]);
    assert.deepEqual(problems(new Driver().standBy(), { owners }), [], 'on a candidate that is as it should be');
  });

  test('where somebody else claims an address again and again, in place of each time that it is seen elsewhere', () => {
    const owners = new Map([[ADDRESS, { owner: { is: 'other', name: 'server 9' } as const, atMs: 1 }]]);
    const driver = new Driver().serve();
    for (let loss = 0; loss < 3; loss += 1) {
      driver.serveOn(2_000);
      for (let read = 0; read < 3; read += 1) driver.ownerIs({ is: 'other', name: 'server 9' }).serveOn(300);
      if (loss < 2) driver.serveOn(6_000).claimed();
    }
    assert.deepEqual(problems(driver, { owners }), [
      `fail ${ADDRESS}: ${ADDRESS}: somebody else claims it, too: it was taken away 3 times within 1 min, most likely by a second installation or another failover tool; this node waits 10s before it claims it again`,
    ]);
    const [address] = statusOf(driver).addresses;
    assert.deepEqual([address?.state, address?.contest?.losses, address?.contest?.patienceMs], ['bound, claim due, contested', 3, 10_000]);
    assert.ok(Date.parse(address?.contest?.nextClaim ?? '') > Date.parse(statusOf(driver).at));
  });

  test('where the provider’s budget is nearly used up, and how bad that is', () => {
    const told = (used: number, more: Partial<LimitStatus> = {}): string[] =>
      problems(new Driver().serve(), { provider: { name: 'x', problem: null, budget: budgetWith({ ...ROUTING, used, ...more }) } });
    assert.deepEqual(told(14), []);
    assert.deepEqual(told(15), ['warn budget: routing requests: 15 of 20 within 60 min are used, and the rest is kept for a failover']);
    assert.deepEqual(told(20), ['fail budget: routing requests: 20 of 20 within 60 min are used, so a failover may have to wait']);
    assert.deepEqual(told(30, { name: 'moves of 203.0.113.10', max: 30, reserve: 0, bindsFailover: false }), [
      'warn budget: moves of 203.0.113.10: 30 of 30 within 60 min are used (MOVES_PER_HOUR), so it is not claimed back from whoever takes it away',
    ]);
  });

  test('where the provider says that little is left, for as long as nothing else is asked because of it', () => {
    const said = { limit: 3_600, remaining: 40, reserve: 100, atMs: 1 };
    const told = (quietUntilMs: number | null): string[] =>
      problems(new Driver().serve(), { provider: { name: 'x', problem: null, budget: { ...budgetWith(), said, quietUntilMs } } });
    assert.deepEqual(told(9), [
      'warn budget: the provider has only 40 of 3600 requests left: they are kept for a failover, and nothing else is asked',
    ]);
    assert.deepEqual(told(null), []);
  });

  test('where the tenure ran out and nothing but the silence of the API ended it', () => {
    const driver = new Driver({ onApiLoss: 'hold' }).serve().pass(2_100);
    assert.equal(driver.role, 'holding-over');
    assert.deepEqual(
      problems(driver, { readinessProblems: ['Kubernetes API: no answer within 600ms'] }).map((text) => text.slice(0, 59)),
      ['fail Kubernetes API: The Lease could not be renewed in time', 'warn Kubernetes API: no answer within 600ms'],
    );
  });

  test('where the agent is not ready, each thing with what to do about it', () => {
    const readinessProblems = ['Kubernetes API: connection refused', 'provider: the token may only read', 'something new'];
    const driver = new Driver().standBy();
    assert.deepEqual(problems(driver, { readinessProblems }), [
      'warn Kubernetes API: connection refused',
      'warn provider: the token may only read',
      'warn readiness: something new',
    ]);
    for (const text of advice(driver, { readinessProblems })) assert.match(text, /\.$/);
  });

  test('where the watch does not stand, unless the API as a whole is the cause', () => {
    const watch = { stands: false, problem: 'connection reset' };
    assert.deepEqual(problems(new Driver().standBy(), { watch }), ['warn watch: the watch of the Lease does not stand: connection reset']);
    assert.deepEqual(problems(new Driver().standBy(), { watch, readinessProblems: ['Kubernetes API: connection reset'] }), [
      'warn Kubernetes API: connection reset',
    ]);
  });

  test('where it cannot be told whether another agent runs here, where the Lease is gone, and where nobody reads the log', () => {
    const driver = new Driver()
      .healthy()
      .ready()
      .looked()
      .give({ type: 'residence', residence: 'unsure', reason: 'a stranger has the name' });
    driver.give({ type: 'tick' }).answerRead('absent');
    assert.deepEqual(problems(driver, { droppedLogLines: 3 }), [
      'warn residence: a stranger has the name',
      'warn lease: there is no Lease default/leasehold',
      'warn log: 3 log lines were dropped, because nobody read them',
    ]);
  });
});

import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { Prober } from '../../agent/probe/prober.ts';
import type { ProbeObserver, Verdict } from '../../agent/probe/prober.ts';
import type { Ask, ProbeSpec } from '../../agent/probe/probe.ts';
import { ManualClock } from '../support/manual-clock.ts';

const SPEC: ProbeSpec = {
  name: 'tcp://127.0.0.1:1',
  intervalMs: 1_000,
  timeoutMs: 1_000,
  rise: 1,
  fall: 2,
  question: { kind: 'tcp', host: '127.0.0.1', port: 1 },
};

/** A service that answers as it is told, and counts how often it is asked at the same time. */
class Service {
  answer: 'good' | 'refuse' | 'hang' = 'good';
  /** Answers what hangs. */
  relent: () => void = () => undefined;
  /** Lets what hangs fail. */
  fail: () => void = () => undefined;
  asked = 0;
  atOnce = 0;
  mostAtOnce = 0;

  readonly ask: Ask = async (signal) => {
    this.asked += 1;
    this.atOnce += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.atOnce);
    try {
      if (this.answer === 'refuse') throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
      if (this.answer === 'hang')
        await new Promise<void>((resolve, reject) => {
          this.relent = resolve;
          this.fail = () => reject(new Error('connection reset'));
          signal.addEventListener('abort', () => reject(new Error('aborted')));
        });
    } finally {
      this.atOnce -= 1;
    }
  };
}

let ending = new AbortController();
afterEach(() => ending.abort());

type Answer = Parameters<ProbeObserver>[0];

function start(specs: readonly ProbeSpec[] = [SPEC]): {
  clock: ManualClock;
  service: Service;
  prober: Prober;
  verdicts: Verdict[];
  answers: Answer[];
} {
  ending = new AbortController();
  const clock = new ManualClock();
  const service = new Service();
  const verdicts: Verdict[] = [];
  const answers: Answer[] = [];
  const prober = new Prober(
    specs,
    () => service.ask,
    clock,
    (verdict) => verdicts.push(verdict),
    (answer) => answers.push(answer),
  );
  void prober.run(ending.signal);
  return { clock, service, prober, verdicts, answers };
}

describe('probing', () => {
  test('without any probe the node is healthy at once', async () => {
    const { clock, verdicts } = start([]);
    await clock.advance(0);
    assert.deepEqual(verdicts, [{ healthy: true, reason: 'no probe is configured' }]);
  });

  test('tells every answer that counts, and how long it took', async () => {
    const { clock, service, answers } = start();
    await clock.advance(0);
    service.answer = 'hang';
    await clock.advance(2_100);
    assert.deepEqual(answers, [
      { probe: SPEC.name, isGood: true, elapsedMs: 0 },
      { probe: SPEC.name, isGood: false, elapsedMs: 1_001 },
    ]);
  });

  test('asks at its interval and tells each change of the verdict once', async () => {
    const { clock, service, verdicts } = start();
    await clock.advance(10_000);
    assert.equal(service.asked, 11);
    service.answer = 'refuse';
    await clock.advance(1_000);
    assert.equal(verdicts.length, 1, 'one bad answer is not enough');
    await clock.advance(5_000);
    service.answer = 'good';
    await clock.advance(1_000);
    assert.deepEqual(
      verdicts.map(({ healthy, reason }) => [healthy, reason]),
      [
        [true, 'every probe is well'],
        [false, 'tcp://127.0.0.1:1: connection refused'],
        [true, 'every probe is well'],
      ],
    );
  });

  test('never asks while the last question is still open', async () => {
    const { clock, service } = start([{ ...SPEC, intervalMs: 200 }]);
    service.answer = 'hang';
    await clock.advance(20_000);
    assert.equal(service.mostAtOnce, 1);
  });

  test('counts a question that hangs as a bad answer at its time-out', async () => {
    const { clock, service, verdicts } = start();
    await clock.advance(0);
    service.answer = 'hang';
    await clock.advance(2_950);
    assert.equal(verdicts.length, 1);
    await clock.advance(100);
    assert.deepEqual(verdicts.at(-1), { healthy: false, reason: 'tcp://127.0.0.1:1: no answer within 1000ms' });
  });

  test('takes in what was answered while the process itself stood still', async () => {
    const { clock, service, verdicts, prober } = start([{ ...SPEC, fall: 1 }]);
    await clock.advance(0);
    service.answer = 'hang';
    await clock.advance(1_100);
    for (let freeze = 0; freeze < 10; freeze += 1) {
      clock.freeze(30_000);
      service.relent();
      await clock.advance(500);
    }
    assert.equal(verdicts.length, 1, 'frozen ten times, each time for longer than the time-out');
    assert.deepEqual(prober.status[0]?.reason, null);
  });

  test('gives a question the time that is left of it after the process stood still', async () => {
    const { clock, service, verdicts } = start([{ ...SPEC, fall: 1 }]);
    await clock.advance(0);
    service.answer = 'hang';
    await clock.advance(1_100);
    clock.freeze(30_000);
    await clock.advance(700);
    assert.equal(verdicts.length, 1);
    await clock.advance(100);
    assert.equal(verdicts.length, 2, 'but no more than that');
  });

  test('asks once more before it counts a failure during which the process stood still', async () => {
    const { clock, service, verdicts } = start([{ ...SPEC, fall: 1 }]);
    await clock.advance(0);
    service.answer = 'hang';
    await clock.advance(1_100);
    clock.freeze(30_000);
    await clock.advance(0);
    service.answer = 'good';
    service.fail();
    await clock.advance(0);
    assert.equal(verdicts.length, 1);
  });

  test('finds a service out that hangs, though the process stands still all the time', async () => {
    const { clock, service, verdicts } = start();
    await clock.advance(0);
    service.answer = 'hang';
    for (let busy = 0; busy < 60 && verdicts.length < 2; busy += 1) {
      await clock.advance(100);
      clock.freeze(100);
    }
    assert.equal(verdicts.at(-1)?.healthy, false);
  });

  test('tells what is wrong now, when that has changed', async () => {
    const { clock, service, verdicts } = start();
    await clock.advance(0);
    service.answer = 'refuse';
    await clock.advance(2_000);
    service.answer = 'hang';
    await clock.advance(2_100);
    assert.deepEqual(
      verdicts.map(({ healthy, reason }) => [healthy, reason]),
      [
        [true, 'every probe is well'],
        [false, 'tcp://127.0.0.1:1: connection refused'],
        [false, 'tcp://127.0.0.1:1: no answer within 1000ms'],
      ],
    );
  });

  test('is healthy only if every probe is, and names those that are not', async () => {
    const second = { ...SPEC, name: 'tcp://127.0.0.1:2', fall: 4 };
    const { clock, service, verdicts } = start([SPEC, second]);
    await clock.advance(0);
    service.answer = 'refuse';
    await clock.advance(2_500);
    assert.match(verdicts.at(-1)?.reason ?? '', /^tcp:\/\/127\.0\.0\.1:1: connection refused$/);
  });

  test('shows each probe with what was last wrong, and how far it is from another verdict', async () => {
    const { clock, service, prober } = start();
    await clock.advance(0);
    service.answer = 'refuse';
    await clock.advance(1_000);
    const answeredAtMs = clock.nowMs();
    await clock.advance(500);
    assert.deepEqual(prober.status, [
      { probe: 'tcp://127.0.0.1:1', healthy: true, reason: 'connection refused', goods: 0, bads: 1, rise: 1, fall: 2, answeredAtMs },
    ]);
  });

  test('asked ahead of its time, answers at once, and in its own time again afterwards', async () => {
    const { clock, service, prober, verdicts } = start();
    await clock.advance(100);
    assert.equal(service.asked, 1);
    prober.askAhead('another probe');
    await clock.advance(0);
    assert.equal(service.asked, 1);
    service.answer = 'refuse';
    prober.askAhead(SPEC.name);
    await clock.advance(0);
    assert.equal(service.asked, 2);
    await clock.advance(999);
    assert.equal(service.asked, 2);
    await clock.advance(1);
    assert.equal(service.asked, 3);
    assert.equal(verdicts.at(-1)?.healthy, false);
    service.answer = 'good';
    prober.askAhead(SPEC.name);
    await clock.advance(0);
    assert.equal(verdicts.at(-1)?.healthy, true);
  });

  test('asked ahead of its time while it is being asked, does not overlap itself', async () => {
    const { clock, service, prober } = start();
    service.answer = 'hang';
    await clock.advance(1_100);
    prober.askAhead(SPEC.name);
    await clock.advance(100);
    assert.equal(service.mostAtOnce, 1);
  });
});

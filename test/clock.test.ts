import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { describe, test } from 'node:test';
import { DeadlineExceeded, rejectOnAbort, sleep, unlessAborted, withDeadline } from '../agent/clock.ts';
import { boottimeMs } from '../agent/link/libc.ts';
import { ManualClock } from './support/manual-clock.ts';

const never = new AbortController().signal;

describe('a deadline', () => {
  const untilAborted = (signal: AbortSignal): Promise<never> =>
    new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error)));

  test('ends an operation that takes too long, and says after how long', async () => {
    const clock = new ManualClock();
    const operation = assert.rejects(
      withDeadline(clock, 600, never, untilAborted),
      (error) => error instanceof DeadlineExceeded && error.message.includes('600ms'),
    );
    await clock.advance(600);
    await operation;
    assert.equal(clock.timers, 0);
  });

  test('passes its caller’s abort on, and begins nothing after it', async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    const operation = withDeadline(clock, 600, controller.signal, untilAborted);
    controller.abort(new Error('called off'));
    await assert.rejects(operation, /called off/);
    const begun = withDeadline(clock, 600, controller.signal, () => assert.fail('it has begun'));
    await assert.rejects(begun, /called off/);
    assert.equal(clock.timers, 0);
  });

  test('leaves neither a timer nor a listener behind when the operation is in time', async () => {
    const clock = new ManualClock();
    assert.equal(await withDeadline(clock, 600, never, () => Promise.resolve(7)), 7);
    assert.equal(clock.timers, 0);
  });
});

test('sleeping ends at its time or with its signal', async () => {
  const clock = new ManualClock();
  let isAwake = false;
  void sleep(clock, 100, never).then(() => (isAwake = true));
  await clock.advance(99);
  assert.equal(isAwake, false);
  await clock.advance(1);
  assert.equal(isAwake, true);
  const controller = new AbortController();
  const sleeping = sleep(clock, 100, controller.signal);
  controller.abort(new Error('enough'));
  await assert.rejects(sleeping, /enough/);
  assert.equal(clock.timers, 0);
});

test('who races against a signal loses at its abort, and at once where it has been aborted already', async () => {
  const controller = new AbortController();
  const racing = rejectOnAbort(controller.signal);
  controller.abort(new Error('called off'));
  await assert.rejects(racing, /called off/);
  await assert.rejects(rejectOnAbort(controller.signal), /called off/);
});

test('waiting for what is shared ends with it, or with the signal, and leaves nothing behind on that', async () => {
  const { promise, resolve } = Promise.withResolvers<number>();
  const [patient, impatient] = [new AbortController(), new AbortController()];
  const [one, other] = [unlessAborted(promise, patient.signal), unlessAborted(promise, impatient.signal)];
  impatient.abort(new Error('enough'));
  await assert.rejects(other, /enough/);
  await assert.rejects(unlessAborted(promise, impatient.signal), /enough/);
  resolve(7);
  assert.equal(await one, 7);
  assert.equal(getEventListeners(patient.signal, 'abort').length, 0);
});

test('the boot clock runs on and never back, with fractions of a millisecond', () => {
  let before = boottimeMs();
  for (let count = 0; count < 10_000; count += 1) {
    const now = boottimeMs();
    assert.ok(now >= before);
    before = now;
  }
  assert.ok(!Number.isInteger(before) || !Number.isInteger(boottimeMs()));
});

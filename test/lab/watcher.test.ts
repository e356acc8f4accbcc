import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Watcher } from '../../e2e/lab/watcher.ts';
import type { Bound, Sample, WatcherOptions } from '../../e2e/lab/watcher.ts';
import { ANNOTATIONS } from '../../agent/kube/lease-codec.ts';

const TIMINGS = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, providerTimeoutMs: 30_000 };
const LIFETIME_MS = 38_000;

let nowMs: number;
let watcher: Watcher;

beforeEach(() => {
  nowMs = 100_000;
  watcher = watch('routed');
});

function watch(kind: 'routed' | 'l2', caughtUp?: WatcherOptions['caughtUp']): Watcher {
  return new Watcher({ timings: TIMINGS, kind, nowMs: () => nowMs, ...(caughtUp === undefined ? {} : { caughtUp }) });
}

/** Stores the Lease as a node's agent would have written it now. */
function stored(node: string): void {
  watcher.onLease({ metadata: {}, spec: { holderIdentity: `${node}_boot_0001`, renewTime: String(nowMs) } });
}

/** Empties the Lease: its holder has released it, or somebody else has done it. */
function emptied(by: 'its holder' | 'somebody else', holder: string): void {
  const annotations = by === 'its holder' ? { [ANNOTATIONS.released]: JSON.stringify({ holder: `${holder}_boot_0001` }) } : {};
  watcher.onLease({ metadata: { annotations }, spec: { holderIdentity: '' } });
}

function sampled(bound: readonly Bound[], more: Partial<Sample> = {}): void {
  watcher.onSample({ bound, owner: null, cutOff: [], deaf: [], alive: ['node-a', 'node-b'], isAtOnce: true, ...more });
}

describe('the watcher of the lab finds', () => {
  test('nothing while a holder writes and is bound within its tenure', () => {
    stored('node-a');
    watcher.onProviderWrite('node-a');
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }]);
    nowMs += 1_900;
    watcher.onProviderWrite('node-a');
    assert.deepEqual(watcher.violations, []);
    assert.equal(watcher.samples, 1);
  });

  test('a write by a node that does not hold the Lease', () => {
    stored('node-a');
    watcher.onProviderWrite('node-b');
    assert.match(watcher.violations.join(), /node-b wrote to the provider without ever having held the Lease/);
  });

  test('a write after the Lease was released', () => {
    stored('node-a');
    emptied('its holder', 'node-a');
    nowMs += 100;
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /node-a wrote to the provider after its tenure: 100ms/);
  });

  test('nothing when the Lease was emptied, deleted or taken by somebody else, and its holder writes for the rest of its tenure', () => {
    stored('node-a');
    emptied('somebody else', 'node-a');
    watcher.onLease(null);
    watcher.onLease({ metadata: {}, spec: { holderIdentity: 'somebody' } });
    nowMs += 1_900;
    watcher.onProviderWrite('node-a');
    assert.deepEqual(watcher.violations, []);
    nowMs += 200;
    watcher.onProviderWrite('node-a');
    assert.equal(watcher.violations.length, 1);
  });

  test('a write by the previous holder, once another has taken over', () => {
    stored('node-a');
    stored('node-b');
    nowMs += 100;
    watcher.onProviderWrite('node-b');
    assert.deepEqual(watcher.violations, []);
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /node-a wrote to the provider after its tenure/);
  });

  test('a write after the tenure, although the Lease still names its writer', () => {
    stored('node-a');
    nowMs += 2_100;
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /node-a wrote to the provider after its tenure: 100ms/);
  });

  test('an address on a node that has never held the Lease', () => {
    stored('node-a');
    sampled([{ node: 'node-b', remainingMs: 1_000 }]);
    assert.match(watcher.violations.join(), /node-b, which has never held the Lease/);
  });

  test('nothing while a lifetime runs out, and an address that was given a new one after the tenure', () => {
    stored('node-a');
    nowMs += 20_000;
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS - 20_000 }]);
    assert.deepEqual(watcher.violations, []);
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }]);
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('nothing while the API is silent and the provider routes to the last holder, and what stays bound when it does not', () => {
    stored('node-a');
    for (let second = 0; second < 60; second += 1) {
      nowMs += 1_000;
      sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], { owner: 'node-a' });
    }
    assert.deepEqual(watcher.violations, []);
    nowMs += 2_000;
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], { owner: 'node-b' });
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('nothing on a node that can ask nobody, until it can', () => {
    stored('node-a');
    nowMs += 60_000;
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], { owner: 'node-b', cutOff: ['node-a'] });
    assert.deepEqual(watcher.violations, []);
    nowMs += 2_000;
    sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], { owner: 'node-b' });
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('what a dead agent has left once its lifetime should be over, although the provider still routes there', () => {
    stored('node-a');
    for (let second = 0; second < 39; second += 1) {
      nowMs += 1_000;
      sampled([{ node: 'node-a', remainingMs: 1_000 }], { owner: 'node-a', alive: [] });
    }
    assert.deepEqual(watcher.violations, []);
    nowMs += 3_000;
    sampled([{ node: 'node-a', remainingMs: 1_000 }], { owner: 'node-a', alive: [] });
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('what is held over although the Lease names somebody else, once its holder can have read that', () => {
    stored('node-a');
    stored('node-b');
    const heldOver = { owner: 'node-a', deaf: ['node-a'] };
    for (let second = 0; second < 60; second += 1) {
      nowMs += 1_000;
      sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], heldOver);
    }
    assert.deepEqual(watcher.violations, []);
    for (let second = 0; second < 6; second += 1) {
      nowMs += 1_000;
      sampled([{ node: 'node-a', remainingMs: LIFETIME_MS }], { owner: 'node-a' });
    }
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('a write after the tenure of a renewal that was told late', () => {
    watcher = new Watcher({ timings: TIMINGS, kind: 'routed', nowMs: () => nowMs, wallClockMs: () => nowMs });
    const renewTime = new Date(nowMs).toISOString().replace('Z', '000Z');
    nowMs += 5_000;
    watcher.onLease({ metadata: {}, spec: { holderIdentity: 'node-a_boot_0001', renewTime } });
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /node-a wrote to the provider after its tenure: 3000ms/);
  });

  test('how many nodes have the address at once, and only if they had it at once', () => {
    stored('node-a');
    stored('node-b');
    const both = ['node-a', 'node-b'].map((node) => ({ node, remainingMs: 0 }));
    sampled(both, { isAtOnce: false });
    assert.equal(watcher.takeMostAtOnce(), 1);
    sampled(both);
    assert.equal(watcher.takeMostAtOnce(), 2);
    assert.equal(watcher.takeMostAtOnce(), 0);
    sampled(['first', 'second'].map(() => ({ node: 'node-a', remainingMs: 0 })));
    assert.equal(watcher.takeMostAtOnce(), 1);
    assert.deepEqual(watcher.violations, []);
  });

  test('nothing while an address is bound behind a closed fence, and what outlasts its lifetime there', () => {
    watcher = watch('l2');
    stored('node-a');
    nowMs += 2_000;
    stored('node-b');
    // Whatever is left after the tenure: a lease duration, 3 s and the lateness of the kernel.
    nowMs += 7_500;
    sampled([{ node: 'node-a', remainingMs: 0 }]);
    assert.deepEqual(watcher.violations, []);
    nowMs += 200;
    sampled([{ node: 'node-a', remainingMs: 0 }]);
    assert.match(watcher.violations.join(), /bound on node-a for longer than 7600ms/);
  });

  test('an address that is bound where nobody arbitrates when its node has released the Lease', () => {
    watcher = watch('l2');
    stored('node-a');
    sampled([{ node: 'node-a', remainingMs: 1_000 }]);
    emptied('its holder', 'node-a');
    sampled([]);
    assert.deepEqual(watcher.violations, []);
    sampled([{ node: 'node-a', remainingMs: 1_000 }]);
    assert.match(watcher.violations.join(), /bound on node-a, which has released the Lease/);
  });

  test('the terms, each with its renewals, and a new one where the Lease is another', () => {
    const renew = (uid: string): void => {
      watcher.onLease({ metadata: { uid }, spec: { holderIdentity: 'node-a_boot_0001', renewTime: String(nowMs), leaseTransitions: 1 } });
    };
    renew('first');
    nowMs += 500;
    renew('first');
    renew('first');
    nowMs += 500;
    renew('second');
    assert.deepEqual(
      watcher.terms.map(({ node, renewedAtMs, endedAtMs }) => ({ node, renewedAtMs, endedAtMs })),
      [
        { node: 'node-a', renewedAtMs: [100_000, 100_500], endedAtMs: 101_000 },
        { node: 'node-a', renewedAtMs: [101_000], endedAtMs: null },
      ],
    );
  });

  test('nothing that a Lease explains which is told late, and what it does not', async () => {
    watcher = watch('routed', async () => {
      await Promise.resolve();
      stored('node-b');
    });
    watcher.onProviderWrite('node-b');
    watcher.onProviderWrite('node-c');
    await new Promise(setImmediate);
    assert.deepEqual(watcher.violations, ['node-c wrote to the provider without ever having held the Lease']);
  });

  test('an address that would stay for ever', () => {
    stored('node-a');
    sampled([{ node: 'node-a', remainingMs: Number.POSITIVE_INFINITY }]);
    assert.equal(watcher.violations.length, 1);
  });

  test('the same thing once, however often it is seen', () => {
    stored('node-a');
    for (let times = 0; times < 3; times += 1) sampled([{ node: 'node-b', remainingMs: 1_000 }]);
    assert.equal(watcher.violations.length, 1);
  });
});

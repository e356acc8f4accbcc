import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { Watcher } from '../../e2e/lab/watcher.ts';
import type { StoredLease } from '../support/kube-api.ts';

const TIMINGS = { leaseDurationMs: 3_000, renewDeadlineMs: 2_000, providerTimeoutMs: 30_000 };
const LIFETIME_MS = 38_000;

let nowMs: number;
let watcher: Watcher;

beforeEach(() => {
  nowMs = 100_000;
  watcher = new Watcher(TIMINGS, () => nowMs);
});

/** Stores the Lease as a node's agent would have written it now. */
function stored(node: string): void {
  const holderIdentity = node === '' ? '' : `${node}_boot_0001`;
  watcher.onLease({ metadata: {}, spec: { holderIdentity, renewTime: String(nowMs) } } as StoredLease);
}

describe('the watcher of the lab finds', () => {
  test('nothing while a holder writes and is bound within its tenure', () => {
    stored('node-a');
    watcher.onProviderWrite('node-a');
    watcher.onSample([{ node: 'node-a', remainingMs: LIFETIME_MS }]);
    nowMs += 1_900;
    watcher.onProviderWrite('node-a');
    assert.deepEqual(watcher.violations, []);
    assert.equal(watcher.samples, 1);
  });

  test('a write by a node that does not hold the Lease', () => {
    stored('node-a');
    watcher.onProviderWrite('node-b');
    assert.match(watcher.violations.join(), /node-b wrote to the provider while node-a held the Lease/);
  });

  test('a write after the Lease was released', () => {
    stored('node-a');
    stored('');
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /node-a wrote to the provider while nobody held the Lease/);
  });

  test('a write after the tenure, although the Lease still names its writer', () => {
    stored('node-a');
    nowMs += 2_100;
    watcher.onProviderWrite('node-a');
    assert.match(watcher.violations.join(), /2100ms after its last renewal/);
  });

  test('an address on a node that has never held the Lease', () => {
    stored('node-a');
    watcher.onSample([{ node: 'node-b', remainingMs: 1_000 }]);
    assert.match(watcher.violations.join(), /node-b, which has never held the Lease/);
  });

  test('nothing while a lifetime runs out, and an address that was given a new one after the tenure', () => {
    stored('node-a');
    nowMs += 20_000;
    watcher.onSample([{ node: 'node-a', remainingMs: LIFETIME_MS - 20_000 }]);
    assert.deepEqual(watcher.violations, []);
    watcher.onSample([{ node: 'node-a', remainingMs: LIFETIME_MS }]);
    assert.match(watcher.violations.join(), /bound on node-a for longer than/);
  });

  test('an address that would stay for ever', () => {
    stored('node-a');
    watcher.onSample([{ node: 'node-a', remainingMs: Number.POSITIVE_INFINITY }]);
    assert.equal(watcher.violations.length, 1);
  });

  test('the same thing once, however often it is seen', () => {
    stored('node-a');
    for (let times = 0; times < 3; times += 1) watcher.onSample([{ node: 'node-b', remainingMs: 1_000 }]);
    assert.equal(watcher.violations.length, 1);
  });
});

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { SlidingWindow } from '../../agent/provider/sliding-window.ts';

const WITHIN_MS = 300_000;
/** The window is a second longer than it says. */
const EDGE_MS = 1_000;

describe('a sliding window', () => {
  test('holds what has happened until a second after its length, to the instant', () => {
    const window = new SlidingWindow(10, WITHIN_MS);
    window.add(0);
    assert.equal(window.count(WITHIN_MS + EDGE_MS - 1), 1);
    assert.equal(window.freeAtMs(1, WITHIN_MS), WITHIN_MS + EDGE_MS);
    assert.equal(window.count(WITHIN_MS + EDGE_MS), 0);
    assert.equal(window.freeAtMs(1, WITHIN_MS + EDGE_MS), null);
  });

  test('says when there is room for one more under a smaller allowance', () => {
    const window = new SlidingWindow(10, WITHIN_MS);
    for (const atMs of [0, 10_000, 20_000]) window.add(atMs);
    assert.equal(window.freeAtMs(4, 20_000), null);
    assert.equal(window.freeAtMs(3, 20_000), WITHIN_MS + EDGE_MS);
    assert.equal(window.freeAtMs(1, 20_000), 20_000 + WITHIN_MS + EDGE_MS);
  });

  test('counts what took long from its end, because it may have counted elsewhere as late as that', () => {
    const window = new SlidingWindow(10, WITHIN_MS);
    const slow = window.add(0);
    window.add(1_000);
    window.end(slow, 60_000);
    assert.equal(window.freeAtMs(1, 60_000), 60_000 + WITHIN_MS + EDGE_MS);
    assert.equal(window.count(60_000), 2);
  });

  test('forgets what did not happen after all', () => {
    const window = new SlidingWindow(10, WITHIN_MS);
    window.remove(window.add(0));
    assert.equal(window.count(0), 0);
  });

  test('remembers no more than matters, however much happens', () => {
    const window = new SlidingWindow(5, WITHIN_MS);
    for (let atMs = 0; atMs < 10_000; atMs += 1) window.add(atMs);
    assert.equal(window.count(10_000), 5);
    assert.equal(window.freeAtMs(5, 10_000), 9_995 + WITHIN_MS + EDGE_MS);
  });

  test('obeyed at every step, lets no span of its length hold more than allowed', () => {
    const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 120_000 }), fc.integer({ min: 0, max: 60_000 })), { maxLength: 60 });
    fc.assert(
      fc.property(steps, fc.integer({ min: 1, max: 5 }), (each, allowed) => {
        const window = new SlidingWindow(5, WITHIN_MS);
        const done: number[] = [];
        let nowMs = 0;
        for (const [pauseMs, tookMs] of each) {
          nowMs += pauseMs;
          if (window.freeAtMs(allowed, nowMs) !== null) continue;
          const occurrence = window.add(nowMs);
          // Where it counts elsewhere is somewhere in between.
          done.push(nowMs + tookMs / 2);
          nowMs += tookMs;
          window.end(occurrence, nowMs);
        }
        for (const atMs of done) assert.ok(done.filter((other) => other >= atMs && other < atMs + WITHIN_MS).length <= allowed);
      }),
    );
  });
});

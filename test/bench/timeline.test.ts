import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { answersOf, spansOf, timelineOf } from '../../scripts/timeline.ts';
import type { Recording } from '../../scripts/timeline.ts';

const RECORDING: Recording = {
  title: 'A node <dies>',
  nodes: ['node-a', 'node-b'],
  lengthMs: 4_000,
  acts: [{ atMs: 1_000, text: 'node-a & its cable' }],
  sights: [
    { atMs: 0, holder: 'node-a', boundOn: ['node-a'], owner: 'node-a' },
    { atMs: 2_000, holder: 'node-b', boundOn: ['node-a', 'node-b'], owner: 'node-a' },
    { atMs: 2_500, holder: 'node-b', boundOn: ['node-b'], owner: 'node-b' },
  ],
  // Known in another order than begun.
  tries: [
    { atMs: 0, by: 'node-a' },
    { atMs: 2_600, by: 'node-b' },
    { atMs: 1_000, by: null },
    { atMs: 1_800, by: null },
  ],
};

describe('The picture of a failover', () => {
  test('joins what was so in a row, and lasts until the end', () => {
    assert.deepEqual(
      spansOf(RECORDING, ({ holder }) => holder === 'node-b'),
      [{ fromMs: 2_000, toMs: 4_000 }],
    );
    assert.deepEqual(
      spansOf(RECORDING, ({ boundOn }) => boundOn.includes('node-a')),
      [{ fromMs: 0, toMs: 2_500 }],
    );
  });

  test('counts clients as not answered from the first attempt that was not to the next that was', () => {
    assert.deepEqual(answersOf(RECORDING, false), [{ fromMs: 1_000, toMs: 2_600 }]);
    assert.deepEqual(answersOf(RECORDING, true), [
      { fromMs: 0, toMs: 1_000 },
      { fromMs: 2_600, toMs: 4_000 },
    ]);
  });

  test('says in words how long clients went without, and keeps texts from becoming markup', () => {
    const svg = timelineOf(RECORDING);
    assert.match(svg, /<title>A node &lt;dies&gt;: clients were without an answer for 1\.60 s<\/title>/);
    assert.match(svg, /node-a &amp; its cable/);
    assert.doesNotMatch(svg, /NaN|Infinity/);
  });

  test('stands still for whoever wants less motion', () => {
    const svg = timelineOf(RECORDING);
    assert.match(svg, /\.cover \{ display: none;/);
    assert.match(
      svg,
      /prefers-reduced-motion: no-preference\) \{ \.cover \{ display: inline; animation: draw-back 8\.0s linear infinite; \} \}/,
    );
  });
});

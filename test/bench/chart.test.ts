import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ContestantResult, FaultResult } from '../../e2e/bench/side-by-side.ts';
import { chartOf } from '../../scripts/chart.ts';

const result = (fault: FaultResult['fault'], seconds: number, answering = 1, mostAnswering = answering): FaultResult => ({
  fault,
  targetMs: null,
  movedMs: [seconds * 900, seconds * 1_000, seconds * 1_100],
  outageMs: [seconds * 1_000],
  returnOutageMs: [0],
  helped: 0,
  answering: [1, answering],
  mostAnswering: [mostAnswering],
  bound: [1],
});

const contestant = (name: string, ...faults: readonly FaultResult[]): ContestantResult => ({
  name,
  setup: '',
  faults,
  idle: null,
  violations: [],
});

const CHART = chartOf(
  [
    contestant('peer <1 & 2>', result('process killed', 3.5, 2), result('node cut off', 3, 1, 2)),
    contestant('ours', result('process killed', 0.6), result('node cut off', 0.7)),
  ],
  7,
);

/** Throws where a tag is not closed in its place, or an ampersand stands for itself. */
function assertWellFormed(xml: string): void {
  const open: string[] = [];
  for (const [, slash, name = '', isEmpty] of xml.matchAll(/<(\/?)([a-z]+)(?:\s+[\w:-]+="[^"<]*")*\s*(\/?)>/gi)) {
    if (slash === '/') assert.equal(open.pop(), name);
    else if (isEmpty === '') open.push(name);
  }
  assert.deepEqual(open, []);
  const text = xml.replaceAll(/<\/?[a-z]+(?:\s+[\w:-]+="[^"<]*")*\s*\/?>/gi, '');
  assert.doesNotMatch(text, /[<]|&(?!amp;|lt;|gt;)/);
}

describe('the chart of the benchmark', () => {
  test('is a well-formed document that names every contestant and fault', () => {
    assertWellFormed(CHART);
    for (const name of ['peer &lt;1 &amp; 2&gt;', 'ours', 'process killed', 'node cut off']) assert.ok(CHART.includes(`>${name}<`), name);
  });

  test('gives medians, and whiskers from minimum to maximum', () => {
    for (const value of ['3.50', '3.00', '0.60', '0.70']) assert.ok(CHART.includes(`>${value}<`), value);
    assert.equal(CHART.match(/class="whisker"/g)?.length, 4);
  });

  test('says where more than one node answers, and when', () => {
    assert.equal(CHART.match(/>2 nodes answer</g)?.length, 1);
    assert.equal(CHART.match(/>2 answer on return</g)?.length, 1);
  });
});

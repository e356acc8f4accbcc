import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { WireJudge } from '../../e2e/lab/wire-judge.ts';
import type { Spoken, Term } from '../../e2e/lab/wire-judge.ts';

/** What a renewal is worth with a lease duration of 3 s: 3 s less 2 % less 50 ms. */
const OPEN_MS = 2_890;
const ADDRESS = '203.0.113.10';

let judge: WireJudge;

beforeEach(() => {
  judge = new WireJudge(OPEN_MS);
});

const spoken = (node: string, atMs: number, more: Partial<Spoken> = {}): Spoken => ({
  node,
  atMs,
  address: ADDRESS,
  speech: 'accepted connection',
  ...more,
});

const term = (node: string, renewedAtMs: readonly number[], endedAtMs: number | null = null): Term => ({ node, renewedAtMs, endedAtMs });

/** One holder that renewed until 10_000 and another that took over at 13_000. */
const MOVED: readonly Term[] = [term('node-a', [9_000, 9_500, 10_000], 13_010), term('node-b', [13_000, 13_500])];

function found(frames: readonly Spoken[], terms: readonly Term[]): string[] {
  return judge.judge(frames, terms).map(({ what, ms }) => (ms === undefined ? what : `${what}: ${Math.round(ms)}ms`));
}

describe('the judge of the wire finds', () => {
  test('nothing while each node speaks in a term of its own', () => {
    const frames = [spoken('node-a', 9_010), spoken('node-a', 12_880), spoken('node-b', 13_040, { speech: 'ARP announcement' })];
    assert.deepEqual(found(frames, MOVED), []);
    assert.equal(judge.takeMostAtOnce(), 1);
  });

  test('the shortest silence between two nodes', () => {
    assert.equal(judge.shortestSilenceMs, Number.POSITIVE_INFINITY);
    judge.judge([spoken('node-a', 9_010), spoken('node-a', 12_880), spoken('node-b', 13_040)], MOVED);
    judge.judge([spoken('node-b', 13_050), spoken('node-a', 17_000)], [...MOVED, term('node-a', [16_990])]);
    assert.equal(judge.shortestSilenceMs, 160);
  });

  test('nothing in silence', () => {
    assert.deepEqual(found([], MOVED), []);
    assert.equal(judge.takeMostAtOnce(), 0);
  });

  test('a node that answers when another has taken over, and counts both', () => {
    const frames = [spoken('node-a', 9_010), spoken('node-b', 13_040), spoken('node-a', 13_041, { speech: 'ARP answer' })];
    assert.deepEqual(found(frames, MOVED), ['node-a spoke for 203.0.113.10 (ARP answer) when node-b had spoken in a later term: 41ms']);
    assert.equal(judge.takeMostAtOnce(), 2);
    assert.equal(judge.takeMostAtOnce(), 0);
  });

  test('a node that answers within its tenure, but after the next one', () => {
    // However the clocks are: two nodes in turns are two nodes at once.
    const terms = [term('node-a', [10_000]), term('node-b', [10_010])];
    const frames = [spoken('node-a', 10_005), spoken('node-b', 10_015), spoken('node-a', 10_020)];
    assert.equal(found(frames, terms).length, 1);
    assert.equal(judge.takeMostAtOnce(), 2);
  });

  test('two at once in each of two terms, which is not three', () => {
    const terms = [term('node-a', [10_000]), term('node-b', [13_000, 15_000], 16_000), term('node-c', [16_010])];
    const frames = [spoken('node-b', 13_040), spoken('node-a', 13_050), spoken('node-c', 16_040), spoken('node-a', 16_050)];
    assert.equal(found(frames, terms).length, 2);
    assert.equal(judge.takeMostAtOnce(), 2);
  });

  test('a frozen node whose fence does not close, although nobody else has spoken yet', () => {
    assert.deepEqual(found([spoken('node-a', 12_950)], MOVED), [
      'node-a spoke for 203.0.113.10 (accepted connection) after its fence should have closed: 60ms',
    ]);
    assert.equal(judge.takeMostAtOnce(), 1);
  });

  test('a frozen node whose fence does not close, before the next one has said anything', () => {
    found([spoken('node-a', 13_100)], MOVED);
    assert.equal(judge.takeMostAtOnce(), 2);
  });

  test('nothing of a few milliseconds that clocks may be apart, and what is more', () => {
    assert.deepEqual(found([spoken('node-a', 12_905), spoken('node-b', 12_985)], MOVED), []);
    assert.equal(found([spoken('node-b', 13_020)], MOVED).length, 0);
    judge = new WireJudge(OPEN_MS);
    assert.equal(found([spoken('node-b', 12_900)], MOVED).length, 1);
  });

  test('a node that has never held the Lease', () => {
    assert.deepEqual(found([spoken('node-c', 10_000)], MOVED), [
      'node-c spoke for 203.0.113.10 (accepted connection) without ever having held the Lease',
    ]);
    assert.equal(judge.takeMostAtOnce(), 2);
  });

  test('a node that speaks before it has acquired the Lease', () => {
    assert.equal(found([spoken('node-b', 12_000)], MOVED).length, 1);
  });

  test('a node that has released the Lease and goes on', () => {
    const terms = [term('node-a', [10_000], 10_200)];
    assert.deepEqual(found([spoken('node-a', 10_190), spoken('node-a', 10_210)], terms), []);
    assert.equal(found([spoken('node-a', 10_300)], terms).length, 1);
  });

  test('nothing when a node comes back in a new term, and what it says in between', () => {
    const terms = [...MOVED, term('node-a', [17_000])];
    assert.deepEqual(found([spoken('node-a', 9_010), spoken('node-b', 13_040), spoken('node-a', 17_040)], terms), []);
    judge = new WireJudge(OPEN_MS);
    assert.equal(found([spoken('node-b', 13_040), spoken('node-a', 15_000), spoken('node-a', 17_040)], terms).length, 1);
  });

  test('what is said between two terms of the same node', () => {
    const terms = [term('node-a', [10_000]), term('node-a', [20_000])];
    assert.equal(found([spoken('node-a', 15_000)], terms).length, 1);
  });

  test('what is said in a gap between renewals that is too long', () => {
    const terms = [term('node-a', [10_000, 14_000])];
    assert.deepEqual(found([spoken('node-a', 12_800), spoken('node-a', 14_000)], terms), []);
    assert.equal(found([spoken('node-a', 13_500)], terms).length, 1);
  });

  test('each address on its own', () => {
    const other = { address: '2001:db8::1', speech: 'neighbour advertisement' } as const;
    const frames = [spoken('node-b', 13_040), spoken('node-a', 13_050, other)];
    assert.match(found(frames, MOVED).join(), /node-a spoke for 2001:db8::1 \(neighbour advertisement\) after its fence/);
  });

  test('what was said a judgement later', () => {
    assert.deepEqual(found([spoken('node-b', 13_040)], MOVED), []);
    assert.equal(found([spoken('node-a', 13_050)], MOVED).length, 1);
  });
});

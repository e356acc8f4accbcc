import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import { evictorStep, newEvictor } from '../../agent/application/evictor.ts';
import type { EvictorCommand, EvictorInput, EvictorState } from '../../agent/application/evictor.ts';
import type { Presence } from '../../agent/application/presence.ts';
import type { Prospect } from '../../agent/application/prospect.ts';
import type { EvictionOutcome } from '../../agent/kube/evictions.ts';

const HERE: Presence = { isReady: true, isBound: true, elsewhere: ['node-b'], reason: '' };
const NOT_READY: Presence = { ...HERE, isReady: false };
const MOVED: Presence = { isReady: false, isBound: false, elsewhere: ['node-b'], reason: '' };
const NOWHERE: Presence = { ...MOVED, elsewhere: [] };
const BETTER: Prospect = { is: 'better', nodes: ['node-b'] };
const BUDGET: EvictionOutcome = { is: 'refused-for-now', message: 'the budget', retryAfterMs: null };

let state: EvictorState;
let nowMs: number;
let dueAtMs: number | null;
let asked: string[];
let told: string[];
let rehearsals: number;

function give(input: EvictorInput extends infer Each ? (Each extends EvictorInput ? Omit<Each, 'atMs'> : never) : never): void {
  const next = evictorStep(state, { ...input, atMs: nowMs });
  state = next.state;
  dueAtMs = next.dueAtMs;
  for (const command of next.commands) note(command);
}

function note(command: EvictorCommand): void {
  if (command.type === 'rehearse') rehearsals += 1;
  else if (command.type === 'tell') told.push(`${command.level}: ${command.message}`);
  else asked.push(`${command.type} ${nowMs / 1_000}s`);
}

/** Lets time pass, with every tick that the machine asks for. */
function pass(ms: number): void {
  const untilMs = nowMs + ms;
  while (dueAtMs !== null && dueAtMs <= untilMs) {
    nowMs = Math.max(nowMs, dueAtMs);
    give({ type: 'tick' });
  }
  nowMs = untilMs;
}

const see = (presence: Presence | null): void => give({ type: 'presence', presence });
const looked = (prospect: Prospect): void => give({ type: 'looked', prospect });
const answered = (outcome: EvictionOutcome): void => give({ type: 'answered', outcome });

describe('an agent that the application has left behind', () => {
  beforeEach(() => {
    state = newEvictor(10_000);
    nowMs = 0;
    dueAtMs = null;
    asked = [];
    told = [];
    rehearsals = 0;
  });

  test('is evicted when the application has been away for the whole delay, after one look', () => {
    see(MOVED);
    pass(9_999);
    assert.deepEqual(asked, []);
    pass(1);
    assert.deepEqual(asked, ['look 10s']);
    looked(BETTER);
    assert.deepEqual(asked, ['look 10s', 'evict 10s']);
    assert.match(told[0] ?? '', /^warn: left behind by the application: asking for the eviction of this pod.* on node-b$/);
    answered({ is: 'granted' });
    pass(3_600_000);
    see(NOWHERE);
    see(MOVED);
    pass(3_600_000);
    assert.equal(asked.length, 2, 'once and never again');
  });

  test('is left alone while a pod of the application is here, ready or not, or nothing is known', () => {
    for (const presence of [HERE, NOT_READY, null]) {
      see(MOVED);
      pass(5_000);
      see(presence);
      pass(3_600_000);
      assert.deepEqual(asked, []);
    }
  });

  test('is left alone while the application is ready nowhere else, and evicted as soon as it is', () => {
    see(NOWHERE);
    pass(60_000);
    assert.deepEqual(asked, []);
    see(MOVED);
    assert.deepEqual(asked, ['look 60s']);
  });

  test('is left alone for the whole delay again after the application was back', () => {
    see(MOVED);
    pass(9_000);
    see(HERE);
    see(MOVED);
    pass(9_999);
    assert.deepEqual(asked, []);
    pass(1);
    assert.deepEqual(asked, ['look 19s']);
  });

  test('is not evicted when the application has come back during the look', () => {
    see(MOVED);
    pass(10_000);
    see(NOT_READY);
    looked(BETTER);
    assert.deepEqual(asked, ['look 10s']);
    see(MOVED);
    pass(10_000);
    assert.deepEqual(asked, ['look 10s', 'look 20s'], 'and looks again later');
  });

  test('is not evicted for nothing: it looks again now and then, and at once when the application is somewhere else', () => {
    see(MOVED);
    pass(10_000);
    looked({ is: 'no-better', reason: 'all have one' });
    assert.deepEqual(told, ['info: left behind by the application, and staying: all have one']);
    pass(30_000);
    looked({ is: 'no-better', reason: 'all have one' });
    assert.deepEqual(asked, ['look 10s', 'look 40s']);
    assert.equal(told.length, 1, 'told once');
    pass(5_000);
    see({ ...MOVED, elsewhere: ['node-b'] });
    assert.equal(asked.length, 2);
    see({ ...MOVED, elsewhere: ['node-c'] });
    assert.deepEqual(asked.slice(2), ['look 45s']);
  });

  test('lets others go first, and goes itself if they do not', () => {
    const notFirst: Prospect = { is: 'not-first', nodes: ['node-b'], reason: 'the agent on node-c goes first' };
    see(MOVED);
    pass(10_000);
    looked(notFirst);
    pass(5_000);
    looked(notFirst);
    pass(5_000);
    assert.deepEqual(asked, ['look 10s', 'look 15s', 'look 20s']);
    looked(notFirst);
    assert.deepEqual(asked.slice(3), ['evict 20s']);
  });

  test('asks again with growing patience while a PodDisruptionBudget says no, up to two minutes, looks anew each time, and says so once', () => {
    see(MOVED);
    pass(10_000);
    const pauses: number[] = [];
    for (let tries = 0; tries < 7; tries += 1) {
      looked(BETTER);
      answered(BUDGET);
      pauses.push((dueAtMs ?? 0) - nowMs);
      pass((dueAtMs ?? 0) - nowMs);
    }
    assert.deepEqual(pauses, [5_000, 10_000, 20_000, 40_000, 80_000, 120_000, 120_000]);
    assert.deepEqual([asked.filter((each) => each.startsWith('look')).length, asked.length], [8, 15]);
    assert.deepEqual(told.slice(1), ['warn: the budget']);
  });

  test('waits for as long as the server asks, within reason', () => {
    see(MOVED);
    pass(10_000);
    looked(BETTER);
    answered({ ...BUDGET, retryAfterMs: 30_000 });
    assert.equal((dueAtMs ?? 0) - nowMs, 30_000);
    pass(30_000);
    looked(BETTER);
    answered({ ...BUDGET, retryAfterMs: 99_999_000 });
    assert.equal((dueAtMs ?? 0) - nowMs, 120_000);
  });

  test('is not hurried by news of the application while it is refused', () => {
    see(MOVED);
    pass(10_000);
    looked(BETTER);
    answered(BUDGET);
    see({ ...MOVED, elsewhere: ['node-c'] });
    assert.equal(asked.length, 2);
  });

  test('waits for a person where it has no right, or its affinity is wrong, and says what to do once', () => {
    see(MOVED);
    pass(10_000);
    looked(BETTER);
    answered({ is: 'failed', message: 'forbidden; grant it', isRefusal: true });
    pass(59_999);
    assert.equal(asked.length, 2);
    pass(1);
    looked({ is: 'wrong', reason: 'the affinity' });
    pass(60_000);
    looked({ is: 'wrong', reason: 'the affinity' });
    assert.deepEqual(told.slice(1), ['error: forbidden; grant it', 'error: left behind by the application, and not evicted: the affinity']);
  });

  test('tries again after a request that brought no answer', () => {
    see(MOVED);
    pass(10_000);
    give({ type: 'look-failed', message: 'unreachable' });
    pass(5_000);
    assert.deepEqual(asked, ['look 10s', 'look 15s']);
    looked(BETTER);
    answered({ is: 'failed', message: 'unreachable', isRefusal: false });
    pass(10_000);
    assert.deepEqual(asked, ['look 10s', 'look 15s', 'evict 15s', 'look 25s']);
    looked({ is: 'ending' });
    pass(3_600_000);
    assert.equal(asked.length, 4, 'the first request had come through after all');
  });

  test('rehearses its eviction when it sees the application for the first time, and says what would stand in the way', () => {
    const granted: EvictionOutcome = { is: 'granted' };
    see(null);
    see(NOWHERE);
    assert.equal(rehearsals, 0);
    see(HERE);
    see(MOVED);
    assert.equal(rehearsals, 1, 'once');
    give({ type: 'rehearsed', prospect: { is: 'no-better', reason: '' }, outcome: granted });
    give({ type: 'rehearsed', prospect: { is: 'no-better', reason: '' }, outcome: BUDGET });
    give({
      type: 'rehearsed',
      prospect: { is: 'no-better', reason: '' },
      outcome: { is: 'failed', message: 'unreachable', isRefusal: false },
    });
    assert.deepEqual(told, []);
    give({ type: 'rehearsed', prospect: { is: 'wrong', reason: 'the affinity' }, outcome: granted });
    give({
      type: 'rehearsed',
      prospect: { is: 'no-better', reason: '' },
      outcome: { is: 'failed', message: 'forbidden', isRefusal: true },
    });
    assert.deepEqual(told, [
      'error: should the application leave this node, this pod would not be evicted: the affinity',
      'error: should the application leave this node, this pod would not be evicted: forbidden',
    ]);
    assert.deepEqual(asked, [], 'and nothing is evicted by it');
  });

  test('asks nothing more when its pod is gone or another one by now', () => {
    see(MOVED);
    pass(10_000);
    looked(BETTER);
    answered({ is: 'gone' });
    pass(3_600_000);
    assert.equal(asked.length, 2);
  });
});

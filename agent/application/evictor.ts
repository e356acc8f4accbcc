/**
 * Decides when an agent that the application has left behind has its own pod evicted, so that the scheduler places the next
 * one beside the application: it ignores affinity once a pod runs.
 *
 * Guarantees: pure, like the heart: inputs carry the time they happened at, commands are plain data. Nothing is evicted while a
 * pod of the application is on this node, before it has been away for the whole delay, or while it is ready nowhere else; what
 * the surroundings are is looked at anew right before each request. Granted once, it never asks again. Every refusal is
 * followed by a longer pause, and told once. What would stand in the way is found out early, by a rehearsal as soon as the
 * application is seen for the first time.
 */
import type { EvictionOutcome } from '../kube/evictions.ts';
import type { Presence } from './presence.ts';
import type { Prospect } from './prospect.ts';

export type EvictorInput = { readonly atMs: number } & (
  | { readonly type: 'tick' }
  /** Where the application is; null while that is not known. */
  | { readonly type: 'presence'; readonly presence: Presence | null }
  | { readonly type: 'looked'; readonly prospect: Prospect }
  | { readonly type: 'look-failed'; readonly message: string }
  | { readonly type: 'answered'; readonly outcome: EvictionOutcome }
  /** What would come of an eviction that nobody asks for yet. */
  | { readonly type: 'rehearsed'; readonly prospect: Prospect; readonly outcome: EvictionOutcome }
);

export type EvictorCommand =
  | { readonly type: 'look' }
  | { readonly type: 'evict' }
  | { readonly type: 'rehearse' }
  | { readonly type: 'tell'; readonly level: 'info' | 'warn' | 'error'; readonly message: string };

export interface EvictorState {
  readonly isRehearsed: boolean;
  /** How long the application must have been away from this node. */
  readonly delayMs: number;
  readonly presence: Presence | null;
  /** Since when no pod of it has been on this node; null while there is one, or while that is not known. */
  readonly absentSinceMs: number | null;
  readonly stage: 'waiting' | 'looking' | 'asking' | 'done';
  /** Before this, nothing is asked of anybody. */
  readonly notBeforeMs: number;
  /** Until this, others go first; null when they are not known to be there. */
  readonly yieldsUntilMs: number | null;
  /** Refusals in a row. */
  readonly refusals: number;
  /** What people were last told. */
  readonly told: string;
}

export interface EvictorStep {
  readonly state: EvictorState;
  readonly commands: readonly EvictorCommand[];
  /** When to come back with a tick if nothing happens before; null: not before something happens. */
  readonly dueAtMs: number | null;
}

/** How often the surroundings are looked at where an eviction would lead to nothing better. */
const LOOK_AGAIN_MS = 30_000;
const YIELD_LOOK_MS = 5_000;
const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 120_000;
/** Rights and affinity change only by a person's hand. */
const PERSONS_PAUSE_MS = 60_000;

/** An evictor that knows nothing yet. */
export function newEvictor(delayMs: number): EvictorState {
  return {
    isRehearsed: false,
    delayMs,
    presence: null,
    absentSinceMs: null,
    stage: 'waiting',
    notBeforeMs: Number.NEGATIVE_INFINITY,
    yieldsUntilMs: null,
    refusals: 0,
    told: '',
  };
}

/** Takes one input in. */
export function evictorStep(before: EvictorState, input: EvictorInput): EvictorStep {
  const { atMs } = input;
  switch (input.type) {
    case 'tick':
      return advance(before, atMs);
    case 'presence':
      return rehearsedOnce(advance(withPresence(before, input.presence, atMs), atMs));
    case 'looked':
      return before.stage === 'looking' ? onLooked(before, input.prospect, atMs) : advance(before, atMs);
    case 'look-failed':
      return waitOn(before, { atMs, pauseMs: pauseMs(before), level: 'warn', message: input.message, refusals: before.refusals + 1 });
    case 'answered':
      return onAnswered(before, input.outcome, atMs);
    case 'rehearsed':
      return onRehearsed(before, input, atMs);
  }
}

/** On the first sight of the application, so that what stands in the way is not found out on the day it is needed. */
function rehearsedOnce(step: EvictorStep): EvictorStep {
  const { state, commands } = step;
  if (state.isRehearsed || state.presence === null || !(state.presence.isBound || state.presence.elsewhere.length > 0)) return step;
  return { ...step, state: { ...state, isRehearsed: true }, commands: [...commands, { type: 'rehearse' }] };
}

function onRehearsed(before: EvictorState, { prospect, outcome }: EvictorInput & { type: 'rehearsed' }, atMs: number): EvictorStep {
  const wrong = prospect.is === 'wrong' ? prospect.reason : outcome.is === 'failed' && outcome.isRefusal ? outcome.message : null;
  const step = advance(before, atMs);
  if (wrong === null) return step;
  const message = `should the application leave this node, this pod would not be evicted: ${wrong}`;
  return { ...step, commands: [...step.commands, { type: 'tell', level: 'error', message }] };
}

function withPresence(before: EvictorState, presence: Presence | null, atMs: number): EvictorState {
  if (presence === null || presence.isBound)
    return { ...before, presence, absentSinceMs: null, yieldsUntilMs: null, told: before.stage === 'done' ? before.told : '' };
  const isNews = presence.elsewhere.join() !== before.presence?.elsewhere.join();
  // A refusal has nothing to do with where the application is.
  const notBeforeMs = isNews && before.refusals === 0 ? Number.NEGATIVE_INFINITY : before.notBeforeMs;
  return { ...before, presence, absentSinceMs: before.absentSinceMs ?? atMs, notBeforeMs };
}

function advance(state: EvictorState, atMs: number): EvictorStep {
  const { stage, absentSinceMs, presence } = state;
  if (stage !== 'waiting' || absentSinceMs === null || presence === null || presence.elsewhere.length === 0) return rest(state);
  const dueAtMs = Math.max(absentSinceMs + state.delayMs, state.notBeforeMs);
  if (atMs < dueAtMs) return { state, commands: [], dueAtMs };
  return { state: { ...state, stage: 'looking' }, commands: [{ type: 'look' }], dueAtMs: null };
}

function onLooked(before: EvictorState, prospect: Prospect, atMs: number): EvictorStep {
  // It may have come back in the meantime.
  if (before.absentSinceMs === null) return rest({ ...before, stage: 'waiting' });
  switch (prospect.is) {
    case 'better':
      return ask(before, prospect.nodes);
    case 'not-first': {
      const yieldsUntilMs = before.yieldsUntilMs ?? atMs + before.delayMs;
      if (atMs >= yieldsUntilMs) return ask(before, prospect.nodes);
      const message = `left behind by the application, which is ready on ${prospect.nodes.join(', ')} without an agent: ${prospect.reason}`;
      const pauseMs = Math.min(YIELD_LOOK_MS, yieldsUntilMs - atMs);
      return waitOn({ ...before, yieldsUntilMs }, { atMs, pauseMs, level: 'info', message, refusals: 0 });
    }
    case 'no-better': {
      const message = `left behind by the application, and staying: ${prospect.reason}`;
      return waitOn({ ...before, yieldsUntilMs: null }, { atMs, pauseMs: LOOK_AGAIN_MS, level: 'info', message, refusals: 0 });
    }
    case 'wrong': {
      const message = `left behind by the application, and not evicted: ${prospect.reason}`;
      return waitOn(before, { atMs, pauseMs: PERSONS_PAUSE_MS, level: 'error', message, refusals: before.refusals + 1 });
    }
    case 'ending':
      return rest({ ...before, stage: 'done', told: 'this pod is ending already' });
  }
}

function ask(before: EvictorState, nodes: readonly string[]): EvictorStep {
  const state: EvictorState = { ...before, stage: 'asking' };
  if (before.refusals > 0) return { state, commands: [{ type: 'evict' }], dueAtMs: null };
  const message = `left behind by the application: asking for the eviction of this pod, so that one is placed beside it on ${nodes.join(' or ')}`;
  return { state: { ...state, told: message }, commands: [...tell(before, 'warn', message), { type: 'evict' }], dueAtMs: null };
}

function onAnswered(before: EvictorState, outcome: EvictionOutcome, atMs: number): EvictorStep {
  const refusals = before.refusals + 1;
  switch (outcome.is) {
    case 'granted':
    case 'gone': {
      const message = outcome.is === 'granted' ? 'the eviction of this pod is granted: it is asked to end' : 'this pod is gone already';
      return { state: { ...before, stage: 'done', told: message }, commands: tell(before, 'info', message), dueAtMs: null };
    }
    case 'refused-for-now': {
      const longerMs = Math.max(pauseMs(before), Math.min(LONGEST_PAUSE_MS, outcome.retryAfterMs ?? 0));
      return waitOn(before, { atMs, pauseMs: longerMs, level: 'warn', message: outcome.message, refusals });
    }
    case 'failed': {
      const longerMs = outcome.isRefusal ? PERSONS_PAUSE_MS : pauseMs(before);
      return waitOn(before, { atMs, pauseMs: longerMs, level: outcome.isRefusal ? 'error' : 'warn', message: outcome.message, refusals });
    }
  }
}

/** Waits for a while, and says why if that has not just been said. */
function waitOn(
  before: EvictorState,
  why: { atMs: number; pauseMs: number; level: 'info' | 'warn' | 'error'; message: string; refusals: number },
): EvictorStep {
  const { atMs, pauseMs, level, message, refusals } = why;
  const state: EvictorState = { ...before, stage: 'waiting', notBeforeMs: atMs + pauseMs, refusals, told: message };
  return { state, commands: tell(before, level, message), dueAtMs: before.absentSinceMs === null ? null : state.notBeforeMs };
}

function rest(state: EvictorState): EvictorStep {
  return { state, commands: [], dueAtMs: null };
}

function tell(before: EvictorState, level: 'info' | 'warn' | 'error', message: string): EvictorCommand[] {
  return before.told === message ? [] : [{ type: 'tell', level, message }];
}

function pauseMs({ refusals }: EvictorState): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(refusals, 10));
}

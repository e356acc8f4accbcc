/**
 * Giving up office in order (rule 5), and leaving for good.
 *
 * Guarantees: the Lease is released only after a fresh read has shown this very term, and with that read's
 * resourceVersion; on L2 it is not released before every address has been seen unbound. What cannot be released in time
 * is left to run out by itself.
 */
import { allAddressesUnbound, noAddressNeedsUs } from './addresses.ts';
import { standby } from './candidate.ts';
import type { Cause } from './command.ts';
import type { ReadOutcome, WriteOutcome } from './input.ts';
import { isTermAskedFor, observe, termOf } from './lease.ts';
import type { LeaseRecord, Term } from './lease.ts';
import { letGoOfAddresses, takeOffLeftovers } from './retention.ts';
import type { Life, Office, StandBack } from './state.ts';
import type { Turn } from './turn.ts';

type SteppingDown = Life & { is: 'stepping-down' };

/** How long a request that is under way may still settle before it is called off. */
const SETTLE_MS = 50;
/** A release that has not succeeded after this long is given up: the Lease runs out by itself. */
const RELEASE_MAX_MS = 2_000;
const RELEASE_PAUSE_MAX_MS = 200;
const HEALTH_STAND_BACK_MS = 2_000;
const HEALTH_STAND_BACK_MAX_MS = 60_000;
const CLAIM_STAND_BACK_MS = 30_000;
const CLAIM_STAND_BACK_MAX_MS = 600_000;
/** So long others go first after a step down that an operator wanted: longer than any of them needs. */
const PLANNED_STAND_BACK_MS = 10_000;
/** A term that served this long was a good one: what failed before it is forgotten. */
const GOOD_TERM_MS = 600_000;

/** Begins to give up an office. Nothing is written to the provider from here on. */
export function beginStepDown(turn: Turn, office: Office, cause: Cause, reason: string, afterwards: SteppingDown['afterwards']): void {
  turn.draft.standBack = standBackAfter(turn, office);
  leaveTerm(turn, office.term, cause, reason, afterwards);
}

/** Begins to give up a term that this contender may or may not have been granted. */
export function leaveTerm(turn: Turn, term: Term, cause: Cause, reason: string, afterwards: SteppingDown['afterwards']): void {
  const { draft, nowMs } = turn;
  letGoOfAddresses(turn, nowMs, draft.settings.kind === 'l2' && draft.life.is === 'holding' ? draft.life.office.tenureEndMs : null);
  turn.because(cause, reason);
  draft.life = {
    is: 'stepping-down',
    term,
    reason,
    stage: draft.settings.kind === 'l2' ? 'unbinding' : 'settling',
    afterwards,
    failures: 0,
    retryAtMs: nowMs,
    abortAtMs: nowMs + SETTLE_MS,
    giveUpAtMs: nowMs + RELEASE_MAX_MS,
  };
}

/** Does what is due while stepping down. */
export function stepDown(turn: Turn, life: SteppingDown): void {
  const { draft } = turn;
  if (turn.due(life.giveUpAtMs)) {
    const message =
      life.stage === 'unbinding'
        ? 'not released: an address could not be seen unbound. Other nodes wait for the whole lease duration'
        : 'not released: the Kubernetes API did not answer as it should, or not in time. Other nodes wait for the whole lease duration';
    turn.incident('release-failed', message);
    callOffRequest(turn);
    return finish(turn, life, 'release-failed', 'the Lease is left to run out', 'read');
  }
  switch (life.stage) {
    case 'unbinding':
      if (!allAddressesUnbound(turn)) return;
      draft.life = { ...life, stage: 'settling' };
      return settle(turn, { ...life, stage: 'settling' });
    case 'settling':
      return settle(turn, life);
    case 'reading':
      if (draft.request === null && turn.due(life.retryAtMs)) turn.request({ type: 'read' }, life.giveUpAtMs);
      return;
    case 'writing':
      return;
  }
}

function settle(turn: Turn, life: SteppingDown): void {
  if (turn.draft.request !== null) {
    if (!turn.due(life.abortAtMs)) return;
    callOffRequest(turn);
  }
  turn.draft.life = { ...life, stage: 'reading' };
  turn.request({ type: 'read' }, life.giveUpAtMs);
}

function callOffRequest(turn: Turn): void {
  const { request } = turn.draft;
  if (request === null) return;
  turn.command({ type: 'abort-request', request: request.id });
  turn.draft.request = null;
}

/** Takes in the fresh read that a release needs. */
export function onDepartureRead(turn: Turn, life: SteppingDown, outcome: ReadOutcome): void {
  if (outcome.is !== 'read') {
    turn.noteTrouble(outcome);
    const pauseMs = Math.min(RELEASE_PAUSE_MAX_MS, turn.pauseMs(outcome, life.failures, RELEASE_PAUSE_MAX_MS));
    turn.draft.life = { ...life, stage: 'reading', failures: life.failures + 1, retryAtMs: turn.nowMs + pauseMs };
    return;
  }
  turn.noteNoTrouble();
  const { sight } = outcome;
  turn.draft.observation = observe(turn.draft.observation, sight, { atMs: turn.nowMs, readSentAtMs: null });
  const term = termOf(sight);
  if (sight === 'absent' || term === null || !isTermAskedFor(term, life.term)) {
    return finish(turn, life, 'other-holder', 'the Lease is in other hands already', 'known');
  }
  turn.draft.life = { ...life, stage: 'writing' };
  turn.request(
    {
      type: 'release',
      basis: { uid: sight.uid, resourceVersion: sight.resourceVersion },
      marks: { released: term, relief: null, reason: { term, reason: life.reason } },
    },
    life.giveUpAtMs,
  );
}

/** Takes in the answer to a release: anything but success is followed by another fresh read. */
export function onReleased(turn: Turn, life: SteppingDown, outcome: WriteOutcome): void {
  switch (outcome.is) {
    case 'written':
      noteReleased(turn, outcome.record);
      return finish(turn, life, 'released', 'the Lease is released', 'known');
    case 'missing':
      return finish(turn, life, 'lease-deleted', 'the Lease was deleted meanwhile', 'read');
    case 'conflict':
      turn.draft.life = { ...life, stage: 'reading', retryAtMs: turn.nowMs };
      return;
    default:
      return onDepartureRead(turn, life, outcome);
  }
}

function noteReleased(turn: Turn, record: LeaseRecord): void {
  turn.noteNoTrouble();
  turn.draft.observation = observe(turn.draft.observation, record, { atMs: turn.nowMs, readSentAtMs: null });
}

function finish(turn: Turn, life: SteppingDown, cause: Cause, reason: string, find: 'read' | 'known'): void {
  turn.because(cause, reason);
  turn.draft.life = life.afterwards === 'leaving' ? { is: 'leaving' } : standby(turn.nowMs, find);
}

/** Does what is due for a contender that is leaving: it ends once nothing lingers any more. */
export function leave(turn: Turn): void {
  callOffRequest(turn);
  takeOffLeftovers(turn);
  if (!noAddressNeedsUs(turn)) return;
  if (turn.why === null) turn.because('done', 'nothing is left to do');
  turn.draft.life = { is: 'stopped' };
  turn.command({ type: 'stop' });
}

function standBackAfter(turn: Turn, office: Office): StandBack {
  const { standBack } = turn.draft;
  if (office.planned !== null && (office.relief === null || office.relief.cause === 'planned')) {
    return { ...standBack, untilMs: Math.max(standBack.untilMs ?? 0, turn.nowMs + PLANNED_STAND_BACK_MS) };
  }
  if (office.relief === null) return standBack;
  const wasGood = office.servingSinceMs !== null && turn.nowMs - office.servingSinceMs >= GOOD_TERM_MS;
  const before = wasGood ? { healthFailures: 0, claimFailures: 0 } : standBack;
  const isHealth = office.relief.cause === 'unhealthy';
  const healthFailures = before.healthFailures + (isHealth ? 1 : 0);
  const claimFailures = before.claimFailures + (isHealth ? 0 : 1);
  const claimMs = Math.min(CLAIM_STAND_BACK_MAX_MS, CLAIM_STAND_BACK_MS * 2 ** (claimFailures - 1));
  return {
    healthFailures,
    claimFailures,
    untilMs: turn.nowMs + Math.min(HEALTH_STAND_BACK_MAX_MS, HEALTH_STAND_BACK_MS * 2 ** Math.max(0, healthFailures - 1)),
    claimUntilMs: isHealth ? standBack.claimUntilMs : turn.nowMs + claimMs,
  };
}

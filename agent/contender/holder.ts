/**
 * The life of a holder: it renews in time, verifies what contradicts it, and asks to be relieved when it cannot serve.
 *
 * Guarantees: the tenure ends at the send time of the last good renewal + the renew deadline, and no later answer
 * revives it (rule 3); only a consistent read or the end of the tenure ends a term, never a watch event (rule 4).
 */
import { allAddressesServe, failedFirstClaim, missingAddress } from './addresses.ts';
import { healthProblem, standby } from './candidate.ts';
import type { Cause } from './command.ts';
import type { LeaseTrouble, ReadOutcome, WriteOutcome } from './input.ts';
import { markNames, nodeOfIdentity, observe, sameTerm, termOf } from './lease.ts';
import type { LeaseRecord, LeaseSight } from './lease.ts';
import { holdAddressesOver, letGoOfAddresses } from './retention.ts';
import type { Life, Office, Relief } from './state.ts';
import { beginStepDown } from './departure.ts';
import type { Turn } from './turn.ts';

/** How often a holder that nobody relieves says so again. */
const UNRELIEVED_REMINDER_MS = 30_000;
const CONFLICTS_WITHOUT_PAUSE = 3;

/** Takes office with a record that names this agent, counted from the instant the write was sent. */
export function takeOffice(turn: Turn, record: LeaseRecord, sentAtMs: number): void {
  const { draft, nowMs } = turn;
  const { settings } = draft;
  const term = termOf(record);
  const tenureEndMs = sentAtMs + settings.renewDeadlineMs;
  noteRecord(turn, record);
  if (term?.holder !== settings.identity || nowMs >= tenureEndMs) {
    draft.life = standby(nowMs, 'read');
    turn.because('api-trouble', 'the answer that made this agent the holder came too late');
    return;
  }
  const office: Office = {
    term,
    acquiredAtMs: nowMs,
    basis: { uid: record.uid, resourceVersion: record.resourceVersion },
    renewTime: record.renewTime,
    renewalSentAtMs: sentAtMs,
    tenureEndMs,
    // A Lease that was just created cannot name its own uid in the mark of its duration: the first renewal adds it.
    renewAtMs: record.marks.duration === null ? nowMs : sentAtMs + settings.renewIntervalMs,
    renewFailures: 0,
    conflicts: 0,
    doubt: null,
    relief: null,
    planned: null,
    claimFailed: record.marks.claimFailed,
    servingSinceMs: null,
  };
  draft.ownTerms = [term];
  draft.remindAtMs = null;
  turn.because('acquired', `the Lease names this agent now, in term ${term.transitions}`);
  draft.life = { is: 'holding', office };
}

/** Ends the office if its tenure is over. Runs before anything else in every step. */
export function endTenureInTime(turn: Turn): void {
  const { life } = turn.draft;
  if (life.is !== 'holding' || turn.nowMs < life.office.tenureEndMs) return;
  const { office } = life;
  const silentMs = Math.round(turn.nowMs - office.renewalSentAtMs);
  const reason = `no renewal has succeeded for ${silentMs}ms: the tenure is over`;
  loseOffice(turn, office, 'tenure-ended', reason, wasOnlySilence(turn, office));
}

/** Whether the API's silence alone has ended a tenure: nothing spoke against this term or this node. */
function wasOnlySilence(turn: Turn, office: Office): boolean {
  return turn.stalledMs === 0 && office.doubt !== 'sight' && (office.relief === null || office.relief.cause === 'planned');
}

/** After a stall the record is read before anything else is done in office. */
export function onHolderStalled(turn: Turn, office: Office): void {
  setOffice(turn, { ...office, doubt: office.doubt ?? 'stall', renewAtMs: turn.nowMs });
}

/** Does what is due for a holder. */
export function serve(turn: Turn, { office }: Life & { is: 'holding' }): void {
  const { draft, nowMs } = turn;
  turn.due(office.tenureEndMs);
  let next = withRelief(turn, office);
  if (next.relief !== null) {
    const unaskedAtMs = next.relief.sinceMs + draft.settings.leaseDurationMs;
    const mayRelease = draft.settings.whenAllUnhealthy === 'release' && next.relief.cause === 'unhealthy';
    if (mayRelease && turn.due(unaskedAtMs)) {
      draft.life = { is: 'holding', office: next };
      const reason = `unhealthy, and no healthy node has offered to take over: ${next.relief.reason}`;
      return beginStepDown(turn, next, 'unhealthy', reason, 'standby');
    }
    if (turn.due(next.relief.remindAtMs)) {
      turn.incident('unrelieved', `holding on although ${next.relief.reason}: no other node has offered to take over`);
      next = { ...next, relief: { ...next.relief, remindAtMs: nowMs + UNRELIEVED_REMINDER_MS } };
    }
  }
  if (next.servingSinceMs === null && allAddressesServe(turn)) {
    turn.because('ready-to-serve', `every address is ${draft.settings.kind === 'routed' ? 'bound and routed here' : 'bound'}`);
    next = { ...next, servingSinceMs: nowMs, claimFailed: [] };
  }
  draft.life = { is: 'holding', office: next };
  if (draft.request === null && turn.due(next.renewAtMs)) renewOrRead(turn, next);
}

function renewOrRead(turn: Turn, office: Office): void {
  if (office.doubt !== null) return turn.request({ type: 'read' }, office.tenureEndMs);
  const { settings } = turn.draft;
  const { term, relief } = office;
  // Set now and not with the answer: a doubt or a wish that arises meanwhile makes it earlier.
  setOffice(turn, { ...office, renewAtMs: turn.nowMs + settings.renewIntervalMs });
  turn.request(
    {
      type: 'renew',
      basis: office.basis,
      term,
      durationMs: settings.leaseDurationMs,
      lastRenewTime: office.renewTime,
      marks: {
        duration: { term, durationMs: settings.leaseDurationMs },
        relief: relief === null ? null : { term, cause: relief.cause, reason: relief.reason },
        claimFailed: office.claimFailed,
      },
    },
    office.tenureEndMs,
  );
}

/** Wants relief when this node cannot serve, and no longer when it can. A change is put into the record at once. */
function withRelief(turn: Turn, before: Office): Office {
  const { nowMs, draft } = turn;
  const office = before.planned !== null && turn.due(before.planned.untilMs) ? { ...before, planned: null } : before;
  // Before an address serves, one that cannot be bound is a claim that cannot be made (rule 10).
  const problem = healthProblem(draft)?.reason ?? (office.servingSinceMs === null ? null : missingAddress(turn));
  const failedClaim = problem === null && office.servingSinceMs === null ? failedFirstClaim(turn) : null;
  const reason = problem ?? failedClaim ?? office.planned?.reason ?? null;
  if (reason === null) {
    if (office.relief === null) return office;
    turn.incident('relief-withdrawn', `no longer so: ${office.relief.reason}`);
    return { ...office, relief: null, renewAtMs: nowMs };
  }
  const cause: Relief['cause'] = problem !== null ? 'unhealthy' : failedClaim !== null ? 'claim-failed' : 'planned';
  if (office.relief?.cause === cause) return { ...office, relief: { ...office.relief, reason } };
  turn.incident('relief-wanted', `asking to be relieved: ${reason}`);
  const { node } = draft.settings;
  const claimFailed = cause === 'claim-failed' && !office.claimFailed.includes(node) ? [...office.claimFailed, node] : office.claimFailed;
  const relief = { cause, reason, sinceMs: nowMs, remindAtMs: nowMs + UNRELIEVED_REMINDER_MS };
  return { ...office, relief, claimFailed, renewAtMs: nowMs };
}

/** Takes in the answer to a renewal. */
export function onRenewed(turn: Turn, office: Office, sentAtMs: number, outcome: WriteOutcome): void {
  switch (outcome.is) {
    case 'written':
      return onRenewalWritten(turn, office, sentAtMs, outcome.record);
    case 'conflict':
    case 'missing':
      return readAgain(turn, office);
    default:
      return retryLater(turn, office, outcome);
  }
}

function onRenewalWritten(turn: Turn, office: Office, sentAtMs: number, record: LeaseRecord): void {
  const { settings } = turn.draft;
  if (record.resourceVersion === office.basis.resourceVersion) {
    return retryLater(turn, office, { is: 'unknown', message: 'the API server took a renewal but changed nothing', retryAfterMs: null });
  }
  turn.noteNoTrouble();
  setOffice(turn, {
    ...office,
    basis: { uid: record.uid, resourceVersion: record.resourceVersion },
    renewTime: record.renewTime,
    renewalSentAtMs: sentAtMs,
    tenureEndMs: sentAtMs + settings.renewDeadlineMs,
    renewFailures: 0,
    conflicts: 0,
  });
  turn.command({ type: 'look' });
  judgeRecord(turn, record);
}

/** Takes in a consistent read that a holder had asked for: still its own term, or the end of it. */
export function onHolderRead(turn: Turn, office: Office, outcome: ReadOutcome): void {
  if (outcome.is !== 'read') return retryLater(turn, office, outcome);
  turn.noteNoTrouble();
  setOffice(turn, { ...office, doubt: null });
  judgeRecord(turn, outcome.sight);
}

function judgeRecord(turn: Turn, sight: LeaseSight): void {
  const { life } = turn.draft;
  if (life.is !== 'holding') return;
  const { office } = life;
  const term = termOf(sight);
  noteRecord(turn, sight);
  if (sight === 'absent') return loseOffice(turn, office, 'lease-deleted', 'the Lease was deleted');
  if (term === null) return loseOffice(turn, office, 'lease-changed', 'the Lease was emptied by somebody else');
  if (!sameTerm(term, office.term)) {
    const isOwn = term.holder === office.term.holder;
    if (isOwn) return loseOffice(turn, office, 'lease-changed', 'the Lease was changed by somebody else');
    return loseOffice(turn, office, 'other-holder', `${nodeOfIdentity(term.holder)} holds the Lease now`);
  }
  const { ask } = sight.marks;
  if (ask !== null && markNames(ask, term)) {
    const why = office.relief === null ? '' : `, because ${office.relief.reason}`;
    return beginStepDown(turn, office, office.relief?.cause ?? 'asked', `${nodeOfIdentity(ask.by)} offered to take over${why}`, 'standby');
  }
  const basis = { uid: sight.uid, resourceVersion: sight.resourceVersion };
  setOffice(turn, { ...office, basis, renewTime: sight.renewTime });
}

/** Takes in a watch's word: only what contradicts this term is worth a read. */
export function onHolderSaw(turn: Turn, office: Office, sight: LeaseSight): void {
  const term = termOf(sight);
  const isOurTerm = term !== null && sameTerm(term, office.term);
  const isAsked = sight !== 'absent' && markNames(sight.marks.ask, term);
  if (isOurTerm && !isAsked) return;
  setOffice(turn, { ...office, doubt: isOurTerm ? (office.doubt ?? 'conflict') : 'sight', renewAtMs: turn.nowMs });
}

/** Somebody else wrote to the record: read it at once, unless that has happened too often in a row. */
function readAgain(turn: Turn, office: Office): void {
  const excess = office.conflicts - CONFLICTS_WITHOUT_PAUSE;
  const pauseMs = excess < 0 ? 0 : turn.pauseMs(null, excess, turn.draft.settings.renewIntervalMs);
  setOffice(turn, {
    ...office,
    doubt: office.doubt ?? 'conflict',
    conflicts: office.conflicts + 1,
    renewAtMs: turn.nowMs + pauseMs,
  });
}

function retryLater(turn: Turn, office: Office, trouble: LeaseTrouble): void {
  turn.noteTrouble(trouble);
  // A request that timed out has used up its pause; one that failed fast is followed by a pause that grows.
  const pauseMs = trouble.is === 'unknown' ? 0 : turn.pauseMs(trouble, office.renewFailures, turn.draft.settings.renewIntervalMs);
  // However long the server asks to wait, one more try is made before the tenure ends.
  const lastTryMs = turn.nowMs + (office.tenureEndMs - turn.nowMs) / 2;
  const renewAtMs = Math.min(turn.nowMs + pauseMs, lastTryMs);
  setOffice(turn, { ...office, renewFailures: office.renewFailures + 1, renewAtMs });
}

/** The term is over without a release: somebody else decides about the Lease now. */
function loseOffice(turn: Turn, office: Office, cause: Cause, reason: string, wasSilence = false): void {
  const { draft } = turn;
  if (draft.request !== null) {
    turn.command({ type: 'abort-request', request: draft.request.id });
    draft.request = null;
  }
  if (wasSilence && draft.settings.onApiLoss === 'hold') holdAddressesOver(turn);
  letGoOfAddresses(turn, Math.min(turn.nowMs, office.tenureEndMs), null);
  turn.because(cause, reason);
  draft.life = standby(turn.nowMs, 'read');
}

function noteRecord(turn: Turn, sight: LeaseSight): void {
  turn.draft.observation = observe(turn.draft.observation, sight, { atMs: turn.nowMs, readSentAtMs: null });
}

function setOffice(turn: Turn, office: Office): void {
  turn.draft.life = { is: 'holding', office };
}

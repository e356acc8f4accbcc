/**
 * The life of a candidate: it watches the Lease, and takes it when it is free and nothing hinders this node.
 *
 * Guarantees: a Lease that is held is never written by a candidate, except to ask a holder that wants relief (rule 9);
 * one that seems to have run out is read again before it is taken, so that a silent watch costs a read and not a write.
 */
import type { Cause, Incident } from './command.ts';
import type { LeaseTrouble, ReadOutcome, WriteOutcome } from './input.ts';
import { freedomOf, isPredecessor, markNames, nodeOfIdentity, observe, sameTerm, termOf } from './lease.ts';
import type { Freedom, LeaseSight, Observation } from './lease.ts';
import { endHoldover } from './retention.ts';
import { requestTimeoutMs } from './settings.ts';
import { isAlone, isHoldingOver, ownTermIn } from './state.ts';
import type { Contender, Hindrance, Life } from './state.ts';
import type { Turn } from './turn.ts';

type Standby = Life & { is: 'standby' };

const LONGEST_PAUSE_MS = 2_000;
/** How often people are told that nobody holds the Lease and this node may not. */
const VACANCY_REMINDER_MS = 30_000;
/** Losing a race is nothing unusual; losing again and again with nothing to show for it is no race. */
const RACES_WITHOUT_PAUSE = 3;
/** Nobody can mend a refusal by trying again soon. */
const REFUSED_PAUSE_MS = 5_000;
/** So many reads follow each other quickly when an address begins to be held over. */
const EAGER_TRIES = 10;
const FOREIGN_LOOK_MS = 30_000;
/** How often people are told that an address is held over. */
const HOLDOVER_REMINDER_MS = 60_000;
/** How long the others leave a released Lease to the candidate that asked for it. */
const RANK_STEP_MS = 250;

/** What keeps a node from contending; null when nothing does. */
export function hindranceOf(contender: Contender): Hindrance | null {
  const { provider, observation, residence } = contender;
  const freedom = observation === null ? null : freedomFor(contender, observation);
  if (freedom?.is === 'foreign') return { about: 'lease', reason: foreignReason(freedom.holder) };
  if (residence === null) return { about: 'residence', reason: 'whether another agent runs on this node is not known yet' };
  if (residence.is === 'shared') return { about: 'residence', reason: residence.reason };
  if (provider === null) return { about: 'provider', reason: 'the provider has not been asked yet' };
  return healthProblem(contender) ?? (provider.ready ? null : { about: 'provider', reason: provider.reason });
}

function freedomFor(contender: Contender, observation: Observation): Freedom {
  const { settings, ownTerms } = contender;
  return freedomOf(observation, { settings, ownTerms, isAlone: isAlone(contender) });
}

/** What is wrong with this node's ability to serve, by its probes and its interface; null when nothing is. */
export function healthProblem({ verdict, link }: Pick<Contender, 'verdict' | 'link'>): Hindrance | null {
  if (verdict === null) return { about: 'probes', reason: 'the probes have not answered yet' };
  if (!verdict.healthy) return { about: 'probes', reason: verdict.reason };
  if (link === null) return { about: 'interface', reason: 'the interface has not been looked at yet' };
  return link.problem === null ? null : { about: 'interface', reason: link.problem };
}

/** A new standby life that looks at the Lease at once or has nothing to find out. */
export function standby(nowMs: number, find: 'read' | 'known'): Standby {
  return { is: 'standby', readAtMs: find === 'read' ? nowMs : null, notBeforeMs: nowMs, failures: 0, lostRaces: 0, uncertain: null };
}

/** Does what is due for a candidate. */
export function contend(turn: Turn, life: Standby): void {
  const { draft } = turn;
  if (isHoldingOver(draft)) remindOfHoldover(turn);
  if (draft.request !== null) return;
  if (life.readAtMs !== null) {
    if (turn.due(life.readAtMs)) readLease(turn, life);
    return;
  }
  const { observation } = draft;
  if (observation === null) return;
  const hindrance = hindranceOf(draft);
  const freedom = freedomFor(draft, observation);
  reportHindrance(turn, hindrance);
  if (freedom.is === 'foreign') return lookAgainAtForeign(turn, life, observation);
  if (!turn.due(life.notBeforeMs)) return;
  if (hindrance !== null && isHoldingOver(draft)) return readAgainSoon(turn, life);
  if (hindrance === null && offerRelief(turn, observation)) return;
  const freeAtMs = freedom.is === 'free' ? observation.sinceMs : freedom.atMs;
  const contendAtMs = freeAtMs + rankDelayMs(turn, observation);
  if (!turn.due(contendAtMs)) {
    draft.remindAtMs = null;
    return;
  }
  // A node that may not contend reads, too: whether the API answers is to be known before it is needed.
  const confirmedAtMs = observation.confirmedAtMs ?? Number.NEGATIVE_INFINITY;
  // What was read long ago, before a hindrance or a freeze, says nothing of who has been faster since.
  const isOld = draft.nowMs - confirmedAtMs >= draft.settings.renewDeadlineMs;
  const isConfirmed = confirmedAtMs >= contendAtMs && (hindrance !== null || !isOld);
  if (freedom.is === 'free-at' && !isConfirmed) return readLease(turn, life);
  if (hindrance === null) acquire(turn, observation.sight, life.lostRaces);
  else remindOfVacancy(turn, hindrance);
}

/** Candidates go by rank: whoever was promised the Lease first, whoever has just failed in it last. */
function rankDelayMs(turn: Turn, observation: Observation): number {
  const { standBack, settings } = turn.draft;
  const isStandingBack = standBack.untilMs !== null && !turn.due(standBack.untilMs);
  const ask = observation.sight === 'absent' ? null : observation.sight.marks.ask;
  const released = observation.sight === 'absent' ? null : observation.sight.marks.released;
  const isPromised = markNames(ask, released);
  const behindTheAsker = isPromised && ask?.by !== settings.identity ? RANK_STEP_MS : 0;
  return behindTheAsker + (isStandingBack ? settings.leaseDurationMs : 0);
}

/** Asks the holder to step down if it wants relief and this candidate can give it. Returns whether it did. */
function offerRelief(turn: Turn, { sight }: Observation): boolean {
  if (sight === 'absent') return false;
  const term = termOf(sight);
  const { settings, standBack, asked } = turn.draft;
  const { relief, ask, claimFailed } = sight.marks;
  if (term === null || term.holder === settings.identity || relief === null || !markNames(relief, term)) return false;
  // An older sight that arrives late does not show an ask that has been made.
  if (markNames(ask, term) || (asked !== null && sameTerm(asked, term))) return false;
  if (standBack.untilMs !== null && !turn.due(standBack.untilMs)) return false;
  if (relief.cause === 'claim-failed' && claimFailed.includes(settings.node)) {
    // This node has had its try. It may have another one after a while, in case the provider answers it again.
    if (standBack.claimUntilMs !== null && !turn.due(standBack.claimUntilMs)) return false;
  }
  turn.request(
    { type: 'ask', basis: { uid: sight.uid, resourceVersion: sight.resourceVersion }, marks: { ask: { term, by: settings.identity } } },
    Number.POSITIVE_INFINITY,
  );
  turn.draft.asked = term;
  turn.incident('asked-for-relief', `offered to relieve ${nodeOfIdentity(term.holder)}, which says: ${relief.reason}`);
  return true;
}

function acquire(turn: Turn, sight: LeaseSight, lostRaces: number): void {
  const { settings } = turn.draft;
  const notAfterMs = turn.nowMs + settings.renewDeadlineMs;
  const durationMs = settings.leaseDurationMs;
  if (sight === 'absent') {
    const term = { uid: '', transitions: 1, holder: settings.identity };
    turn.draft.ownTerms = [term];
    turn.draft.life = { is: 'acquiring', term, lostRaces };
    const reason = 'there is no Lease: creating it';
    turn.request({ type: 'create', transitions: 1, durationMs, marks: { reason: { term, reason } } }, notAfterMs);
    turn.because('vacancy', reason);
    return;
  }
  const transitions = sight.transitions + 1;
  const term = { uid: sight.uid, transitions, holder: settings.identity };
  // Until it is granted, the term that the Lease shows now may go on being this process's own.
  const standing = ownTermIn(sight, turn.draft);
  turn.draft.ownTerms = standing === null ? [term] : [standing, term];
  turn.draft.life = { is: 'acquiring', term, lostRaces };
  const [cause, why] = whyToAcquire(sight, settings.identity, isAlone(turn.draft));
  turn.because(cause, why);
  const reason = { term, reason: reasonOfRelease(sight) ?? why };
  const marks = { duration: { term, durationMs }, released: null, relief: null, ask: null, reason };
  const basis = { uid: sight.uid, resourceVersion: sight.resourceVersion };
  turn.request({ type: 'acquire', basis, transitions, durationMs, marks }, notAfterMs);
}

function whyToAcquire(sight: LeaseSight & object, identity: string, isAlone: boolean): [Cause, reason: string] {
  if (sight.holder === identity) return ['restart', 'the Lease still names this agent, whose tenure had ended'];
  if (isPredecessor(sight.holder, identity) && isAlone)
    return ['restart', 'the agent that held the Lease on this node has died: taking its place'];
  if (sight.holder !== '') return ['holder-silent', `${nodeOfIdentity(sight.holder)} has not renewed the Lease for its whole duration`];
  if (sight.marks.released !== null) return ['holder-released', `${nodeOfIdentity(sight.marks.released.holder)} released the Lease`];
  return ['vacancy', 'nobody holds the Lease'];
}

/** Why the last holder has let go, in its own words; null where it has left none. */
function reasonOfRelease({ marks }: LeaseSight & object): string | null {
  const { released, reason } = marks;
  return released !== null && reason !== null && markNames(reason, released)
    ? `${nodeOfIdentity(released.holder)}: ${reason.reason}`
    : null;
}

function readLease(turn: Turn, life: Standby): void {
  const { settings, nowMs } = turn.draft;
  const timeoutMs = isEager(turn, life) ? requestTimeoutMs(settings) : settings.renewDeadlineMs;
  turn.request({ type: 'read' }, nowMs + settings.renewDeadlineMs, timeoutMs);
}

/** It may be deleted while no watch stands, and then it is ours to take. */
function lookAgainAtForeign(turn: Turn, life: Standby, { sinceMs, confirmedAtMs }: Observation): void {
  if (turn.due(Math.max(sinceMs, confirmedAtMs ?? 0) + FOREIGN_LOOK_MS)) readLease(turn, life);
}

/** Whoever holds over and may not contend has to know when another one has been faster. */
function readAgainSoon(turn: Turn, life: Standby): void {
  const readAtMs = turn.nowMs + turn.draft.settings.renewIntervalMs;
  turn.draft.life = { ...life, readAtMs };
  turn.due(readAtMs);
}

/** Takes in a read that a candidate had asked for. */
export function onCandidateRead(turn: Turn, life: Standby, sentAtMs: number, outcome: ReadOutcome): void {
  if (outcome.is !== 'read') return pause(turn, life, outcome);
  turn.noteNoTrouble();
  const before = turn.draft.observation;
  const after = observe(before, outcome.sight, { atMs: turn.nowMs, readSentAtMs: sentAtMs });
  turn.draft.observation = after;
  const isNews = before !== null && after.sinceMs !== before.sinceMs;
  const notBeforeMs = turn.nowMs + graceMs(turn, life, outcome.sight);
  const lostRaces = isNews ? 0 : life.lostRaces;
  const readAtMs = isOvertaken(before, outcome.sight, sentAtMs) ? turn.nowMs : null;
  turn.draft.life = { ...life, readAtMs, notBeforeMs, failures: 0, lostRaces, uncertain: null };
  if (ownTermIn(outcome.sight, turn.draft) === null) endHoldover(turn, ...whoHolds(outcome.sight));
  // This read was made because time had run out for a holder (others are due at `readAtMs`). If it shows that the
  // holder lives after all, the watch, which should have shown it, has fallen silent.
  if (life.readAtMs === null && isNews) turn.command({ type: 'restart-watch' });
  if (before === null) turn.because('first-sight', 'read the Lease for the first time');
}

/** Whether a watch has shown another term since a request was sent: which of the two is the later one only another read tells. */
function isOvertaken(before: Observation | null, sight: LeaseSight, sentAtMs: number): boolean {
  if (before === null || before.sinceMs <= sentAtMs) return false;
  const [shown, answered] = [termOf(before.sight), termOf(sight)];
  return shown === null || answered === null ? shown !== answered : !sameTerm(shown, answered);
}

/**
 * An API that has been silent for us may have been so for the holder, too: it gets the time to renew first, as long as one of
 * its reads may hang and the pause after it.
 */
function graceMs({ draft }: Turn, life: Standby, sight: LeaseSight): number {
  const { settings } = draft;
  const isOthers = termOf(sight) !== null && ownTermIn(sight, draft) === null;
  return isOthers && life.failures > 0 ? settings.renewDeadlineMs + settings.renewIntervalMs : 0;
}

function whoHolds(sight: LeaseSight): [Cause, reason: string] {
  const term = termOf(sight);
  if (term !== null) return ['other-holder', `${nodeOfIdentity(term.holder)} holds the Lease now`];
  return [sight === 'absent' ? 'lease-deleted' : 'lease-changed', 'nobody holds the Lease any more'];
}

/** Takes in the answer to an ask: what the Lease says now is worth a read only if the answer does not tell. */
export function onAskAnswered(turn: Turn, life: Standby, sentAtMs: number, outcome: WriteOutcome): void {
  switch (outcome.is) {
    case 'written':
      turn.noteNoTrouble();
      if (isOvertaken(turn.draft.observation, outcome.record, sentAtMs)) turn.draft.life = { ...life, readAtMs: turn.nowMs };
      turn.draft.observation = observe(turn.draft.observation, outcome.record, { atMs: turn.nowMs, readSentAtMs: null });
      return;
    case 'conflict':
    case 'missing':
      turn.draft.asked = null;
      turn.draft.life = standby(turn.nowMs, 'read');
      return;
    default:
      turn.draft.asked = null;
      pause(turn, life, outcome);
  }
}

/** Takes in anything but success of a write that would have made this candidate the holder. */
export function onNotAcquired(
  turn: Turn,
  { term, lostRaces }: Life & { is: 'acquiring' },
  outcome: Exclude<WriteOutcome, { is: 'written' }>,
): void {
  if (outcome.is === 'conflict' || outcome.is === 'missing') {
    if (outcome.is === 'conflict') turn.because('race-lost', 'another candidate was faster');
    else turn.because('lease-deleted', 'the Lease was deleted meanwhile');
    const { observation } = turn.draft;
    // It could not be created because somebody had: should it be gone again, that is another vacancy.
    if (term.uid === '' && observation !== null) turn.draft.observation = { ...observation, sinceMs: turn.nowMs };
    const excess = lostRaces - RACES_WITHOUT_PAUSE;
    const readAtMs = turn.nowMs + (excess < 0 ? 0 : turn.pauseMs(null, excess, LONGEST_PAUSE_MS));
    turn.draft.life = { ...standby(readAtMs, 'read'), lostRaces: lostRaces + 1 };
    return;
  }
  turn.because('api-trouble', outcome.message);
  const wasNotCarriedOut = outcome.is === 'unreachable' || outcome.is === 'refused' || outcome.is === 'throttled';
  // A server too slow to answer in time lets this agent take the Lease again and again, with nothing to show for it.
  const failures = Math.max(0, lostRaces - RACES_WITHOUT_PAUSE);
  pause(turn, { ...standby(turn.nowMs, 'read'), failures, lostRaces: lostRaces + 1, uncertain: wasNotCarriedOut ? null : term }, outcome);
}

function pause(turn: Turn, life: Standby, trouble: LeaseTrouble): void {
  turn.noteTrouble(trouble);
  const atMs = turn.nowMs + pauseAfterMs(turn, life, trouble);
  turn.draft.life = { ...life, readAtMs: atMs, notBeforeMs: atMs, failures: life.failures + 1 };
}

function pauseAfterMs(turn: Turn, life: Standby, trouble: LeaseTrouble): number {
  const { draft } = turn;
  if (isEager(turn, life)) return turn.pauseMs(trouble, 0, LONGEST_PAUSE_MS);
  if (isHoldingOver(draft)) return turn.pauseMs(trouble, life.failures, draft.settings.renewIntervalMs);
  return trouble.is === 'refused' ? REFUSED_PAUSE_MS : turn.pauseMs(trouble, life.failures, LONGEST_PAUSE_MS);
}

/** Whoever has just begun to hold over is to be the first to find the API there again, so that nothing has to move. */
function isEager(turn: Turn, life: Standby): boolean {
  return isHoldingOver(turn.draft) && life.failures < EAGER_TRIES;
}

function foreignReason(holder: string): string {
  const held = holder === '' ? 'was held by another program' : `is held by another program, "${holder}"`;
  return `the Lease ${held}: delete it, or name another one in LEASE_NAME and in the resourceNames of the Role`;
}

function reportHindrance(turn: Turn, hindrance: Hindrance | null): void {
  const { draft } = turn;
  const isStarting = [draft.verdict, draft.link, draft.provider, draft.residence].includes(null);
  if (isStarting || draft.reportedHindrance === (hindrance?.about ?? null)) return;
  draft.reportedHindrance = hindrance?.about ?? null;
  if (hindrance === null) turn.incident('unhindered', 'nothing hinders this node from taking over any more');
  else turn.incident('hindered', `not contending: ${hindrance.reason}`);
}

function remindOfHoldover(turn: Turn): void {
  const { draft } = turn;
  const addresses = draft.settings.addresses.filter((address) => draft.addresses[address]?.is === 'held-over');
  const message = `going on without the Kubernetes API: ${addresses.join(', ')} held for as long as the provider routes here`;
  remind(turn, { firstAfterMs: 0, everyMs: HOLDOVER_REMINDER_MS }, 'holding-over', message);
}

/** Nobody holds the Lease, so clients may be without an answer: that is worth more than one line. */
function remindOfVacancy(turn: Turn, { reason }: Hindrance): void {
  const often = { firstAfterMs: VACANCY_REMINDER_MS, everyMs: VACANCY_REMINDER_MS };
  remind(turn, often, 'vacant', `nobody holds the Lease, and this node does not take it: ${reason}`);
}

/** Says again and again what lasts, until `remindAtMs` is set back. */
function remind(turn: Turn, often: { readonly firstAfterMs: number; readonly everyMs: number }, event: Incident, message: string): void {
  const { draft, nowMs } = turn;
  draft.remindAtMs ??= nowMs + often.firstAfterMs;
  if (!turn.due(draft.remindAtMs)) return;
  turn.incident(event, message);
  draft.remindAtMs = nowMs + often.everyMs;
  turn.due(draft.remindAtMs);
}

/**
 * The heart: `step(contender, input)` gives the next state and what is to be done about it.
 *
 * Guarantees: pure and total. It reads no clock, draws no random number, performs no I/O and imports nothing from
 * outside this folder, so the same rules run in production and in a simulator. Time passes before an input is taken in,
 * so an answer that arrives after a tenure has ended cannot revive it. Each change of role is reported exactly once.
 */
import { advanceAddresses, onAnnounceDone, onBindDone, onLooked, onOwnerRead, onUnbindDone } from './addresses.ts';
import { contend, onAskAnswered, onCandidateRead, onNotAcquired } from './candidate.ts';
import { onClaimDone } from './claims.ts';
import type { Command } from './command.ts';
import { beginStepDown, leave, leaveTerm, onDepartureRead, onReleased, stepDown } from './departure.ts';
import { endTenureInTime, onHolderRead, onHolderSaw, onHolderStalled, onRenewed, serve, takeOffice } from './holder.ts';
import type { Input, ReadOutcome, WriteOutcome } from './input.ts';
import { isPredecessor, observe, termOf } from './lease.ts';
import type { LeaseSight } from './lease.ts';
import { onStalled } from './retention.ts';
import { isAlone, isHoldingOver, officeTerm, ownTermIn, roleOf } from './state.ts';
import type { Contender } from './state.ts';
import { Turn } from './turn.ts';

/** How often a contender looks at its interface when no renewal makes it look. */
const LOOK_INTERVAL_MS = 1_000;
/** More changes of life than any one step can need. */
const ROUNDS_MAX = 8;

export interface Step {
  readonly contender: Contender;
  readonly commands: readonly Command[];
}

/** Takes one input in. Inputs may arrive in any order; an instant that lies in the past counts as the latest known one. */
export function step(contender: Contender, input: Input): Step {
  const turn = new Turn(contender, Math.max(contender.nowMs, input.atMs));
  endTenureInTime(turn);
  doubtAfterStall(turn);
  takeIn(turn, input);
  forgetTermOfOthers(turn);
  doubtResidence(turn, contender);
  advance(turn);
  look(turn);
  reportTransition(turn, contender);
  turn.draft.wakeAtMs = turn.wakeAtMs;
  return { contender: turn.draft, commands: turn.commands };
}

/** A term that was asked for is not one's own once the record has shown somebody else in it or in a later one. */
function forgetTermOfOthers({ draft }: Turn): void {
  const { observation, ownTerms } = draft;
  const term = observation === null ? null : termOf(observation.sight);
  if (observation === null || term === null || ownTermIn(observation.sight, draft) !== null) return;
  draft.ownTerms = ownTerms.filter(({ uid, transitions }) => (uid !== '' && uid !== term.uid) || transitions > term.transitions);
}

/** A loop that stood still for too long knows nothing for sure any more: close, then look (rule 6). */
function doubtAfterStall(turn: Turn): void {
  const { life } = turn.draft;
  if (turn.stalledMs === 0 || life.is === 'stopped') return;
  turn.incident(
    'stalled',
    `nothing was done for ${Math.round(turn.stalledMs)}ms: this process was frozen or starved, or the machine suspended`,
  );
  onStalled(turn);
  if (life.is === 'holding') onHolderStalled(turn, life.office);
}

function takeIn(turn: Turn, input: Input): void {
  switch (input.type) {
    case 'tick':
      return;
    case 'lease-read':
    case 'lease-written':
      return onAnswer(turn, input);
    case 'lease-seen':
      return onLeaseSeen(turn, input);
    case 'verdict':
      turn.draft.verdict = { healthy: input.healthy, reason: input.reason };
      return;
    case 'provider-readiness':
      turn.draft.provider = { ready: input.ready, reason: input.reason };
      return;
    case 'residence':
      // What a dead predecessor has left of its fence is nobody's any more.
      if (turn.draft.settings.kind === 'l2' && input.residence === 'alone' && !isAlone(turn.draft)) turn.command({ type: 'sweep' });
      turn.draft.residence = { is: input.residence, reason: input.reason };
      return;
    case 'looked':
      return onLooked(turn, input.view);
    case 'bind-done':
      return onBindDone(turn, input.address, input.outcome);
    case 'unbind-done':
      return onUnbindDone(turn, input.address, input.outcome);
    case 'announce-done':
      return onAnnounceDone(turn, input.address, input.outcome);
    case 'claim-done':
      return onClaimDone(turn, input.address, input.attempt, input.outcome);
    case 'owner-read':
      return onOwnerRead(turn, input.address, input.attempt, input.owner);
    case 'shutdown':
      return onShutdown(turn, input.reason);
    case 'step-down-requested':
      return onStepDownRequested(turn, input);
  }
}

type Answer = Input & { type: 'lease-read' | 'lease-written' };

/** Hands an answer to whoever is waiting for it. One that nobody waits for any more is dropped. */
function onAnswer(turn: Turn, input: Answer): void {
  const { request } = turn.draft;
  if (request?.id !== input.request) return;
  turn.draft.request = null;
  if (input.type === 'lease-read') onReadAnswer(turn, request.sentAtMs, input.outcome);
  else onWriteAnswer(turn, request.sentAtMs, input.outcome);
}

function onReadAnswer(turn: Turn, sentAtMs: number, outcome: ReadOutcome): void {
  const { life } = turn.draft;
  if (life.is === 'standby') onCandidateRead(turn, life, sentAtMs, outcome);
  else if (life.is === 'holding') onHolderRead(turn, life.office, outcome);
  else if (life.is === 'stepping-down' && life.stage === 'reading') onDepartureRead(turn, life, outcome);
}

function onWriteAnswer(turn: Turn, sentAtMs: number, outcome: WriteOutcome): void {
  const { life } = turn.draft;
  if (life.is === 'acquiring') {
    if (outcome.is === 'written') takeOffice(turn, outcome.record, sentAtMs);
    else onNotAcquired(turn, life, outcome);
  } else if (life.is === 'standby') {
    onAskAnswered(turn, life, sentAtMs, outcome);
  } else if (life.is === 'holding') {
    onRenewed(turn, life.office, sentAtMs, outcome);
  } else if (life.is === 'stepping-down' && life.stage === 'writing') {
    onReleased(turn, life, outcome);
  }
}

function onLeaseSeen(turn: Turn, input: Input & { type: 'lease-seen' }): void {
  const { draft, nowMs } = turn;
  if (draft.life.is === 'holding') return onHolderSaw(turn, draft.life.office, input.sight);
  if (draft.life.is !== 'standby') return;
  if (draft.observation === null) turn.because('first-sight', 'saw the Lease for the first time');
  draft.observation = observe(draft.observation, input.sight, { atMs: nowMs, readSentAtMs: null });
  // What a watch shows may be old: a read decides whether another term has begun (rule 4).
  if (isHoldingOver(draft) && ownTermIn(input.sight, draft) === null) draft.life = { ...draft.life, readAtMs: nowMs };
}

/** Whether a sight shows a later sign of life than another, and not only an older one that has arrived late. */
function isLater(now: LeaseSight, before: LeaseSight): boolean {
  if (now === 'absent' || before === 'absent') return false;
  if (now.transitions !== before.transitions) return now.transitions > before.transitions;
  return (now.renewTime ?? '') > (before.renewTime ?? '');
}

/** An earlier process that is gone gives no sign of life: one that is seen disproves that this one is alone. */
function doubtResidence(turn: Turn, { observation: before, settings }: Contender): void {
  const { draft } = turn;
  const now = draft.observation;
  if (!isAlone(draft) || before === null || now === null || !isLater(now.sight, before.sight)) return;
  const holder = termOf(now.sight)?.holder ?? '';
  if (!isPredecessor(holder, settings.identity)) return;
  const reason = `another agent of this node (${holder}) holds the Lease and lives, though none was found to run here: end one of the two`;
  draft.residence = { is: 'unsure', reason };
  turn.incident('residence-disproved', reason);
}

function onShutdown(turn: Turn, reason: string): void {
  const { life } = turn.draft;
  switch (life.is) {
    case 'standby': {
      // A term that was lost, or that may have been granted, still names this agent: others would wait for it.
      const term = ownTermIn(turn.draft.observation?.sight ?? 'absent', turn.draft) ?? life.uncertain;
      if (term !== null) return leaveTerm(turn, term, 'shutdown', reason, 'leaving');
      turn.because('shutdown', reason);
      turn.draft.life = { is: 'leaving' };
      return;
    }
    case 'acquiring':
      // The write under way may yet make this agent the holder, so it leaves as one would.
      return leaveTerm(turn, life.term, 'shutdown', reason, 'leaving');
    case 'holding':
      return beginStepDown(turn, life.office, 'shutdown', reason, 'leaving');
    case 'stepping-down':
      turn.draft.life = { ...life, afterwards: 'leaving' };
      return;
    case 'leaving':
    case 'stopped':
      return;
  }
}

/** Who holds gives way as soon as another asks, or at once if told so. Who does not hold has nothing to give up. */
function onStepDownRequested(turn: Turn, { reason, untilMs }: Input & { type: 'step-down-requested' }): void {
  const { life } = turn.draft;
  if (life.is !== 'holding') return;
  if (untilMs === null)
    return beginStepDown(turn, { ...life.office, planned: { reason, untilMs: turn.nowMs } }, 'planned', reason, 'standby');
  turn.draft.life = { is: 'holding', office: { ...life.office, planned: { reason, untilMs } } };
}

/** Does everything that is due. What one rule does may make another one due, so this goes on until nothing moves. */
function advance(turn: Turn): void {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const before = turn.draft.life;
    advanceAddresses(turn);
    advanceLife(turn);
    if (turn.draft.life.is === before.is) return;
  }
  throw new Error('the contender does not come to rest within one step');
}

function advanceLife(turn: Turn): void {
  const { life } = turn.draft;
  switch (life.is) {
    case 'standby':
      return contend(turn, life);
    case 'holding':
      return serve(turn, life);
    case 'stepping-down':
      stepDown(turn, life);
      if (turn.draft.life.is === 'leaving') leave(turn);
      return;
    case 'leaving':
      return leave(turn);
    case 'acquiring':
    case 'stopped':
      return;
  }
}

function look(turn: Turn): void {
  const { draft } = turn;
  if (draft.life.is === 'stopped') return;
  const isLooking = turn.commands.some(({ type }) => type === 'look');
  if (!isLooking && !turn.due(draft.lookAtMs)) return;
  if (!isLooking) turn.command({ type: 'look' });
  draft.lookAtMs = turn.nowMs + LOOK_INTERVAL_MS;
  turn.due(draft.lookAtMs);
}

function reportTransition(turn: Turn, before: Contender): void {
  const from = roleOf(before);
  const to = roleOf(turn.draft);
  if (from === to) return;
  const term = officeTerm(turn.draft) ?? officeTerm(before);
  const elapsedMs = Math.round(turn.nowMs - before.roleSinceMs);
  const { cause, reason } = turn.why ?? { cause: 'unstated', reason: 'for no stated reason' };
  turn.command({ type: 'report', report: { kind: 'transition', from, to, cause, reason, term, elapsedMs } });
  turn.draft.roleSinceMs = turn.nowMs;
}

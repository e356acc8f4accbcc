/**
 * What stays on the interface out of office: left over from an earlier agent, lingering for clients until the provider routes
 * elsewhere, or held over for as long as nothing but the API's silence speaks against it.
 *
 * Guarantees: nothing is written to the provider for it. A linger goes when its bound is over, a leftover when its kernel
 * lifetime is, and a holdover when the owner read back is another, twice in a row, or another term is read.
 */
import type { Cause } from './command.ts';
import type { AddressView, Owner } from './input.ts';
import { isPredecessor, termOf } from './lease.ts';
import { LIFETIME_MARGIN_MS, LIFETIME_UNIT_MS, lifetimeEndMs, stallMs } from './settings.ts';
import { isAlone, ownTermIn } from './state.ts';
import type { AddressState, Contender, OwnerReading } from './state.ts';
import type { Turn } from './turn.ts';

const FOREIGN_READS_TO_LET_GO = 2;
/** Owner reads after office start quickly, because clients have usually moved within a second, and grow rarer. All pauses follow the pace. */
const FIRST_READING: OwnerReading = { attempt: null, readAtMs: 0, pauseMs: 200, foreignReads: 0, isHere: false };
const LEFTOVER_READING: OwnerReading = { ...FIRST_READING, pauseMs: 1_000 };
const FOREIGN_REREAD_MS = 100;
/** An API may be away for hours, and a provider's budget is for all of its project. */
const OWNER_PAUSE_MAX_MS = { lingering: 2_000, 'held-over': 10_000, leftover: 5_000 } as const;
const PAUSE_GROWTH = 1.2;
const UNBIND_RETRY_MS = 100;

/** Ours on the interface, though we hold no office: where the provider routes it says how long it stays. */
export type Retained = AddressState & { is: 'lingering' | 'leftover' | 'held-over' };
type HeldOver = AddressState & { is: 'held-over' };

/** Does what is due for an address that is kept out of office. */
export function advanceRetained(turn: Turn, address: string, state: Retained): void {
  const { life, settings, provider, verdict } = turn.draft;
  switch (state.is) {
    case 'leftover':
      // Where another agent lives on this node, or may, what is bound is not left over.
      if (!isAlone(turn.draft)) return;
      if (settings.kind === 'l2') {
        if (!mayBeTakenOver(turn.draft) && turn.due(state.reading.readAtMs)) unbind(turn, address, 0, null);
        return;
      }
      if (provider?.ready === true) readOwner(turn, address);
      return;
    case 'lingering':
      if (turn.due(state.untilMs)) {
        if (isStillSilent(turn) && state.reading.isHere) {
          turn.because('tenure-ended', 'the Kubernetes API is still silent, and the provider still routes here');
          return holdOver(turn, address, state.managed);
        }
        const waitedS = Math.round(settings.worstMoveMs / 1_000);
        turn.incident('linger-expired', `taken off: no other node has taken it over within ${waitedS}s`, address);
        return takeOff(turn, address, state.managed);
      }
      return readOwner(turn, address);
    case 'held-over':
      if (life.is !== 'standby' && life.is !== 'acquiring') return lingerOn(turn, address, state);
      if (verdict?.healthy === false) setAside(turn, address, 'this node is not healthy any more');
      return readOwner(turn, address);
  }
}

/** Whether an earlier process of this node may still be the one that the Lease names, so that its place can be taken. */
function mayBeTakenOver({ observation, settings }: Contender): boolean {
  const term = observation === null ? null : termOf(observation.sight);
  return term === null ? observation === null : isPredecessor(term.holder, settings.identity);
}

/** Takes in where the provider routes an address that is kept out of office. */
export function onRetainedOwnerRead(turn: Turn, address: string, state: Retained, owner: Owner): void {
  // What is held over is held because it is routed here, so to nobody is elsewhere, too.
  const isElsewhere = owner.is === 'other' || (state.is === 'held-over' && owner.is === 'nobody');
  const before = state.reading;
  // Of one that brought no answer nothing is learnt.
  const foreignReads = isElsewhere ? before.foreignReads + 1 : owner.is === 'unknown' ? before.foreignReads : 0;
  if (foreignReads >= FOREIGN_READS_TO_LET_GO) {
    const whom = owner.is === 'other' ? `to ${owner.name} now` : 'nowhere';
    switch (state.is) {
      case 'leftover':
        return unbind(turn, address, 0, null);
      case 'held-over':
        return endHeldOver(turn, address, state, `the provider routes it ${whom}`);
      case 'lingering':
        turn.incident('linger-ended', `the provider routes it ${whom}`, address);
        return takeOff(turn, address, state.managed);
    }
  }
  const isWaitedFor = state.is === 'held-over' && state.isOff;
  const longestMs = OWNER_PAUSE_MAX_MS[isWaitedFor ? 'lingering' : state.is];
  const pauseMs = isElsewhere ? before.pauseMs : Math.min(longestMs, before.pauseMs * PAUSE_GROWTH);
  const againAtMs = turn.nowMs + (isElsewhere ? FOREIGN_REREAD_MS : pauseMs) * turn.draft.settings.ownerReadPace;
  const readAtMs = owner.is === 'unknown' ? Math.max(againAtMs, owner.notBeforeMs ?? 0) : againAtMs;
  const isHere = owner.is === 'unknown' ? before.isHere : owner.is === 'self';
  const next = { ...state, reading: { attempt: null, readAtMs, pauseMs, foreignReads, isHere } };
  turn.setAddress(address, next);
  if (next.is === 'held-over' && owner.is === 'self') putBack(turn, address, next);
}

/** Compares what a look shows with what is kept out of office. */
export function onRetainedSeen(turn: Turn, address: string, state: Retained, seen: AddressView): void {
  switch (state.is) {
    case 'leftover':
      if (seen.is !== 'ours') turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
      return;
    case 'lingering':
      if (state.managed && seen.is === 'absent') {
        const { untilMs } = state;
        turn.command({ type: 'bind', address, untilMs: untilMs + LIFETIME_UNIT_MS, openUntilMs: null, notAfterMs: untilMs });
      }
      return;
    case 'held-over':
      if (!state.managed) return;
      if (state.isOff && seen.is === 'ours') return turn.command({ type: 'unbind', address, tellUntilMs: null });
      if (!state.isOff && !isLongEnough(seen, lifetimeEndMs(turn.draft.settings, 0))) bindHeldOver(turn, address);
      return;
  }
}

/** On a routed provider a refresh at every renewal would only keep the node's network daemons busy. */
export function isLongEnough(seen: AddressView, lifetimeMs: number): boolean {
  return seen.is === 'ours' && seen.remainingMs > lifetimeMs - LIFETIME_MARGIN_MS / 2;
}

/** Keeps every address that the provider is known to route here, because nothing but silence has ended the tenure. None on L2. */
export function holdAddressesOver(turn: Turn): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is !== 'bound' || state.claim.is !== 'confirmed' || state.claim.foreignReads > 0) continue;
    holdOver(turn, address, state.managed);
  }
}

function holdOver(turn: Turn, address: string, managed: boolean): void {
  turn.setAddress(address, { is: 'held-over', managed, isOff: false, reading: { ...FIRST_READING, readAtMs: turn.nowMs } });
}

/** Whether a linger that is over has outlasted nothing but the silence of the API: no other term has been seen. */
function isStillSilent({ draft }: Turn): boolean {
  const { settings, life, observation } = draft;
  return settings.onApiLoss === 'hold' && life.is === 'standby' && ownTermIn(observation?.sight ?? 'absent', draft) !== null;
}

/** The Lease speaks again, and of another term: what was held over goes on serving only until clients have moved. */
export function endHoldover(turn: Turn, cause: Cause, reason: string): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is !== 'held-over') continue;
    turn.because(cause, reason);
    lingerOn(turn, address, state);
  }
}

function lingerOn(turn: Turn, address: string, { managed, isOff }: HeldOver): void {
  turn.draft.remindAtMs = null;
  if (isOff) takeOff(turn, address, managed);
  else turn.setAddress(address, lingering(turn, managed, turn.nowMs));
}

/** Off the interface until it is certain again that it belongs there: whether it is still routed here, and whether it is served. */
function setAside(turn: Turn, address: string, why: string): void {
  const state = turn.address(address);
  if (state.is !== 'held-over' || state.isOff) return;
  turn.incident('set-aside', `taken off for now: ${why}`, address);
  turn.setAddress(address, { ...state, isOff: true, reading: { ...FIRST_READING, readAtMs: turn.nowMs } });
  if (state.managed) turn.command({ type: 'unbind', address, tellUntilMs: null });
}

function putBack(turn: Turn, address: string, state: HeldOver): void {
  if (!state.isOff || turn.draft.verdict?.healthy === false) return;
  turn.setAddress(address, { ...state, isOff: false });
  if (state.managed) bindHeldOver(turn, address);
}

function bindHeldOver(turn: Turn, address: string): void {
  const { settings } = turn.draft;
  const untilMs = lifetimeEndMs(settings, turn.nowMs);
  turn.command({ type: 'bind', address, untilMs, openUntilMs: null, notAfterMs: turn.nowMs + stallMs(settings) });
}

function endHeldOver(turn: Turn, address: string, state: HeldOver, why: string): void {
  turn.incident('holdover-ended', `taken off: ${why}`, address);
  if (turn.why === null) turn.because('owner-moved', why);
  turn.draft.remindAtMs = null;
  takeOff(turn, address, state.managed);
}

/**
 * After a stall an address must not be where it may have no right to be any more: on L2 every one of ours, and on a routed
 * provider what only the silence of the API had kept.
 */
export function onStalled(turn: Turn): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is === 'held-over') setAside(turn, address, 'whether it is still routed here is not known after a standstill');
    else if (turn.draft.settings.kind === 'l2' && state.is === 'bound') unbind(turn, address, 0, null);
  }
}

/**
 * The office is over since `endedAtMs`: cancels every claim and lets go of every address, at once on L2, by lingering where
 * routed. Who notices late, after a freeze, has that much less left to linger. On L2 what an earlier process left and this
 * one could not bind goes, too, because nothing is released that is not seen unbound. While the office is still there to be
 * given up, until `tellUntilMs`, clients are told that their connections are over.
 */
export function letGoOfAddresses(turn: Turn, endedAtMs: number, tellUntilMs: number | null): void {
  const { settings, link } = turn.draft;
  for (const address of settings.addresses) {
    const state = turn.address(address);
    const isSeenUnbound = ['absent', 'foreign'].includes(link?.addresses[address]?.is ?? 'unknown');
    if (settings.kind === 'l2' && ['absent', 'probing', 'leftover'].includes(state.is) && !isSeenUnbound) {
      unbind(turn, address, 0, null);
    }
    if (state.is !== 'bound' && state.is !== 'binding') continue;
    if (state.is === 'bound' && state.claim.is === 'claiming') {
      turn.command({ type: 'cancel-claim', address, attempt: state.claim.attempt });
    }
    const managed = state.is === 'binding' || state.managed;
    const next = lingering(turn, managed, endedAtMs);
    if (next.untilMs <= turn.nowMs) takeOff(turn, address, managed, tellUntilMs);
    else turn.setAddress(address, next);
  }
}

/**
 * Who leaves for good takes along, on L2, what a dead predecessor has left bound: the fence before it goes, too. What cannot be
 * taken off stays behind it until its lifetime ends.
 */
export function takeOffLeftovers(turn: Turn): void {
  const { draft, nowMs } = turn;
  if (draft.settings.kind !== 'l2' || !isAlone(draft)) return;
  for (const address of draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is === 'leftover' && nowMs >= state.reading.readAtMs) unbind(turn, address, 0, null);
  }
}

function lingering(turn: Turn, managed: boolean, sinceMs: number): AddressState & { is: 'lingering' } {
  const { ownerReadPace, worstMoveMs } = turn.draft.settings;
  const reading = { ...FIRST_READING, readAtMs: turn.nowMs + FIRST_READING.pauseMs * ownerReadPace };
  return { is: 'lingering', managed, untilMs: sinceMs + worstMoveMs, reading };
}

/** An address that an earlier agent on this node left bound, its owner to be read from an instant on. */
export function leftover(readAtMs: number): AddressState {
  return { is: 'leftover', reading: { ...LEFTOVER_READING, readAtMs } };
}

/** An administrator's own copy stays where it is. */
function takeOff(turn: Turn, address: string, managed: boolean, tellUntilMs: number | null = null): void {
  if (managed) unbind(turn, address, 0, tellUntilMs);
  else turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
}

/** Takes our own copy off the interface, at L2 after its clients have been told, until `tellUntilMs`, that it is over. */
export function unbind(turn: Turn, address: string, failures: number, tellUntilMs: number | null): void {
  turn.setAddress(address, { is: 'unbinding', failures, retryAtMs: turn.nowMs + UNBIND_RETRY_MS });
  turn.command({ type: 'unbind', address, tellUntilMs });
}

function readOwner(turn: Turn, address: string): void {
  const state = turn.address(address);
  if (!('reading' in state) || state.reading.attempt !== null || !turn.due(state.reading.readAtMs)) return;
  const attempt = turn.nextNumber();
  turn.setAddress(address, { ...state, reading: { ...state.reading, attempt } });
  turn.command({ type: 'verify-owner', address, attempt });
}

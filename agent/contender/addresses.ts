/**
 * What happens to each address on the interface: bound before it is claimed, refreshed and put back while the office
 * lasts, and kept for clients after it until the provider routes elsewhere: for a bounded while (linger), or for as long as
 * nothing but the API's silence speaks against it (holdover).
 *
 * Guarantees: an address that somebody else configured is used, never changed; nothing is written to the provider for one that
 * is kept after its office. A linger goes when its bound is over, a leftover when its kernel lifetime is.
 */
import { advanceClaim, onVerified } from './claims.ts';
import { isAlone } from './state.ts';
import type { AddressView, BindOutcome, LinkView, Owner, UnbindOutcome } from './input.ts';
import { isOfSamePlace, termOf } from './lease.ts';
import type { AddressState, Claim, Contender, Office, OwnerReading } from './state.ts';
import { LIFETIME_MARGIN_MS, LIFETIME_UNIT_MS, lifetimeEndMs, stallMs } from './settings.ts';
import type { Turn } from './turn.ts';

const FOREIGN_READS_TO_LET_GO = 2;
/** Owner reads after office start quickly, because clients have usually moved within a second, and grow rarer. */
const FIRST_READING: OwnerReading = { attempt: null, readAtMs: 0, pauseMs: 200, foreignReads: 0 };
const FOREIGN_REREAD_MS = 100;
const LEFTOVER_READING: OwnerReading = { attempt: null, readAtMs: 0, pauseMs: 1_000, foreignReads: 0 };
const OWNER_PAUSE_MAX_MS = { lingering: 2_000, 'held-over': 2_000, leftover: 5_000 } as const;
const PAUSE_GROWTH = 1.2;
const BIND_RETRY_MS = 1_000;
const UNBIND_RETRY_MS = 100;
const UNBIND_TRIES = 5;

/** Ours on the interface, though we hold no office: where the provider routes it says how long it stays. */
type ReadOutOfOffice = AddressState & { is: 'lingering' | 'leftover' | 'held-over' };

/** Does what is due for every address. */
export function advanceAddresses(turn: Turn): void {
  for (const address of turn.draft.settings.addresses) advanceAddress(turn, address);
}

function advanceAddress(turn: Turn, address: string): void {
  const { life, settings } = turn.draft;
  const state = turn.address(address);
  const office = life.is === 'holding' ? life.office : null;
  switch (state.is) {
    case 'absent':
      if (office !== null && turn.due(state.retryAtMs)) bind(turn, address, office);
      return;
    case 'leftover':
      if (office !== null) return bind(turn, address, office);
      // Where another agent lives on this node, or may, what is bound is not left over.
      if (!isAlone(turn.draft)) return;
      if (settings.kind === 'l2') {
        if (!mayBeTakenOver(turn.draft) && turn.due(state.reading.readAtMs)) unbind(turn, address, 0);
        return;
      }
      if (turn.draft.provider?.ready === true) readOwner(turn, address, state);
      return;
    case 'bound':
      if (office !== null) advanceClaim(turn, address, state.claim, office);
      return;
    case 'lingering':
      if (office !== null) return bind(turn, address, office);
      if (turn.due(state.untilMs)) {
        const waitedS = Math.round(settings.worstMoveMs / 1_000);
        turn.incident('linger-expired', `taken off: no other node has taken it over within ${waitedS}s`, address);
        return takeOff(turn, address, state.managed);
      }
      readOwner(turn, address, state);
      return;
    case 'held-over':
      if (office !== null) return bind(turn, address, office);
      if (turn.draft.verdict?.healthy === false) return endHeldOver(turn, address, state, 'this node is not healthy any more');
      if (life.is !== 'standby' && life.is !== 'acquiring') return turn.setAddress(address, lingering(turn, state.managed, turn.nowMs));
      readOwner(turn, address, state);
      return;
    case 'unbinding':
      if (turn.due(state.retryAtMs)) unbind(turn, address, state.failures);
      return;
    case 'binding':
      return;
  }
}

/** Whether an earlier process of this node may still be the one that the Lease names, so that its place can be taken. */
function mayBeTakenOver({ observation, settings }: Contender): boolean {
  const term = observation === null ? null : termOf(observation.sight);
  if (term === null) return observation === null;
  return term.holder !== settings.identity && isOfSamePlace(term.holder, settings.identity);
}

function bind(turn: Turn, address: string, office: Office): void {
  if (isInDoubt(turn, office)) return;
  const untilMs = lifetimeEndMs(turn.draft.settings, boundBaseMs(turn, office));
  // Too little of the tenure is left for the kernel to count; the next renewal brings more.
  if (untilMs - turn.nowMs < LIFETIME_UNIT_MS) return;
  turn.setAddress(address, { is: 'binding' });
  turn.command({ type: 'bind', address, untilMs, notAfterMs: office.tenureEndMs });
}

/** Where nobody arbitrates, nothing is bound or refreshed while something speaks against this term (rule 4). */
function isInDoubt(turn: Turn, office: Office): boolean {
  return turn.draft.settings.kind === 'l2' && office.mustRead;
}

/** A lifetime on L2 counts from the renewal; on a routed provider it only has to outlast a move that starts now. */
function boundBaseMs(turn: Turn, office: Office): number {
  return turn.draft.settings.kind === 'routed' ? turn.nowMs : office.renewalSentAtMs;
}

function unbind(turn: Turn, address: string, failures: number): void {
  turn.setAddress(address, { is: 'unbinding', failures, retryAtMs: turn.nowMs + UNBIND_RETRY_MS });
  turn.command({ type: 'unbind', address });
}

/** Takes in what a bind brought. */
export function onBindDone(turn: Turn, address: string, outcome: BindOutcome): void {
  const state = turn.draft.addresses[address];
  if (state?.is === 'lingering' && outcome.is !== 'bound') {
    // The office ended while it was being bound, or it could not be put back: there is nothing that could linger.
    return turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
  }
  if (state?.is === 'held-over' && outcome.is === 'foreign') return turn.setAddress(address, { ...state, managed: false });
  if (state?.is !== 'binding' && state?.is !== 'bound') return;
  const { settings } = turn.draft;
  const wasBound = state.is === 'bound';
  switch (outcome.is) {
    case 'bound':
      if (wasBound) return turn.setAddress(address, { ...state, managed: true, problem: null });
      return enterBound(turn, address, true);
    case 'foreign':
      if (settings.kind === 'l2') return refuseForeign(turn, address, outcome.interfaceName);
      if (wasBound) return turn.setAddress(address, { ...state, managed: false, problem: null });
      turn.incident('bound-elsewhere', `it is configured on ${outcome.interfaceName} already: used as it is, never changed`, address);
      return enterBound(turn, address, false);
    case 'too-late':
      return turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
    case 'failed':
      // A refresh that failed took nothing off: what is still there is let go of like any other.
      return wasBound ? failRefresh(turn, address, state, outcome.message) : failBind(turn, address, outcome.message);
  }
}

function failRefresh(turn: Turn, address: string, state: AddressState & { is: 'bound' }, problem: string): void {
  turn.setAddress(address, { ...state, problem });
  if (state.problem !== problem) turn.incident('bind-failed', problem, address);
}

/** Where nobody arbitrates, somebody else's copy of an address can neither be used nor be taken away. */
function refuseForeign(turn: Turn, address: string, interfaceName: string): void {
  failBind(turn, address, `it is configured on ${interfaceName} by somebody else: remove it there`);
}

function failBind(turn: Turn, address: string, problem: string): void {
  const state = turn.address(address);
  const isNews = state.is !== 'absent' || state.problem !== problem;
  turn.setAddress(address, { is: 'absent', problem, retryAtMs: turn.nowMs + BIND_RETRY_MS });
  if (isNews) turn.incident('bind-failed', problem, address);
}

function enterBound(turn: Turn, address: string, managed: boolean): void {
  const isRouted = turn.draft.settings.kind === 'routed';
  const claim: Claim = isRouted ? { is: 'due', isFirst: true, failures: 0, atMs: turn.nowMs } : { is: 'not-needed' };
  turn.setAddress(address, { is: 'bound', managed, problem: null, claim });
}

/** Takes in what an unbind brought. */
export function onUnbindDone(turn: Turn, address: string, outcome: UnbindOutcome): void {
  const state = turn.draft.addresses[address];
  if (state?.is !== 'unbinding') return;
  if (outcome.is === 'unbound') {
    return turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
  }
  const failures = state.failures + 1;
  if (failures < UNBIND_TRIES) return turn.setAddress(address, { ...state, failures });
  turn.incident('address-left-behind', `${outcome.message}; the kernel removes it when its lifetime ends`, address);
  turn.setAddress(address, { is: 'leftover', reading: { ...LEFTOVER_READING, readAtMs: turn.nowMs + BIND_RETRY_MS } });
}

/** Takes in where the provider routes an address. */
export function onOwnerRead(turn: Turn, address: string, attempt: number, owner: Owner): void {
  const state = turn.draft.addresses[address];
  if (state?.is === 'bound' && state.claim.is === 'confirmed' && state.claim.attempt === attempt) {
    return onVerified(turn, address, state.claim, owner);
  }
  const isAwaited = state?.is === 'lingering' || state?.is === 'leftover' || state?.is === 'held-over';
  if (isAwaited && state.reading.attempt === attempt) onOwnerReadOutOfOffice(turn, address, state, owner);
}

function onOwnerReadOutOfOffice(turn: Turn, address: string, state: ReadOutOfOffice, owner: Owner): void {
  // What is held over is held because it is routed here, so to nobody is elsewhere, too.
  const isElsewhere = owner.is === 'other' || (state.is === 'held-over' && owner.is === 'nobody');
  const foreignReads = isElsewhere ? state.reading.foreignReads + 1 : 0;
  if (foreignReads >= FOREIGN_READS_TO_LET_GO) {
    const whom = owner.is === 'other' ? `to ${owner.name} now` : 'nowhere';
    switch (state.is) {
      case 'leftover':
        return unbind(turn, address, 0);
      case 'held-over':
        return endHeldOver(turn, address, state, `the provider routes it ${whom}`);
      case 'lingering':
        turn.incident('linger-ended', `the provider routes it ${whom}`, address);
        return takeOff(turn, address, state.managed);
    }
  }
  const pauseMs = foreignReads > 0 ? FOREIGN_REREAD_MS : Math.min(OWNER_PAUSE_MAX_MS[state.is], state.reading.pauseMs * PAUSE_GROWTH);
  turn.setAddress(address, { ...state, reading: { attempt: null, readAtMs: turn.nowMs + pauseMs, pauseMs, foreignReads } });
}

/**
 * Compares what a look shows with what should be there: puts back what somebody removed, refreshes lifetimes, and
 * recognises what an earlier agent left behind.
 */
export function onLooked(turn: Turn, view: LinkView): void {
  turn.draft.link = view;
  for (const [address, seen] of Object.entries(view.addresses)) {
    if (turn.draft.addresses[address] !== undefined) onAddressSeen(turn, address, seen);
  }
}

function onAddressSeen(turn: Turn, address: string, seen: AddressView): void {
  const { life, settings } = turn.draft;
  const state = turn.address(address);
  switch (state.is) {
    case 'absent':
      if (seen.is === 'ours') turn.setAddress(address, { is: 'leftover', reading: { ...LEFTOVER_READING, readAtMs: turn.nowMs } });
      return;
    case 'leftover':
      if (seen.is !== 'ours') turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
      return;
    case 'bound': {
      if (life.is !== 'holding') return;
      if (seen.is === 'foreign' && settings.kind === 'l2') return refuseForeign(turn, address, seen.interfaceName);
      if (seen.is === 'foreign') return turn.setAddress(address, { ...state, managed: false, problem: null });
      const untilMs = lifetimeEndMs(settings, boundBaseMs(turn, life.office));
      // With too little left to count in whole seconds, the lifetime that it has is as safe as a new one.
      if (isInDoubt(turn, life.office) || untilMs - turn.nowMs < LIFETIME_UNIT_MS) return;
      if (seen.is === 'absent' && state.problem === null)
        turn.incident('address-repaired', 'somebody removed it from the interface: bound again', address);
      const isEnough = settings.kind === 'routed' && state.problem === null && isLongEnough(seen, untilMs - turn.nowMs);
      if (!isEnough) turn.command({ type: 'bind', address, untilMs, notAfterMs: life.office.tenureEndMs });
      return;
    }
    case 'lingering':
      if (state.managed && seen.is === 'absent') {
        const { untilMs } = state;
        turn.command({ type: 'bind', address, untilMs: untilMs + LIFETIME_UNIT_MS, notAfterMs: untilMs });
      }
      return;
    case 'held-over': {
      const untilMs = lifetimeEndMs(settings, turn.nowMs);
      if (!state.managed || isLongEnough(seen, untilMs - turn.nowMs)) return;
      turn.command({ type: 'bind', address, untilMs, notAfterMs: turn.nowMs + stallMs(settings) });
      return;
    }
    case 'binding':
    case 'unbinding':
      return;
  }
}

/** On a routed provider a refresh at every renewal would only keep the node's network daemons busy. */
function isLongEnough(seen: AddressView, lifetimeMs: number): boolean {
  return seen.is === 'ours' && seen.remainingMs > lifetimeMs - LIFETIME_MARGIN_MS / 2;
}

/** Keeps every address that the provider is known to route here, because nothing but silence has ended the tenure. */
export function holdAddressesOver(turn: Turn): void {
  if (turn.draft.settings.kind === 'l2') return;
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is !== 'bound' || state.claim.is !== 'confirmed' || state.claim.foreignReads > 0) continue;
    turn.setAddress(address, { is: 'held-over', managed: state.managed, reading: { ...FIRST_READING, readAtMs: turn.nowMs } });
  }
}

/** The Lease speaks again, and of another term: what was held over goes on serving only until clients have moved. */
export function endHoldover(turn: Turn, reason: string): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is !== 'held-over') continue;
    turn.reason = reason;
    turn.setAddress(address, lingering(turn, state.managed, turn.nowMs));
  }
}

function endHeldOver(turn: Turn, address: string, state: AddressState & { is: 'held-over' }, why: string): void {
  turn.incident('holdover-ended', `taken off: ${why}`, address);
  turn.reason ??= why;
  takeOff(turn, address, state.managed);
}

/**
 * After a stall an address must not be where it may have no right to be any more: on L2 every one of ours, and on a routed
 * provider what only the silence of the API had kept.
 */
export function onStalled(turn: Turn): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is === 'held-over') endHeldOver(turn, address, state, 'whether it is still routed here is not known after a standstill');
    else if (turn.draft.settings.kind === 'l2' && state.is === 'bound') unbind(turn, address, 0);
  }
}

/**
 * The office is over since `endedAtMs`: cancels every claim and lets go of every address, at once on L2, by lingering where
 * routed. Who notices late, after a freeze, has that much less left to linger.
 */
export function letGoOfAddresses(turn: Turn, endedAtMs: number): void {
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    if (state.is !== 'bound' && state.is !== 'binding') continue;
    if (state.is === 'bound' && state.claim.is === 'claiming') {
      turn.command({ type: 'cancel-claim', address, attempt: state.claim.attempt });
    }
    const managed = state.is === 'binding' || state.managed;
    const next = lingering(turn, managed, endedAtMs);
    if (next.untilMs <= turn.nowMs) takeOff(turn, address, managed);
    else turn.setAddress(address, next);
  }
}

function lingering(turn: Turn, managed: boolean, sinceMs: number): AddressState & { is: 'lingering' } {
  const reading = { ...FIRST_READING, readAtMs: turn.nowMs + FIRST_READING.pauseMs };
  return { is: 'lingering', managed, untilMs: sinceMs + turn.draft.settings.worstMoveMs, reading };
}

/** Whether every address has been seen unbound. */
export function allAddressesUnbound(turn: Turn): boolean {
  return Object.values(turn.draft.addresses).every(({ is }) => is === 'absent');
}

/** Whether nothing is left that needs this process: what an earlier agent left behind goes with its lifetime. */
export function noAddressNeedsUs(turn: Turn): boolean {
  return Object.values(turn.draft.addresses).every(({ is }) => is === 'absent' || is === 'leftover');
}

/** Whether every address is bound and, where a provider decides, confirmed. */
export function allAddressesServe(turn: Turn): boolean {
  return Object.values(turn.draft.addresses).every(
    (state) => state.is === 'bound' && (state.claim.is === 'not-needed' || state.claim.is === 'confirmed'),
  );
}

/** What keeps a serving holder's address off its interface, or null when all are there. */
export function missingAddress(turn: Turn): string | null {
  for (const [address, state] of Object.entries(turn.draft.addresses)) {
    const problem = state.is === 'absent' || state.is === 'bound' ? state.problem : null;
    const isThere = state.is === 'bound' && turn.draft.link?.addresses[address]?.is !== 'absent';
    if (problem !== null && !isThere) return `${address} cannot be bound: ${problem}`;
  }
  return null;
}

/** Why this holder's first claims cannot be made, or null while they still may be. */
export function failedFirstClaim(turn: Turn): string | null {
  for (const [address, state] of Object.entries(turn.draft.addresses)) {
    if (state.is === 'absent' && state.problem !== null) return `${address} cannot be bound: ${state.problem}`;
    if (state.is !== 'bound' || (state.claim.is !== 'due' && state.claim.is !== 'claiming')) continue;
    if (state.claim.isFirst && state.claim.failures > 0) return `the provider does not route ${address} to this node`;
  }
  return null;
}

/** An administrator's own copy stays where it is. */
function takeOff(turn: Turn, address: string, managed: boolean): void {
  if (managed) unbind(turn, address, 0);
  else turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
}

function readOwner(turn: Turn, address: string, state: ReadOutOfOffice): void {
  if (state.reading.attempt !== null || !turn.due(state.reading.readAtMs)) return;
  const attempt = turn.nextNumber();
  turn.setAddress(address, { ...state, reading: { ...state.reading, attempt } });
  turn.command({ type: 'verify-owner', address, attempt });
}

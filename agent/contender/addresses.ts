/**
 * What happens to each address on the interface: bound before it is claimed, refreshed and put back while the office lasts.
 * What stays of it after the office is in retention.ts.
 *
 * Guarantees: an address that somebody else configured is used where routed and refused on L2, and never changed.
 */
import { advanceClaim, claimHeldOver, onVerified } from './claims.ts';
import type { AddressView, AnnounceOutcome, BindOutcome, LinkView, Owner, UnbindOutcome } from './input.ts';
import { advanceRetained, isLongEnough, leftover, onRetainedOwnerRead, onRetainedSeen, unbind } from './retention.ts';
import { advanceAnnouncing, announceFrom, isPluggedAnew, onRivalSeen, probe } from './segment.ts';
import { LIFETIME_UNIT_MS, lifetimeEndMs, openUntilMs } from './settings.ts';
import type { AddressState, Claim, Office } from './state.ts';
import type { Turn } from './turn.ts';

const BIND_RETRY_MS = 1_000;
const UNBIND_TRIES = 5;

/** Does what is due for every address. */
export function advanceAddresses(turn: Turn): void {
  for (const address of turn.draft.settings.addresses) advanceAddress(turn, address);
}

function advanceAddress(turn: Turn, address: string): void {
  const { life } = turn.draft;
  const state = turn.address(address);
  const office = life.is === 'holding' ? life.office : null;
  switch (state.is) {
    case 'absent':
      if (office !== null && turn.due(state.retryAtMs)) begin(turn, address, state.problem, office);
      return;
    case 'probing':
      if (office === null) return turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
      if (turn.due(state.untilMs)) turn.lookNow();
      return;
    case 'bound':
      if (office === null) return;
      advanceClaim(turn, address, state.claim, office);
      return advanceAnnouncing(turn, address, state, office);
    case 'held-over':
      if (office !== null) return resume(turn, address, state, office);
      return advanceRetained(turn, address, state);
    case 'leftover':
    case 'lingering':
      if (office !== null) return bind(turn, address, office);
      return advanceRetained(turn, address, state);
    case 'unbinding':
      if (turn.due(state.retryAtMs)) unbind(turn, address, state.failures, null);
      return;
    case 'binding':
      return;
  }
}

/** The office is back, and nobody has held one in between: what was held over goes on as if nothing had been. */
function resume(turn: Turn, address: string, { managed }: AddressState & { is: 'held-over' }, office: Office): void {
  const claim = claimHeldOver(turn);
  turn.setAddress(address, { is: 'bound', managed, problem: null, claim, contest: null, announcing: null });
  advanceClaim(turn, address, claim, office);
  if (managed) commandBind(turn, address, office);
}

/** Where nobody arbitrates, nothing is bound before it is known that nobody has it. */
function begin(turn: Turn, address: string, problem: string | null, office: Office): void {
  if (turn.draft.settings.kind === 'routed') return bind(turn, address, office);
  if (!isInDoubt(turn, office)) probe(turn, address, problem, office);
}

function bind(turn: Turn, address: string, office: Office): void {
  if (isInDoubt(turn, office)) return;
  // Too little of the tenure is left for the kernel to count; the next renewal brings more.
  if (remainingLifetimeMs(turn, office) < LIFETIME_UNIT_MS) return;
  turn.setAddress(address, { is: 'binding', problem: problemOf(turn.address(address)) });
  commandBind(turn, address, office);
}

function commandBind(turn: Turn, address: string, office: Office): void {
  const { settings } = turn.draft;
  turn.command({
    type: 'bind',
    address,
    untilMs: lifetimeEndMs(settings, boundBaseMs(turn, office)),
    openUntilMs: openUntilMs(settings, office.renewalSentAtMs),
    notAfterMs: office.tenureEndMs,
  });
}

/** What a bind would give an address now. */
function remainingLifetimeMs(turn: Turn, office: Office): number {
  return lifetimeEndMs(turn.draft.settings, boundBaseMs(turn, office)) - turn.nowMs;
}

/** Where nobody arbitrates, nothing is bound or refreshed while something speaks against this term (rule 4). */
function isInDoubt(turn: Turn, office: Office): boolean {
  return turn.draft.settings.kind === 'l2' && office.doubt !== null;
}

/** A lifetime on L2 counts from the renewal; on a routed provider it only has to outlast a move that starts now. */
function boundBaseMs(turn: Turn, office: Office): number {
  return turn.draft.settings.kind === 'routed' ? turn.nowMs : office.renewalSentAtMs;
}

/** Takes in what a bind brought. */
export function onBindDone(turn: Turn, address: string, outcome: BindOutcome): void {
  const state = turn.draft.addresses[address];
  if (state?.is === 'lingering' && outcome.is !== 'bound') {
    // The office ended while it was being bound, or it could not be put back: there is nothing that could linger.
    return turn.setAddress(address, { is: 'absent', problem: null, retryAtMs: turn.nowMs });
  }
  if (state?.is === 'held-over') {
    if (outcome.is === 'failed') turn.incident('bind-failed', outcome.message, address);
    return turn.setAddress(address, { ...state, managed: outcome.is !== 'foreign' });
  }
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
      // Whether a refresh that failed took it off is seen by the next look: until then it is let go of like any other.
      return wasBound ? failRefresh(turn, address, state, outcome.message) : failBind(turn, address, outcome.message);
  }
}

function failRefresh(turn: Turn, address: string, state: AddressState & { is: 'bound' }, problem: string): void {
  turn.setAddress(address, { ...state, problem });
  if (state.problem !== problem) turn.incident('bind-failed', problem, address);
}

/** Where nobody arbitrates, somebody else's copy of an address can neither be used nor be taken away. */
function refuseForeign(turn: Turn, address: string, interfaceName: string): void {
  // What had been opened for our own copy must not serve theirs.
  if (turn.address(address).is === 'bound') turn.command({ type: 'unbind', address, tellUntilMs: null });
  failBind(turn, address, `it is configured on ${interfaceName} by somebody else: remove it there`);
}

function failBind(turn: Turn, address: string, problem: string): void {
  if (problemOf(turn.address(address)) !== problem) turn.incident('bind-failed', problem, address);
  setUnbindable(turn, address, problem);
}

function setUnbindable(turn: Turn, address: string, problem: string): void {
  // The last look was before: what there really is decides whether the Lease may be released.
  turn.lookNow();
  turn.setAddress(address, { is: 'absent', problem, retryAtMs: turn.nowMs + BIND_RETRY_MS });
}

function enterBound(turn: Turn, address: string, managed: boolean): void {
  const isRouted = turn.draft.settings.kind === 'routed';
  const claim: Claim = isRouted ? { is: 'due', isFirst: true, failures: 0, atMs: turn.nowMs } : { is: 'not-needed' };
  const announcing = isRouted ? null : announceFrom(turn.nowMs);
  turn.setAddress(address, { is: 'bound', managed, problem: null, claim, contest: null, announcing });
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
  turn.setAddress(address, leftover(turn.nowMs + BIND_RETRY_MS));
}

/** Takes in what an announcement brought. */
export function onAnnounceDone(turn: Turn, address: string, outcome: AnnounceOutcome): void {
  if (outcome.is === 'failed') turn.incident('announce-failed', outcome.message, address);
}

/** Takes in where the provider routes an address. */
export function onOwnerRead(turn: Turn, address: string, attempt: number, owner: Owner): void {
  const state = turn.draft.addresses[address];
  if (state?.is === 'bound' && state.claim.is === 'confirmed' && state.claim.attempt === attempt) {
    return onVerified(turn, address, state, state.claim, owner);
  }
  const isRetained = state?.is === 'lingering' || state?.is === 'leftover' || state?.is === 'held-over';
  if (isRetained && state.reading.attempt === attempt) onRetainedOwnerRead(turn, address, state, owner);
}

/**
 * Compares what a look shows with what should be there: puts back what somebody removed, refreshes lifetimes, and
 * recognises what an earlier agent left behind.
 */
export function onLooked(turn: Turn, view: LinkView): void {
  const before = turn.draft.link;
  turn.draft.link = view;
  for (const address of turn.draft.settings.addresses) {
    const state = turn.address(address);
    const seen = view.addresses[address];
    const rival = view.rivals[address];
    if (state.is === 'probing') onProbed(turn, address, state, seen === undefined ? view.problem : null, rival);
    else if (state.is === 'bound' && rival !== undefined) onRivalSeen(turn, address, rival);
    else if (seen !== undefined) onAddressSeen(turn, address, seen);
    if (isPluggedAnew(before, view, address)) announceAnew(turn, address);
  }
}

/** Whether anybody else has the address is known now, or the time to say so is not over yet. */
function onProbed(
  turn: Turn,
  address: string,
  state: AddressState & { is: 'probing' },
  problem: string | null,
  rival: string | undefined,
): void {
  const { life } = turn.draft;
  if (life.is !== 'holding') return;
  if (problem !== null) return failBind(turn, address, problem);
  if (rival !== undefined) {
    const message = `${rival} answers for it: find this machine and take the address off it`;
    turn.conflict(address, rival, message);
    return setUnbindable(turn, address, message);
  }
  if (turn.nowMs < state.untilMs) return;
  turn.setAddress(address, { is: 'absent', problem: state.problem, retryAtMs: turn.nowMs });
  bind(turn, address, life.office);
}

/** What is behind the cable now may not have heard yet who has the address. */
function announceAnew(turn: Turn, address: string): void {
  const state = turn.address(address);
  if (state.is === 'bound' && state.announcing !== null) turn.setAddress(address, { ...state, announcing: announceFrom(turn.nowMs) });
}

function onAddressSeen(turn: Turn, address: string, seen: AddressView): void {
  const { life, settings } = turn.draft;
  const state = turn.address(address);
  switch (state.is) {
    case 'absent':
      // In office one that could not be bound is tried again in its own time, whatever is there of an earlier process.
      if (seen.is === 'ours' && (life.is !== 'holding' || state.problem === null)) turn.setAddress(address, leftover(turn.nowMs));
      return;
    case 'bound': {
      if (life.is !== 'holding') return;
      if (seen.is === 'foreign' && settings.kind === 'l2') return refuseForeign(turn, address, seen.interfaceName);
      if (seen.is === 'foreign') return turn.setAddress(address, { ...state, managed: false, problem: null });
      const remainingMs = remainingLifetimeMs(turn, life.office);
      // With too little left to count in whole seconds, the lifetime that it has is as safe as a new one.
      if (isInDoubt(turn, life.office) || remainingMs < LIFETIME_UNIT_MS) return;
      if (seen.is === 'absent' && state.problem === null)
        turn.incident('address-repaired', 'somebody removed it from the interface: bound again', address);
      if (seen.is === 'absent') announceAnew(turn, address);
      const isEnough = settings.kind === 'routed' && state.problem === null && isLongEnough(seen, remainingMs);
      if (!isEnough) commandBind(turn, address, life.office);
      return;
    }
    case 'leftover':
    case 'lingering':
    case 'held-over':
      return onRetainedSeen(turn, address, state, seen);
    case 'probing':
    case 'binding':
    case 'unbinding':
      return;
  }
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
    const problem = problemOf(state);
    const isThere = state.is === 'bound' && turn.draft.link?.addresses[address]?.is !== 'absent';
    if (problem !== null && !isThere) return `${address} cannot be bound: ${problem}`;
  }
  return null;
}

/** Why an address could not be bound or refreshed when that was tried last. */
function problemOf(state: AddressState): string | null {
  return 'problem' in state ? state.problem : null;
}

/** Why this holder's first claims cannot be made, or null while they still may be. */
export function failedFirstClaim(turn: Turn): string | null {
  for (const [address, state] of Object.entries(turn.draft.addresses)) {
    const problem = state.is === 'bound' ? null : problemOf(state);
    if (problem !== null) return `${address} cannot be bound: ${problem}`;
    if (state.is !== 'bound' || (state.claim.is !== 'due' && state.claim.is !== 'claiming')) continue;
    if (state.claim.isFirst && state.claim.failures > 0) return `the provider does not route ${address} to this node`;
  }
  return null;
}

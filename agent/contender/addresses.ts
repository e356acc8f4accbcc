/**
 * What happens to each address on the interface: bound before it is claimed, refreshed and put back while the office lasts.
 * What stays of it after the office is in retention.ts.
 *
 * Guarantees: an address that somebody else configured is used where routed and refused on L2, and never changed.
 */
import { advanceClaim, claimHeldOver, onVerified } from './claims.ts';
import type { AddressView, BindOutcome, LinkView, Owner, UnbindOutcome } from './input.ts';
import { advanceRetained, isLongEnough, leftover, onRetainedOwnerRead, onRetainedSeen, unbind } from './retention.ts';
import { LIFETIME_UNIT_MS, lifetimeEndMs } from './settings.ts';
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
      if (office !== null && turn.due(state.retryAtMs)) bind(turn, address, office);
      return;
    case 'bound':
      if (office !== null) advanceClaim(turn, address, state.claim, office);
      return;
    case 'held-over':
      if (office !== null) return resume(turn, address, state, office);
      return advanceRetained(turn, address, state);
    case 'leftover':
    case 'lingering':
      if (office !== null) return bind(turn, address, office);
      return advanceRetained(turn, address, state);
    case 'unbinding':
      if (turn.due(state.retryAtMs)) unbind(turn, address, state.failures);
      return;
    case 'binding':
      return;
  }
}

/** The office is back, and nobody has held one in between: what was held over goes on as if nothing had been. */
function resume(turn: Turn, address: string, { managed }: AddressState & { is: 'held-over' }, office: Office): void {
  const claim = claimHeldOver(turn.nowMs);
  turn.setAddress(address, { is: 'bound', managed, problem: null, claim });
  advanceClaim(turn, address, claim, office);
  const untilMs = lifetimeEndMs(turn.draft.settings, turn.nowMs);
  if (managed) turn.command({ type: 'bind', address, untilMs, notAfterMs: office.tenureEndMs });
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
  turn.setAddress(address, leftover(turn.nowMs + BIND_RETRY_MS));
}

/** Takes in where the provider routes an address. */
export function onOwnerRead(turn: Turn, address: string, attempt: number, owner: Owner): void {
  const state = turn.draft.addresses[address];
  if (state?.is === 'bound' && state.claim.is === 'confirmed' && state.claim.attempt === attempt) {
    return onVerified(turn, address, state.claim, owner);
  }
  const isRetained = state?.is === 'lingering' || state?.is === 'leftover' || state?.is === 'held-over';
  if (isRetained && state.reading.attempt === attempt) onRetainedOwnerRead(turn, address, state, owner);
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
      // In office one that could not be bound is tried again in its own time, whatever is there of an earlier process.
      if (seen.is === 'ours' && (life.is !== 'holding' || state.problem === null)) turn.setAddress(address, leftover(turn.nowMs));
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
    case 'leftover':
    case 'lingering':
    case 'held-over':
      return onRetainedSeen(turn, address, state, seen);
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

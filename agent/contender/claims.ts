/**
 * Claims: making the provider route an address to this node, and making sure that it stays so.
 *
 * Guarantees: a claim begins only in office; a first claim of a node that has just turned unhealthy waits for healthier ones;
 * one odd answer about the owner is not believed, three in a row are (rule 8). An address that is taken away again and again is
 * claimed back with growing patience (contest.ts).
 */
import { describe, isOver, isWorthTelling, lost, patienceMs } from './contest.ts';
import type { ClaimOutcome, Owner } from './input.ts';
import { firstClaimNotBeforeMs } from './state.ts';
import type { AddressState, Claim, Office } from './state.ts';
import type { Turn } from './turn.ts';

/** A confirmed claim is read back this long after it, and then once in every verify interval (rule 8). These pauses follow the pace. */
const EARLY_VERIFICATIONS_MS = [2_000, 5_000, 15_000];
/** One read that shows another owner is not believed; this many in a row are. */
const FOREIGN_READS_TO_BELIEVE = 3;
const REREAD_PAUSE_MS = 300;
const NOWHERE_PATIENCE_MAX_MS = 5_000;
const UNKNOWN_OWNER_PAUSE_MS = 5_000;
const CLAIM_RETRY_FIRST_MS = 1_000;
const CLAIM_RETRY_MAX_MS = 30_000;
const CLAIM_RETRY_DEFINITIVE_MS = 10_000;
const CLAIM_RETRY_DEFINITIVE_MAX_MS = 60_000;

/** Does what is due for the claim of one address. */
export function advanceClaim(turn: Turn, address: string, claim: Claim, office: Office): void {
  switch (claim.is) {
    case 'not-needed':
    case 'claiming':
      return;
    case 'due': {
      const notBeforeMs = firstClaimNotBeforeMs(office, turn.draft.settings);
      if (turn.due(claim.isFirst ? Math.max(claim.atMs, notBeforeMs) : claim.atMs))
        startClaim(turn, address, claim.isFirst, claim.failures);
      return;
    }
    case 'confirmed': {
      if (claim.attempt !== null || !turn.due(claim.readAtMs)) return;
      const attempt = turn.nextNumber();
      setClaim(turn, address, { ...claim, attempt });
      turn.command({ type: 'verify-owner', address, attempt });
    }
  }
}

type Bound = AddressState & { readonly is: 'bound' };

function startClaim(turn: Turn, address: string, isFirst: boolean, failures: number): void {
  const attempt = turn.nextNumber();
  setClaim(turn, address, { is: 'claiming', attempt, isFirst, failures, sinceMs: turn.nowMs });
  turn.command({ type: 'claim', address, attempt, isFirst, timeoutMs: turn.draft.settings.claimTimeoutMs });
}

/** Takes in how a claim ended. */
export function onClaimDone(turn: Turn, address: string, attempt: number, outcome: ClaimOutcome): void {
  const claim = claimOf(turn, address);
  if (claim?.is !== 'claiming' || claim.attempt !== attempt) return;
  if (outcome.is === 'confirmed') {
    turn.incident(
      'claim-confirmed',
      `the provider routes it here, ${Math.round(turn.nowMs - claim.sinceMs)}ms after it was asked`,
      address,
    );
    return setClaim(turn, address, confirmedClaim(turn));
  }
  if (outcome.is === 'withdrawn') {
    return setClaim(turn, address, { is: 'due', isFirst: claim.isFirst, failures: claim.failures, atMs: turn.nowMs });
  }
  const failures = claim.failures + 1;
  const [firstMs, maxMs] = outcome.definitive
    ? [CLAIM_RETRY_DEFINITIVE_MS, CLAIM_RETRY_DEFINITIVE_MAX_MS]
    : [CLAIM_RETRY_FIRST_MS, CLAIM_RETRY_MAX_MS];
  const againAtMs = turn.nowMs + Math.min(maxMs, firstMs * 2 ** Math.min(claim.failures, 10));
  // A first claim is tried again all the same: what this node knows of the provider's limits may be too much.
  const atMs = claim.isFirst ? againAtMs : Math.max(againAtMs, outcome.notBeforeMs ?? 0);
  setClaim(turn, address, { is: 'due', isFirst: claim.isFirst, failures, atMs });
  turn.incident('claim-failed', outcome.message, address);
}

/** A claim that was confirmed in a term after which nobody else had one: it is verified at once and need not be made again. */
export function claimHeldOver(turn: Turn): Claim {
  return { ...confirmedClaim(turn), readAtMs: turn.nowMs };
}

function confirmedClaim({ nowMs, draft }: Turn): Claim & { is: 'confirmed' } {
  const [firstMs = 0] = EARLY_VERIFICATIONS_MS;
  const readAtMs = nowMs + firstMs * draft.settings.ownerReadPace;
  return { is: 'confirmed', sinceMs: nowMs, verified: 0, isUnknown: false, foreignReads: 0, attempt: null, readAtMs };
}

/** Takes in what a verification of a confirmed claim showed. */
export function onVerified(turn: Turn, address: string, state: Bound, claim: Claim & { is: 'confirmed' }, owner: Owner): void {
  const { nowMs } = turn;
  const { ownerReadPace, verifyIntervalMs } = turn.draft.settings;
  if (owner.is === 'unknown' && owner.notBeforeMs !== undefined) {
    // Not asked is not unknown: nothing is wrong, and nothing is learnt.
    return setClaim(turn, address, { ...claim, attempt: null, readAtMs: Math.max(owner.notBeforeMs, nowMs + REREAD_PAUSE_MS) });
  }
  if (claim.isUnknown && owner.is !== 'unknown') turn.incident('owner-known', 'the provider can be asked again', address);
  switch (owner.is) {
    case 'self': {
      endContest(turn, address, state, nowMs - claim.sinceMs);
      const verified = claim.verified + 1;
      const earlyMs = EARLY_VERIFICATIONS_MS[verified];
      const readAtMs = earlyMs === undefined ? nowMs + verifyIntervalMs : Math.max(nowMs, claim.sinceMs + earlyMs * ownerReadPace);
      return setClaim(turn, address, { ...claim, verified, isUnknown: false, foreignReads: 0, attempt: null, readAtMs });
    }
    case 'unknown': {
      turn.incident('owner-unknown', `cannot read where the provider routes it: ${owner.message}`, address);
      const readAtMs = nowMs + Math.min(UNKNOWN_OWNER_PAUSE_MS * ownerReadPace, verifyIntervalMs);
      return setClaim(turn, address, { ...claim, isUnknown: true, attempt: null, readAtMs });
    }
    case 'other':
    case 'nobody': {
      const foreignReads = claim.foreignReads + 1;
      if (foreignReads < FOREIGN_READS_TO_BELIEVE) {
        const readAtMs = nowMs + REREAD_PAUSE_MS * ownerReadPace;
        return setClaim(turn, address, { ...claim, isUnknown: false, foreignReads, attempt: null, readAtMs });
      }
      return claimBack(turn, address, state, claim, owner.is === 'other' ? owner.name : null);
    }
  }
}

/** At once, unless it has been taken away too often of late. */
function claimBack(turn: Turn, address: string, state: Bound, claim: Claim & { is: 'confirmed' }, whom: string | null): void {
  const { nowMs } = turn;
  const contest = lost(state.contest, nowMs - claim.sinceMs, nowMs);
  // While it is routed nowhere, patience leaves it to nobody.
  const waitMs = Math.min(whom === null ? NOWHERE_PATIENCE_MAX_MS : Number.POSITIVE_INFINITY, patienceMs(contest));
  const when = waitMs === 0 ? 'again' : `again after ${waitMs / 1_000}s, because it has just been taken away before`;
  turn.incident(
    'owner-drifted',
    `the provider routes it ${whom === null ? 'nowhere' : `to ${whom}`}, though this node holds the Lease: claiming it ${when}`,
    address,
  );
  const isNews = isWorthTelling(contest);
  if (isNews) turn.incident('contested', describe(contest, nowMs), address);
  turn.setAddress(address, { ...state, contest: { ...contest, isTold: contest.isTold || isNews } });
  if (waitMs === 0) startClaim(turn, address, false, 0);
  else setClaim(turn, address, { is: 'due', isFirst: false, failures: 0, atMs: nowMs + waitMs });
}

function endContest(turn: Turn, address: string, { contest, ...state }: Bound, heldMs: number): void {
  if (contest === null || !isOver(contest, heldMs)) return;
  if (contest.isTold) turn.incident('contest-over', `it has stayed here for ${Math.round(heldMs / 60_000)} min`, address);
  turn.setAddress(address, { ...state, contest: null });
}

function claimOf(turn: Turn, address: string): Claim | null {
  const state = turn.draft.addresses[address];
  return state?.is === 'bound' ? state.claim : null;
}

function setClaim(turn: Turn, address: string, claim: Claim): void {
  const state = turn.address(address);
  if (state.is === 'bound') turn.setAddress(address, { ...state, claim });
}

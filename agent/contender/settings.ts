/**
 * What one contender is told once and never again: who it is, its three timings, its addresses.
 *
 * Guarantees: `timingProblems` finds every combination of timings under which two nodes could serve at once
 * (rules 3 and 7). It does not know where the numbers come from or how they are written.
 */

/** The most that the rates of two nodes' clocks may differ: 2 %. */
export const CLOCK_RATE_ERROR = 0.02;

/** How long it may take from the decision to let go until the address is off the interface. */
export const UNBIND_MS = 250;

/** How long before another agent may start the fence closes by itself, beside what clocks may differ. */
export const FENCE_MARGIN_MS = 50;

/** How late the kernel may remove an address whose lifetime has ended: measured at up to 1.6 s, in whole seconds. */
export const LIFETIME_LATENESS_MS = 1_600;

/** The shortest lifetime the kernel takes. */
export const LIFETIME_UNIT_MS = 1_000;

/** What a routed address's lifetime holds beyond the lease duration and the provider's worst move. */
export const LIFETIME_MARGIN_MS = 5_000;

/** Where a fence stands, the address's own lifetime only tidies up: so much longer than the lease duration it lasts. */
export const FENCED_LIFETIME_MARGIN_MS = 3_000;

/** No single request to the Kubernetes API is waited for longer than this; the next one opens a new connection. */
const REQUEST_TIMEOUT_MAX_MS = 600;

/** Where traffic goes is decided by a provider's API (`routed`), or by whoever binds the address (`l2`). */
export type AddressKind = 'routed' | 'l2';

export interface ContenderSettings {
  /** This process, and no other ever: `<node>_<hash>_<random>`. Written as the Lease's holderIdentity. */
  readonly identity: string;
  /** The node's name, the part of the identity that outlives the process. */
  readonly node: string;
  readonly leaseDurationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
  /** The addresses that move together, as they are written everywhere: canonical text without a prefix length. */
  readonly addresses: readonly string[];
  readonly kind: AddressKind;
  /** On L2: a fence lets an address answer only until an instant that is renewed with the tenure. False where routed. */
  readonly isFenced: boolean;
  /** The provider's worst time for one move; bounds a linger and the lifetime of a routed address. 0 on L2. */
  readonly worstMoveMs: number;
  /** A first claim that is not confirmed within this lets another node try. */
  readonly claimTimeoutMs: number;
  /** How often a settled holder reads the owner back. */
  readonly verifyIntervalMs: number;
  /**
   * So many times longer are all pauses between two reads of an owner, but for the verify interval, than where a provider grants
   * thousands of requests an hour. 1 there, and on L2.
   */
  readonly ownerReadPace: number;
  readonly whenAllUnhealthy: 'keep' | 'release';
  /** What a holder does with routed addresses when the API has been silent for its whole tenure. On L2 it always releases. */
  readonly onApiLoss: 'hold' | 'release';
}

/** A combination of timings that is not safe or cannot work, in words for the person who set it. */
export interface TimingProblem {
  readonly settings: readonly ('leaseDurationMs' | 'renewDeadlineMs' | 'renewIntervalMs')[];
  readonly message: string;
}

/**
 * Checks the three timings against each other: R + U + ρD < D, at least two renewals within a deadline, and on L2
 * without a fence the shortest duration that whole-second address lifetimes allow. An empty list means safe.
 */
export function timingProblems(
  timings: Pick<ContenderSettings, 'leaseDurationMs' | 'renewDeadlineMs' | 'renewIntervalMs' | 'kind' | 'isFenced'>,
): TimingProblem[] {
  const { leaseDurationMs, renewDeadlineMs, renewIntervalMs, kind, isFenced } = timings;
  const problems: TimingProblem[] = [];
  const longestDeadlineMs = Math.ceil(leaseDurationMs * (1 - CLOCK_RATE_ERROR) - UNBIND_MS) - 1;
  if (renewDeadlineMs > longestDeadlineMs) {
    const shortestDurationMs = Math.floor((renewDeadlineMs + UNBIND_MS) / (1 - CLOCK_RATE_ERROR)) + 1;
    problems.push({
      settings: ['renewDeadlineMs', 'leaseDurationMs'],
      message:
        `a renew deadline of ${renewDeadlineMs}ms leaves a lease duration of ${leaseDurationMs}ms no room to let go ` +
        `(${UNBIND_MS}ms) before another node may start, with clocks that differ by ${CLOCK_RATE_ERROR * 100} %: ` +
        (longestDeadlineMs > 0 ? `lower the deadline to ${longestDeadlineMs}ms or ` : '') +
        `raise the duration to ${shortestDurationMs}ms`,
    });
  }
  if (renewIntervalMs * 2 > renewDeadlineMs) {
    problems.push({
      settings: ['renewIntervalMs', 'renewDeadlineMs'],
      message:
        `a renew interval of ${renewIntervalMs}ms leaves no room for a second try within the renew deadline of ` +
        `${renewDeadlineMs}ms: lower the interval to ${Math.floor(renewDeadlineMs / 2)}ms or raise the deadline to ${renewIntervalMs * 2}ms`,
    });
  }
  const shortestUnfencedMs = Math.floor((LIFETIME_UNIT_MS + LIFETIME_LATENESS_MS + UNBIND_MS) / (1 - CLOCK_RATE_ERROR)) + 1;
  if (kind === 'l2' && !isFenced && leaseDurationMs < shortestUnfencedMs) {
    problems.push({
      settings: ['leaseDurationMs'],
      message:
        `a lease duration of ${leaseDurationMs}ms is too short where no packet filter but only the kernel's address lifetime, which ` +
        `counts whole seconds, stops a frozen agent: raise the duration to ${shortestUnfencedMs}ms`,
    });
  }
  return problems;
}

/**
 * A loop that comes to its work later than this has stood still for so long that what it knew may be over: the time between
 * the end of a tenure and the earliest start of another.
 */
export function stallMs(settings: ContenderSettings): number {
  return settings.leaseDurationMs - settings.renewDeadlineMs;
}

/** How long one request to the Kubernetes API may take under these timings. */
export function requestTimeoutMs(settings: Pick<ContenderSettings, 'renewDeadlineMs'>): number {
  return Math.min(REQUEST_TIMEOUT_MAX_MS, Math.floor(settings.renewDeadlineMs * 0.3));
}

/** When the kernel must have ended a freshly renewed address by itself, given the send time of that renewal. */
export function lifetimeEndMs(settings: ContenderSettings, renewalSentAtMs: number): number {
  const { kind, isFenced, leaseDurationMs, worstMoveMs } = settings;
  if (kind === 'routed') return renewalSentAtMs + leaseDurationMs + worstMoveMs + LIFETIME_MARGIN_MS;
  if (isFenced) return renewalSentAtMs + leaseDurationMs + FENCED_LIFETIME_MARGIN_MS;
  return renewalSentAtMs + leaseDurationMs * (1 - CLOCK_RATE_ERROR) - LIFETIME_LATENESS_MS;
}

/** Until when the fence may let an address answer, given the send time of the last good renewal; null where there is none. */
export function openUntilMs(settings: ContenderSettings, renewalSentAtMs: number): number | null {
  if (!settings.isFenced) return null;
  return renewalSentAtMs + settings.leaseDurationMs * (1 - CLOCK_RATE_ERROR) - FENCE_MARGIN_MS;
}

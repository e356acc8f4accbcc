/**
 * Patience with somebody else who claims an address, too: a second installation, another failover tool, a person.
 *
 * Guarantees: an address that is taken away once is claimed back at once. The more often it goes again soon after, the longer it
 * is left before the next claim, so that two who do not know of each other do not use up what the provider grants. A term's
 * first claim knows nothing of it.
 */

/** Somebody else claims an address, too, as it seems. */
export interface Contest {
  /** How often it has been taken away, less what has faded since. */
  readonly level: number;
  /** How often in all since the first time. */
  readonly losses: number;
  readonly sinceMs: number;
  /** Whether people have been told. */
  readonly isTold: boolean;
}

/** One level fades in each such span that the address stays: longer than any patience, so that waiting alone is no rest. */
const FADE_MS = 300_000;
const FIRST_PATIENCE_MS = 5_000;
const PATIENCE_MAX_MS = 300_000;
/** Beyond it patience does not grow any more, and neither should the time that it takes to fade. */
const LEVEL_MAX = 8;
/** A person may try something twice. */
const LOSSES_TO_TELL = 3;

/** Takes in that an address was lost which had been here for so long. */
export function lost(before: Contest | null, heldMs: number, nowMs: number): Contest {
  const level = before === null ? 0 : levelAfter(before, heldMs);
  if (before === null || level === 0) return { level: 1, losses: 1, sinceMs: nowMs, isTold: false };
  return { ...before, level: Math.min(LEVEL_MAX, level + 1), losses: before.losses + 1 };
}

/** Whether an address has stayed here for so long that nobody contests it any more. */
export function isOver(contest: Contest, heldMs: number): boolean {
  return levelAfter(contest, heldMs) === 0;
}

/** How long an address is left to whoever has taken it before it is claimed back; nothing while there is no contest. */
export function patienceMs(contest: Contest | null): number {
  if (contest === null || contest.level < 2) return 0;
  return Math.min(PATIENCE_MAX_MS, FIRST_PATIENCE_MS * 2 ** (contest.level - 2));
}

/** Whether so much is wrong that people should know. */
export function isWorthTelling({ losses, isTold }: Contest): boolean {
  return losses >= LOSSES_TO_TELL && !isTold;
}

/** What is so, in one sentence without an instant in it. */
export function describe(contest: Contest, nowMs: number): string {
  const minutes = Math.max(1, Math.ceil((nowMs - contest.sinceMs) / 60_000));
  return (
    `somebody else claims it, too: it was taken away ${contest.losses} times within ${minutes} min, most likely by a second ` +
    `installation or another failover tool; this node waits ${Math.round(patienceMs(contest) / 1_000)}s before it claims it again`
  );
}

function levelAfter({ level }: Contest, heldMs: number): number {
  return Math.max(0, level - Math.floor(heldMs / FADE_MS));
}

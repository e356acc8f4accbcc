/**
 * What an answer says of how many requests the provider still grants.
 *
 * Guarantees: reads only what is well formed; what is missing or makes no sense is passed over. Facts: RateLimit-Limit,
 * RateLimit-Remaining and RateLimit-Reset as Hetzner's API sends them, https://docs.hetzner.cloud (rate limiting).
 */
import type { ProviderAnswer } from './http.ts';

/** What the documentation of Hetzner grants a project: one request per second on average. */
const REFILL_MS = 1_000;
const RATE_LIMIT_PAUSE_MAX_MS = 60_000;
/** Where a refusal says nothing of its length. */
const UNSAID_PAUSE_MS = 30_000;

/** How many requests the provider grants, and how many of them are left. */
export interface SaidBudget {
  readonly limit: number;
  readonly remaining: number;
}

export function budgetOf({ headers }: Pick<ProviderAnswer, 'headers'>): SaidBudget | null {
  const [limit, remaining] = [countIn(headers['ratelimit-limit']), countIn(headers['ratelimit-remaining'])];
  return limit === null || remaining === null ? null : { limit, remaining };
}

/**
 * How long until one more request is possible. RateLimit-Reset is the second when the whole budget is back; the budget refills
 * evenly, so one request is possible after its share of that time.
 */
export function rateLimitPauseMs(answer: Pick<ProviderAnswer, 'headers'>, wallMs: number): number {
  const budget = budgetOf(answer);
  const resetS = countIn(answer.headers['ratelimit-reset']);
  const date = answer.headers['date'];
  // Both instants are the server's where it names its own time, so that our clock may be wrong.
  const nowMs = typeof date === 'string' && !Number.isNaN(Date.parse(date)) ? Date.parse(date) : wallMs;
  if (budget === null || resetS === null || budget.limit <= budget.remaining) return REFILL_MS;
  const perRequestMs = (resetS * 1_000 - nowMs) / (budget.limit - budget.remaining);
  return Math.min(RATE_LIMIT_PAUSE_MAX_MS, Math.max(REFILL_MS, perRequestMs));
}

/** How long an answer with status 429 asks to be left alone; null for any other. */
export function refusalPauseMs(answer: Pick<ProviderAnswer, 'status' | 'headers'>, wallMs: number): number | null {
  if (answer.status !== 429) return null;
  if (budgetOf(answer) !== null) return rateLimitPauseMs(answer, wallMs);
  const afterS = countIn(answer.headers['retry-after']);
  return afterS === null ? UNSAID_PAUSE_MS : Math.min(RATE_LIMIT_PAUSE_MAX_MS, afterS * 1_000);
}

function countIn(header: string | readonly string[] | undefined): number | null {
  return typeof header === 'string' && /^\d{1,15}$/.test(header.trim()) ? Number(header) : null;
}

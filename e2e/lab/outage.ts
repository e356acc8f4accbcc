/**
 * How long clients were without an answer, from the connections that they tried to open.
 */
import type { Attempt } from './client.ts';

/** A span in which no attempt was answered: from the first that was not to the next that was. */
export interface Outage {
  readonly fromMs: number;
  /** Null while it lasts. */
  readonly toMs: number | null;
}

/** The outages that began within a span of time, in their order. */
export function findOutages(attempts: readonly Attempt[], fromMs: number, toMs = Number.POSITIVE_INFINITY): Outage[] {
  const inOrder = attempts.filter(({ atMs }) => atMs >= fromMs).sort((a, b) => a.atMs - b.atMs);
  const outages: Outage[] = [];
  let openSinceMs: number | null = null;
  for (const { atMs, by } of inOrder) {
    if (by === null) {
      if (atMs <= toMs) openSinceMs ??= atMs;
    } else if (openSinceMs !== null) {
      outages.push({ fromMs: openSinceMs, toMs: atMs });
      openSinceMs = null;
    }
  }
  if (openSinceMs !== null) outages.push({ fromMs: openSinceMs, toMs: null });
  return outages;
}

/** The time without an answer in all, in milliseconds; Infinity when it lasts still. */
export function totalOutageMs(outages: readonly Outage[]): number {
  return outages.reduce((sum, { fromMs, toMs }) => sum + (toMs === null ? Number.POSITIVE_INFINITY : toMs - fromMs), 0);
}

/**
 * Finds a few faults that are enough for a violation, by leaving out ever smaller parts of the plan (delta debugging).
 *
 * Guarantees: what it returns was run and violates the same invariant. The number of tries is bounded, so it may not be the
 * smallest there is.
 */
import { run } from './run.ts';
import type { Restrictions, RunResult } from './run.ts';

const TRIES_MAX = 150;

/** A violation with the positions in the plan that are enough for it. */
export interface Shrunk {
  readonly kept: readonly number[];
  readonly result: RunResult;
}

/** Shrinks the plan of a run that was violated. */
export async function shrink(found: RunResult, restrictions: Restrictions): Promise<Shrunk> {
  const invariant = found.violation?.invariant;
  const kept = await fewestThat(found.plan.length, async (some) => {
    const { violation } = await run(found.seed, restrictions, { kept: some });
    return violation?.invariant === invariant;
  });
  return { kept, result: await run(found.seed, restrictions, { kept, keepsHistory: true }) };
}

/** A few of so many positions that are enough for something which holds for all of them. */
export async function fewestThat(count: number, holds: (kept: readonly number[]) => Promise<boolean>): Promise<readonly number[]> {
  let tries = 0;
  const stillHolds = (kept: readonly number[]): Promise<boolean> => {
    tries += 1;
    return holds(kept);
  };
  let kept: readonly number[] = Array.from({ length: count }, (_, index) => index);
  for (let parts = 2; kept.length > 0 && tries < TRIES_MAX;) {
    const smaller = await firstThat(stillHolds, complements(kept, parts));
    if (smaller !== null) {
      kept = smaller;
      parts = Math.max(2, parts - 1);
    } else if (parts >= kept.length) {
      break;
    } else {
      parts = Math.min(kept.length, parts * 2);
    }
  }
  return kept;
}

async function firstThat(
  holds: (kept: readonly number[]) => Promise<boolean>,
  candidates: readonly (readonly number[])[],
): Promise<readonly number[] | null> {
  for (const candidate of candidates) if (await holds(candidate)) return candidate;
  return null;
}

/** The list without each of so many equal parts of it. */
function complements(all: readonly number[], parts: number): number[][] {
  const length = Math.ceil(all.length / parts);
  return Array.from({ length: parts }, (_, part) => all.filter((_each, at) => at < part * length || at >= (part + 1) * length));
}

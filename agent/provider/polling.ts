/**
 * Waiting for the end of something that a provider does meanwhile.
 *
 * Guarantees: asks often at first, because clients wait for that end, and rarely later. It goes on until the end or the signal.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';

const FIRST_MS = 100;
const OFTEN_FOR_MS = 3_000;
const GROWTH = 1.5;
const LONGEST_MS = 1_000;

/** Asks how something is until it has ended, and says how it did. `ask` gives null where the answer says nothing about it. */
export async function waitForEnd<State>(
  clock: Clock,
  first: State,
  { hasEnded, ask, signal }: { hasEnded: (state: State) => boolean; ask: () => Promise<State | null>; signal: AbortSignal },
): Promise<State> {
  const oftenUntilMs = clock.nowMs() + OFTEN_FOR_MS;
  let current = first;
  for (let pauseMs = FIRST_MS; !hasEnded(current);) {
    await sleep(clock, pauseMs, signal);
    if (clock.nowMs() > oftenUntilMs) pauseMs = Math.min(LONGEST_MS, pauseMs * GROWTH);
    current = (await ask()) ?? current;
  }
  return current;
}

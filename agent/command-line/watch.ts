/**
 * Shows something again and again: redrawn in its place on a terminal, a line for each change elsewhere.
 *
 * Guarantees: nothing of the terminal is changed that would have to be put back, so it may be ended at any instant.
 */
import { sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';

const PAUSE_MS = 2_000;
/** To the upper left, and what is below the cursor is cleared (ECMA-48: CUP, ED). */
const HOME = '\u001b[H';
const CLEAR_LINE = '\u001b[K';
const CLEAR_BELOW = '\u001b[J';

export interface WatchOptions {
  readonly isTty: boolean;
  readonly clock: Clock;
  readonly write: (text: string) => void;
  /** What a line for a change begins with. */
  readonly stamp: () => string;
  readonly signal: AbortSignal;
}

/** `look` gives the text for a terminal and the line for elsewhere. Runs until the signal is aborted. */
export async function watch(look: () => Promise<{ readonly screen: string; readonly line: string }>, options: WatchOptions): Promise<void> {
  const { isTty, clock, write, stamp, signal } = options;
  let last = '';
  if (isTty) write(HOME + CLEAR_BELOW);
  while (!signal.aborted) {
    const { screen, line } = await look();
    if (signal.aborted) return;
    if (isTty) write(HOME + screen.replaceAll('\n', `${CLEAR_LINE}\n`) + CLEAR_BELOW);
    else if (line !== last) write(`${stamp()}${line}\n`);
    last = line;
    await sleep(clock, PAUSE_MS, signal).catch(() => undefined);
  }
}

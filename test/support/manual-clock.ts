/**
 * A clock that moves only when told to.
 */
import type { Clock, Timer } from '../../agent/clock.ts';

interface Waiting {
  readonly atMs: number;
  readonly order: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs: number;
  #order = 0;
  readonly #waiting = new Set<Waiting>();
  readonly #wallOffsetMs: number;

  constructor(startMs = 1_000_000, wallMs = Date.UTC(2026, 10, 21, 8)) {
    this.#nowMs = startMs;
    this.#wallOffsetMs = wallMs - startMs;
  }

  nowMs(): number {
    return this.#nowMs;
  }

  wallMs(): number {
    return this.#nowMs + this.#wallOffsetMs;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#order += 1;
    const waiting = { atMs: this.#nowMs + Math.max(0, delayMs), order: this.#order, callback };
    this.#waiting.add(waiting);
    return { cancel: () => void this.#waiting.delete(waiting) };
  }

  get timers(): number {
    return this.#waiting.size;
  }

  /** Lets time pass, firing every timer that comes due in its order, and lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await settle();
    for (;;) {
      const next = [...this.#waiting].sort((a, b) => a.atMs - b.atMs || a.order - b.order)[0];
      if (next === undefined || next.atMs > untilMs) break;
      this.#waiting.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.callback();
      await settle();
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  /** Lets time pass without firing anything: the process was frozen, or its loop stood still. */
  freeze(ms: number): void {
    this.#nowMs += ms;
  }
}

/** Lets everything that waits only for promises go on. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

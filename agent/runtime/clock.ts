/**
 * The clock of a running process.
 *
 * Guarantees: `nowMs` is CLOCK_BOOTTIME, read anew at each call. Timers are Node's own, which stand still while the
 * machine is suspended; whoever is called back looks at `nowMs`.
 */
import type { Clock } from '../clock.ts';

/** Makes the clock from a reader of CLOCK_BOOTTIME in milliseconds. */
export function systemClock(boottimeMs: () => number): Clock {
  return {
    nowMs: boottimeMs,
    wallMs: () => Date.now(),
    setTimer: (delayMs, callback) => {
      const timer = setTimeout(callback, delayMs);
      return { cancel: () => clearTimeout(timer) };
    },
  };
}

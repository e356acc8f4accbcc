/**
 * Time, passed in wherever it is needed.
 *
 * Guarantees: `nowMs` counts the time a machine spends suspended and never jumps; nothing that decides about safety uses
 * `wallMs`. Only the implementation that main wires touches a real clock.
 */

export interface Clock {
  /** Milliseconds of CLOCK_BOOTTIME, with fractions. Comparable only within one boot of one machine. */
  nowMs(): number;
  /** Milliseconds since 1970, for what people read. It may jump. */
  wallMs(): number;
  /** Calls back once after `delayMs`, or later on a busy machine. Timers stand still while the machine is suspended. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

export interface Timer {
  cancel(): void;
}

/** Why an operation was called off. */
export class DeadlineExceeded extends Error {
  override readonly name = 'DeadlineExceeded';
  constructor(afterMs: number) {
    super(`no answer within ${Math.round(afterMs)}ms`);
  }
}

/** Waits, or throws the signal's reason as soon as it is aborted. */
export function sleep(clock: Clock, delayMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(asError(signal.reason));
      return;
    }
    const onAbort = (): void => {
      timer.cancel();
      reject(asError(signal.reason));
    };
    const timer = clock.setTimer(delayMs, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
  });
}

/**
 * Runs an operation under a deadline of its own and its caller's signal. The operation gets one signal that both abort;
 * it has to obey it. Where its caller's signal has been aborted already it is not begun, and that signal's reason is thrown.
 * `AbortSignal.any` and `AbortSignal.timeout` are not used: under memory pressure they may not fire.
 */
export async function withDeadline<Result>(
  clock: Clock,
  deadlineMs: number,
  signal: AbortSignal | null,
  operation: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  if (signal?.aborted === true) throw asError(signal.reason);
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal?.reason);
  signal?.addEventListener('abort', onAbort, { once: true });
  const timer = clock.setTimer(deadlineMs, () => controller.abort(new DeadlineExceeded(deadlineMs)));
  try {
    return await operation(controller.signal);
  } finally {
    timer.cancel();
    signal?.removeEventListener('abort', onAbort);
  }
}

/** Never resolves; rejects with the signal's reason once it is aborted. For a race with what may be stuck where no signal reaches. */
export function rejectOnAbort(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(asError(signal.reason));
    signal.addEventListener('abort', () => reject(asError(signal.reason)), { once: true });
  });
}

/** Waits for what others may be waiting for, too: throws the signal's reason once it is aborted, and calls nothing off. */
export async function unlessAborted<Result>(shared: Promise<Result>, signal: AbortSignal): Promise<Result> {
  if (signal.aborted) throw asError(signal.reason);
  let onAbort = (): void => undefined;
  const aborted = new Promise<never>((_, reject) => (onAbort = () => reject(asError(signal.reason))));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([shared, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Turns whatever was thrown into an Error. */
export function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error(String(thrown));
}

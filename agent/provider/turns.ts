/**
 * One thing after the other, for each of several: what must not be done to one of them twice at once.
 *
 * Guarantees: each piece of work begins when those before it have ended, however they did, and nobody else waits for it.
 */
import { asError } from '../clock.ts';

export class Turns<Key> {
  /** The last piece of work for each that has any. It never rejects. */
  readonly #last = new Map<Key, Promise<unknown>>();

  /** Does a piece of work in its turn, or throws the signal's reason where that is aborted before the turn has come. */
  async take<Result>(key: Key, signal: AbortSignal, work: () => Promise<Result>): Promise<Result> {
    // Who listens for an abort that has been hears nothing.
    if (signal.aborted) throw asError(signal.reason);
    const mine = (this.#last.get(key) ?? Promise.resolve()).then(async () => {
      if (signal.aborted) throw asError(signal.reason);
      hasBegun = true;
      return await work();
    });
    let hasBegun = false;
    const settled = mine.then(
      () => undefined,
      () => undefined,
    );
    this.#last.set(key, settled);
    void settled.then(() => {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    });
    return await new Promise((resolve, reject) => {
      const onAbort = (): void => {
        // Work under way ends by the same signal, and says itself how.
        if (!hasBegun) reject(asError(signal.reason));
      };
      signal.addEventListener('abort', onAbort, { once: true });
      void mine.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    });
  }
}

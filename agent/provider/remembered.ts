/**
 * What a provider is asked seldom: an answer that is used for long.
 *
 * Guarantees: it is asked once at a time, however many want to know; after an error not before a pause has passed that doubles with
 * each, so that nobody uses up the provider's budget by asking in vain. What was known before is lost by no error.
 */
import type { Clock } from '../clock.ts';
import { ProviderError } from './error.ts';
import { Turns } from './turns.ts';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;

interface Failure {
  readonly error: ProviderError;
  readonly count: number;
  readonly untilMs: number;
}

export class Remembered<Value> {
  readonly #clock: Clock;
  readonly #ask: (signal: AbortSignal) => Promise<Value>;
  readonly #turns = new Turns<'ask'>();
  #known: { readonly value: Value; readonly atMs: number } | null = null;
  #failure: Failure | null = null;

  constructor(clock: Clock, ask: (signal: AbortSignal) => Promise<Value>) {
    this.#clock = clock;
    this.#ask = ask;
  }

  /** The last answer, however old it is; null where there has been none. */
  get last(): Value | null {
    return this.#known?.value ?? null;
  }

  /** An answer that is no older than so many milliseconds. Throws ProviderError, also again what was thrown a moment ago. */
  async get(ageMaxMs: number, signal: AbortSignal): Promise<Value> {
    return await this.#turns.take('ask', signal, async () => {
      const nowMs = this.#clock.nowMs();
      if (this.#known !== null && nowMs - this.#known.atMs <= ageMaxMs) return this.#known.value;
      if (this.#failure !== null && nowMs < this.#failure.untilMs) throw this.#failure.error;
      try {
        const value = await this.#ask(signal);
        this.#known = { value, atMs: this.#clock.nowMs() };
        this.#failure = null;
        return value;
      } catch (error) {
        // A login that is not accepted is remembered by whoever logs in, and others may be in the files at any time.
        if (error instanceof ProviderError && error.code !== 'unauthorized') this.#note(error);
        throw error;
      }
    });
  }

  #note(error: ProviderError): void {
    const count = (this.#failure?.count ?? 0) + 1;
    const pauseMs = Math.max(error.retryAfterMs ?? 0, Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(count - 1, 10)));
    this.#failure = { error, count, untilMs: this.#clock.nowMs() + pauseMs };
  }
}

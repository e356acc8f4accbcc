/**
 * How many requests about the Events of one object the API server is asked to bear.
 *
 * Guarantees: never more than client-go's own recorder sends of one object (EventSourceObjectSpamFilter in
 * k8s.io/client-go/tools/record: a burst of 25, and one more every five minutes), counting new Events and changes alike.
 */
import type { Clock } from '../clock.ts';

const BURST = 25;
const REFILL_MS = 300_000;

export class EventBudget {
  readonly #clock: Clock;
  #tokens = BURST;
  #countedAtMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#countedAtMs = clock.nowMs();
  }

  /** Takes one request from the budget if more than `reserve` are left. */
  take(reserve = 0): boolean {
    this.#refill();
    if (this.#tokens < reserve + 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** How long until `take` with this reserve succeeds. */
  waitMs(reserve = 0): number {
    this.#refill();
    return Math.max(0, (reserve + 1 - this.#tokens) * REFILL_MS);
  }

  #refill(): void {
    const nowMs = this.#clock.nowMs();
    this.#tokens = Math.min(BURST, this.#tokens + (nowMs - this.#countedAtMs) / REFILL_MS);
    this.#countedAtMs = nowMs;
  }
}

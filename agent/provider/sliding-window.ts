/**
 * How much of something has happened within the last span of a length.
 *
 * Guarantees: remembers no more than can matter, however much happens. Of a span of any start and that length it never counts
 * too little: what happened stays in it a moment longer, for two clocks that do not run alike.
 */

/** Clocks that are kept right differ by some hundredths of a second in an hour. */
const EDGE_MS = 1_000;

/** Something that happened. */
export interface Occurrence {
  atMs: number;
}

export class SlidingWindow {
  readonly #kept: number;
  readonly #withinMs: number;
  /** The latest last. */
  #occurrences: Occurrence[] = [];

  /** `kept`: how many of the latest matter, because beyond them the answer to every question is the same. */
  constructor(kept: number, withinMs: number) {
    this.#kept = kept;
    this.#withinMs = withinMs + EDGE_MS;
  }

  add(nowMs: number): Occurrence {
    const occurrence = { atMs: nowMs };
    this.#append(occurrence, nowMs);
    return occurrence;
  }

  /** What began earlier has ended now, and may have counted elsewhere at any instant in between. */
  end(occurrence: Occurrence, nowMs: number): void {
    this.remove(occurrence);
    occurrence.atMs = nowMs;
    this.#append(occurrence, nowMs);
  }

  /** It has not happened after all. */
  remove(occurrence: Occurrence): void {
    this.#occurrences = this.#occurrences.filter((each) => each !== occurrence);
  }

  /** How many there are at an instant, as far as they matter. */
  count(nowMs: number): number {
    this.#forget(nowMs);
    return this.#occurrences.length;
  }

  /** From when on fewer than `allowed` of them are in the span; null where that is so already. */
  freeAtMs(allowed: number, nowMs: number): number | null {
    if (this.count(nowMs) < allowed) return null;
    const last = this.#occurrences[this.#occurrences.length - allowed];
    return (last?.atMs ?? nowMs) + this.#withinMs;
  }

  #append(occurrence: Occurrence, nowMs: number): void {
    this.#forget(nowMs);
    this.#occurrences.push(occurrence);
    if (this.#occurrences.length > this.#kept) this.#occurrences.shift();
  }

  #forget(nowMs: number): void {
    const first = this.#occurrences.findIndex(({ atMs }) => nowMs - atMs < this.#withinMs);
    if (first !== 0) this.#occurrences.splice(0, first === -1 ? this.#occurrences.length : first);
  }
}

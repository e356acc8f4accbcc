/**
 * True time, which no node can see, and everything that is going to happen in it.
 *
 * Guarantees: events happen in the order of their instants, and in the order in which they were planned where those are
 * equal. Between two events every promise that can settle has settled.
 */

interface Planned {
  readonly atMs: number;
  readonly order: number;
  /** Null once called off. */
  work: (() => void) | null;
}

/** Calls off what was planned. */
export type CallOff = () => void;

export class VirtualTime {
  readonly #heap: Planned[] = [];
  #nowMs = 0;
  #order = 0;
  /** How many events have happened. */
  events = 0;

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Plans something for an instant, or for now if that has passed. */
  at(atMs: number, work: () => void): CallOff {
    this.#order += 1;
    const planned: Planned = { atMs: Math.max(atMs, this.#nowMs), order: this.#order, work };
    this.#push(planned);
    return () => (planned.work = null);
  }

  after(delayMs: number, work: () => void): CallOff {
    return this.at(this.#nowMs + delayMs, work);
  }

  /** Lets time pass until an instant, or until `afterEach` says that it is enough. */
  async run(untilMs: number, afterEach: () => boolean): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      if (next.work === null) continue;
      this.#nowMs = next.atMs;
      this.events += 1;
      next.work();
      await new Promise((resolve) => setImmediate(resolve));
      if (afterEach()) return;
    }
    this.#nowMs = Math.max(this.#nowMs, untilMs);
  }

  #push(planned: Planned): void {
    const heap = this.#heap;
    let index = heap.length;
    heap.push(planned);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(planned, above)) break;
      heap[index] = above;
      index = parent;
    }
    heap[index] = planned;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      const left = heap[2 * index + 1];
      const right = heap[2 * index + 2];
      if (left === undefined) break;
      const [smaller, at] = right !== undefined && isBefore(right, left) ? [right, 2 * index + 2] : [left, 2 * index + 1];
      if (!isBefore(smaller, last)) break;
      heap[index] = smaller;
      index = at;
    }
    heap[index] = last;
  }
}

function isBefore(a: Planned, b: Planned): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

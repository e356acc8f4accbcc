/**
 * How a stand-in misbehaves for as long as it is in trouble.
 *
 * Guarantees: it counts the requests that have met with it, so that nobody has to guess when that has been long enough.
 */
import type { Exchange, Fault, HttpStandIn } from '../http-stand-in.ts';
import type { Trouble } from './stand-in.ts';

/** Troubles in which reads are answered as ever. */
const OF_WRITES: readonly Trouble[] = ['busy', 'answer-lost'];

/** What a provider answers in each trouble that shows in its answers, whatever it is asked or by what it is asked. */
export type Faults = Readonly<Record<Exclude<Trouble, 'move-fails'>, Fault | ((exchange: Exchange) => Fault)>>;

export class Troubles {
  /** How many requests have met with a trouble so far. */
  met = 0;
  readonly #http: HttpStandIn;
  readonly #faults: Faults;
  readonly #isWrite: (exchange: Exchange) => boolean;

  constructor(http: HttpStandIn, faults: Faults, isWrite: (exchange: Exchange) => boolean) {
    this.#http = http;
    this.#faults = faults;
    this.#isWrite = isWrite;
  }

  /** Begins one, for so many requests that it applies to, or ends it. What happens to a move itself is the model's affair. */
  begin(trouble: Trouble | null, times = Number.POSITIVE_INFINITY): void {
    let left = trouble === null || trouble === 'move-fails' ? 0 : times;
    this.#http.faultFor = (exchange) => {
      if (trouble === null || trouble === 'move-fails' || left === 0) return null;
      if (OF_WRITES.includes(trouble) && !this.#isWrite(exchange)) return null;
      left -= 1;
      this.met += 1;
      const fault = this.#faults[trouble];
      return typeof fault === 'function' ? fault(exchange) : fault;
    };
  }
}

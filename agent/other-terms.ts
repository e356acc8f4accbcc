/**
 * How many terms of other holders have begun, as far as the Lease shows it.
 *
 * Guarantees: each is counted once, also where several have begun between two looks. Terms of before the first look are not
 * known.
 */
import { sameTerm, termOf } from './contender/lease.ts';
import type { Term } from './contender/lease.ts';
import type { Contender } from './contender/state.ts';

export class OtherTerms {
  #last: Term | null = null;

  /** How many have begun since the last look. */
  begun({ observation, settings }: Pick<Contender, 'observation' | 'settings'>): number {
    const term = observation === null ? null : termOf(observation.sight);
    const before = this.#last;
    if (term === null || (before !== null && sameTerm(term, before))) return 0;
    this.#last = term;
    if (before === null) return 0;
    const terms = term.uid === before.uid ? Math.max(0, term.transitions - before.transitions) : 1;
    return Math.max(0, terms - (term.holder === settings.identity ? 1 : 0));
  }
}

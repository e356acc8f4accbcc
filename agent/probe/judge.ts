/**
 * Judges a probe by its answers: so many good ones in a row to rise, so many bad ones to fall.
 *
 * Guarantees: pure; undecided until the first rise or fall, so that a node that has just started is neither.
 */

export interface Judgement {
  /** Null until there were answers enough. */
  readonly healthy: boolean | null;
  /** Good answers in a row. */
  readonly goods: number;
  /** Bad answers in a row. */
  readonly bads: number;
  /** Why the last bad answer was bad. */
  readonly reason: string | null;
}

export const UNDECIDED: Judgement = { healthy: null, goods: 0, bads: 0, reason: null };

/** Takes one answer in: null for a good one, the reason for a bad one. */
export function judge(
  before: Judgement,
  badBecause: string | null,
  { rise, fall }: { readonly rise: number; readonly fall: number },
): Judgement {
  const goods = badBecause === null ? before.goods + 1 : 0;
  const bads = badBecause === null ? 0 : before.bads + 1;
  const healthy = goods >= rise ? true : bads >= fall ? false : before.healthy;
  return { healthy, goods, bads, reason: badBecause ?? before.reason };
}

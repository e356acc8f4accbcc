/**
 * A claim as the agent's loop makes it: under a deadline, and called off when the office is over.
 */
import { DeadlineExceeded } from '../../agent/clock.ts';
import type { ClaimOutcome } from '../../agent/contender/input.ts';
import type { ClaimTerms, Provider } from '../../agent/ports.ts';

export interface ClaimOptions extends Partial<Pick<ClaimTerms, 'isFirst' | 'mayWrite'>> {
  readonly deadlineMs?: number;
  /** Aborted when the claim is not wanted any more. */
  readonly unwanted?: AbortSignal;
}

/** Claims an address; unless told otherwise it is a term's first claim, and may write. */
export async function claimFrom(
  provider: Pick<Provider, 'claim'>,
  address: string,
  { isFirst = true, mayWrite = () => true, deadlineMs = 10_000, unwanted }: ClaimOptions = {},
): Promise<ClaimOutcome> {
  const controller = new AbortController();
  const timer = setTimeout(() => controller.abort(new DeadlineExceeded(deadlineMs)), deadlineMs);
  unwanted?.addEventListener('abort', () => controller.abort(new Error('the office is over')));
  try {
    return await provider.claim(address, { signal: controller.signal, isFirst, mayWrite });
  } finally {
    clearTimeout(timer);
  }
}

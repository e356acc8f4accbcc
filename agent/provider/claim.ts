/**
 * The one place where provider calls are tried again.
 *
 * Guarantees: a claim is observe, act, wait, verify, and every try begins with observing, so that a try whose outcome is
 * unknown is never repeated blindly. It goes on until the owner read back is this node, a definitive error, or the
 * signal; it writes only while it may.
 */
import pRetry from 'p-retry';
import { asError, DeadlineExceeded, sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome } from '../contender/input.ts';
import type { ClaimTerms } from '../ports.ts';
import { ClaimWithdrawn, ProviderError } from './error.ts';

/**
 * Runs tries until one succeeds. A try throws ProviderError for what the provider says, ClaimWithdrawn when it may not
 * write; what else it throws is a defect and passes through.
 */
export async function claimWithRetries(
  clock: Clock,
  terms: Pick<ClaimTerms, 'signal'>,
  tryOnce: () => Promise<void>,
): Promise<ClaimOutcome> {
  let lastMessage = 'the provider has not answered';
  let failures = 0;
  try {
    await pRetry(tryOnce, {
      // Bounded by the signal, which carries the claim's deadline and the end of the tenure.
      retries: Number.POSITIVE_INFINITY,
      // The pauses are ours, because they depend on the error and run on the clock that is passed in.
      minTimeout: 0,
      signal: terms.signal,
      shouldRetry: ({ error }) => error instanceof ProviderError && !error.isDefinitive,
      onFailedAttempt: async ({ error }) => {
        const pauseMs = error instanceof ProviderError ? error.pauseMs(failures) : null;
        if (pauseMs === null) return;
        lastMessage = error.message;
        await sleep(clock, pauseMs, terms.signal);
        failures += 1;
      },
    });
    return { is: 'confirmed' };
  } catch (thrown) {
    const error = asError(thrown);
    if (error instanceof DeadlineExceeded) return { is: 'failed', definitive: false, message: `not confirmed in time: ${lastMessage}` };
    if (error instanceof ClaimWithdrawn || terms.signal.aborted) return { is: 'withdrawn' };
    if (error instanceof ProviderError) return { is: 'failed', definitive: error.isDefinitive, message: error.message };
    throw error;
  }
}

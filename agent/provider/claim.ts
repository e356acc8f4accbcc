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
import type { ProviderErrorCode } from './error.ts';

/** The first and the longest pause after each kind of error, in milliseconds; it doubles in between. */
const PAUSES: { readonly [Code in ProviderErrorCode]?: readonly [firstMs: number, longestMs: number] } = {
  busy: [250, 2_000],
  'rate-limited': [1_000, 10_000],
  unavailable: [500, 5_000],
  // The next try begins with a read anyway, and that is what is wanted.
  'unknown-outcome': [50, 1_000],
};

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
        if (!(error instanceof ProviderError) || error.isDefinitive) return;
        lastMessage = error.message;
        await sleep(clock, pauseMs(error, failures), terms.signal);
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

function pauseMs(error: ProviderError, failures: number): number {
  const [firstMs, longestMs] = PAUSES[error.code] ?? [1_000, 10_000];
  return Math.max(error.retryAfterMs ?? 0, Math.min(longestMs, firstMs * 2 ** Math.min(failures, 10)));
}

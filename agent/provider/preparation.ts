/**
 * Keeps asking a provider whether claims are possible, from the start of an agent to its end.
 *
 * Guarantees: a provider that is not ready is asked again with growing pauses, one that was is asked again from time to
 * time, so that a revoked token shows before it is needed. It only reads.
 */
import { asError, sleep } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { Provider, ProviderReadiness } from '../ports.ts';
import { ProviderError } from './error.ts';

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;
const AGAIN_MS = 60_000;

/** What was thrown while a provider got ready, as its answer. Throws what is a defect. */
export function notReadyBecause(thrown: unknown, signal: AbortSignal): ProviderReadiness {
  const error = asError(thrown);
  if (!(error instanceof ProviderError) && !signal.aborted) throw error;
  const isPassing = !(error instanceof ProviderError && error.isDefinitive);
  return { is: 'not-ready', isPassing, reason: error.message };
}

/**
 * Asks until the signal is aborted and tells each answer. `mayContend` goes on being true while a provider that was ready
 * is out of reach for a while: that is no reason to leave the Lease to nobody.
 */
export async function keepPrepared(
  provider: Pick<Provider, 'prepare'>,
  clock: Clock,
  signal: AbortSignal,
  onAnswer: (readiness: ProviderReadiness, mayContend: boolean) => void,
): Promise<void> {
  let mayContend = false;
  let failures = 0;
  while (!signal.aborted) {
    const readiness = await provider.prepare(signal);
    if (signal.aborted) return;
    const isReady = readiness.is === 'ready';
    mayContend = isReady || (mayContend && readiness.isPassing);
    failures = isReady ? 0 : failures + 1;
    onAnswer(readiness, mayContend);
    const pauseMs = isReady ? AGAIN_MS : Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (failures - 1));
    await sleep(clock, pauseMs, signal).catch(() => undefined);
  }
}

/**
 * What can go wrong with a provider, in one closed set of words with one policy each.
 *
 * Guarantees: messages say what happened, on what, and what to do; they never hold a credential, nor anything that was
 * sent in a header.
 */

/**
 * `unauthorized`, `forbidden`, `not-found`, `invalid`: definitive, a person must act. `busy`: another action runs, try
 * again within the second. `rate-limited`: wait as the provider says. `unavailable`: try again with growing pauses.
 * `unknown-outcome`: the request may have been carried out; read before acting again.
 */
export type ProviderErrorCode =
  'unauthorized' | 'forbidden' | 'not-found' | 'invalid' | 'busy' | 'rate-limited' | 'unavailable' | 'unknown-outcome';

const DEFINITIVE: readonly ProviderErrorCode[] = ['unauthorized', 'forbidden', 'not-found', 'invalid'];

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly code: ProviderErrorCode;
  /** How long the provider asks to be left alone, if it says so. */
  readonly retryAfterMs: number | null;
  /** The provider's own code, where it gave one. */
  readonly providerCode: string | null;

  constructor(code: ProviderErrorCode, message: string, said: { retryAfterMs?: number | null; providerCode?: string | null } = {}) {
    super(message);
    this.code = code;
    this.retryAfterMs = said.retryAfterMs ?? null;
    this.providerCode = said.providerCode ?? null;
  }

  /** Whether trying again cannot help before a person has acted. */
  get isDefinitive(): boolean {
    return DEFINITIVE.includes(this.code);
  }
}

/** Thrown where a claim was about to write and may not any more. */
export class ClaimWithdrawn extends Error {
  override readonly name = 'ClaimWithdrawn';
}

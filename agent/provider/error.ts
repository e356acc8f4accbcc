/**
 * What can go wrong with a provider, in one closed set of words with one policy each.
 *
 * Guarantees: messages say what happened, on what, and what to do; they never hold a credential, nor anything that was
 * sent in a header.
 */

/** What is done about an error. */
type ErrorPolicy =
  /** A person must act: trying again cannot help before. */
  | { readonly is: 'definitive' }
  /** It is tried again, after a pause that doubles from the first to the longest, or as long as the provider asks for. */
  | { readonly is: 'passing'; readonly firstPauseMs: number; readonly longestPauseMs: number };

const POLICIES = {
  /** The credential is not accepted. */
  unauthorized: { is: 'definitive' },
  /** The credential is accepted and may not do this. */
  forbidden: { is: 'definitive' },
  'not-found': { is: 'definitive' },
  /** The provider cannot make sense of what was asked, or never does it. */
  invalid: { is: 'definitive' },
  /** Another action runs on the same thing, and ends soon. */
  busy: { is: 'passing', firstPauseMs: 250, longestPauseMs: 2_000 },
  'rate-limited': { is: 'passing', firstPauseMs: 1_000, longestPauseMs: 10_000 },
  unavailable: { is: 'passing', firstPauseMs: 500, longestPauseMs: 5_000 },
  /** It may have been carried out. The next try begins with a read anyway, and that is what is wanted. */
  'unknown-outcome': { is: 'passing', firstPauseMs: 50, longestPauseMs: 1_000 },
} as const satisfies Readonly<Record<string, ErrorPolicy>>;

export type ProviderErrorCode = keyof typeof POLICIES;

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly code: ProviderErrorCode;
  /** How long the provider asks to be left alone, if it says so. */
  readonly retryAfterMs: number | null;
  /** The provider's own code, where it gave one. */
  readonly providerCode: string | null;
  /** What the provider finds fault with in what it was sent, by the provider's own names. */
  readonly fields: readonly string[];
  /** Whether the request may have left this machine. */
  readonly wasSent: boolean;

  constructor(
    code: ProviderErrorCode,
    message: string,
    said: { retryAfterMs?: number | null; providerCode?: string | null; fields?: readonly string[]; wasSent?: boolean } = {},
  ) {
    super(message);
    this.code = code;
    this.retryAfterMs = said.retryAfterMs ?? null;
    this.providerCode = said.providerCode ?? null;
    this.fields = said.fields ?? [];
    this.wasSent = said.wasSent ?? true;
  }

  /** Whether trying again cannot help before a person has acted. */
  get isDefinitive(): boolean {
    return POLICIES[this.code].is === 'definitive';
  }

  /** How long to wait until the next try, in milliseconds, when so many have failed before; null where there is none. */
  pauseMs(failures: number): number | null {
    const policy: ErrorPolicy = POLICIES[this.code];
    if (policy.is === 'definitive') return null;
    const grownMs = policy.firstPauseMs * 2 ** Math.min(failures, 10);
    return Math.max(this.retryAfterMs ?? 0, Math.min(policy.longestPauseMs, grownMs));
  }
}

/** Thrown where a claim was about to write and may not any more. */
export class ClaimWithdrawn extends Error {
  override readonly name = 'ClaimWithdrawn';
}

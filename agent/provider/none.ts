/**
 * A provider that does nothing: the address is only bound. For trying things out, and for addresses that something else
 * routes.
 *
 * Guarantees: none beyond binding. Since nothing arbitrates, the rules for L2 apply, so no two nodes have it bound at once.
 */
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import type { Provider, ProviderReadiness } from '../ports.ts';

export const NO_PROVIDER: Provider = {
  kind: 'l2',
  prepare: (): Promise<ProviderReadiness> => Promise.resolve({ is: 'ready', reason: 'addresses are bound and nothing else' }),
  owner: (): Promise<Owner> => Promise.resolve({ is: 'self' }),
  claim: (): Promise<ClaimOutcome> => Promise.resolve({ is: 'confirmed' }),
};

/**
 * A shared segment in the place of a provider: whoever binds an address and announces it has the traffic.
 *
 * Guarantees: none of its own. Who may bind is the Lease's word, and what keeps it to that is the fence (agent/link).
 */
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { ok } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { Provider, ProviderReadiness } from '../ports.ts';
import type { ProviderProfile } from './profile.ts';

/** Nobody is asked, so nothing of it has an effect but what it is. */
export const L2_PROFILE: ProviderProfile = {
  kind: 'l2',
  claimTimeoutMs: 30_000,
  verifyIntervalMs: 30_000,
  operations: {},
  limits: [],
};

export const L2: Provider = {
  kind: 'l2',
  prepare: (): Promise<ProviderReadiness> => Promise.resolve({ is: 'ready', reason: 'addresses are announced on their own segment' }),
  check: (): Promise<readonly Finding[]> =>
    Promise.resolve([ok('provider', 'l2: there is nobody to ask; whoever announces an address on its segment has the traffic')]),
  owner: (): Promise<Owner> => Promise.resolve({ is: 'self' }),
  claim: (): Promise<ClaimOutcome> => Promise.resolve({ is: 'confirmed' }),
};

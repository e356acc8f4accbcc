/**
 * What is known of a provider before it is asked anything.
 *
 * Guarantees: plain data, but for how a refusal is read. Whatever depends on the provider and is not said by it at run time stands here and nowhere else.
 */
import type { AddressKind } from '../contender/settings.ts';
import type { ProviderAnswer } from './http.ts';

export interface ProviderProfile {
  readonly kind: AddressKind;
  /** How long one claim may take in all unless PROVIDER_TIMEOUT says otherwise: the provider's worst move, with room. */
  readonly claimTimeoutMs: number;
  /** How often a holder reads the owner back unless VERIFY_INTERVAL says otherwise. */
  readonly verifyIntervalMs: number;
  /** Whether the provider tells on which interface the traffic arrives, so that nothing is bound with `INTERFACE=auto` before it has. */
  readonly tellsInterface?: true;
  /** Whether a move takes more than one request, and the address is nowhere in between: what has been begun is not held back then. */
  readonly movesInSteps?: true;
  /** How many times longer the other pauses between two reads of an owner are than usual; 1 where it does not say. */
  readonly ownerReadPace?: number;
  /** Every request that is made of it, in the words of its documentation. Nobody is asked on a shared segment. */
  readonly operations: Readonly<Record<string, Operation>>;
  /** What it grants in a span of time, where its documentation says so. What its answers say comes on top of that. */
  readonly limits: readonly Limit[];
  /**
   * How long an answer asks to be left alone, in milliseconds; null where it does not. Only for a provider that says so otherwise
   * than with status 429.
   */
  readonly refusalPauseMs?: (answer: ProviderAnswer) => number | null;
}

export interface Operation {
  /** The HTTP status of its success; of a command its exit code. */
  readonly success: string;
  /** What it ends with where it fails, if that is no HTTP status. */
  readonly failures?: readonly string[];
  /** Whether it moves an address. */
  readonly isMove?: true;
}

/** So many requests of a kind in any span of a length. */
export interface Limit {
  /** What is limited, in the provider's words. */
  readonly name: string;
  /** The operations that count, all together. */
  readonly operations: readonly string[];
  readonly max: number;
  readonly withinMs: number;
  /** How many of them are kept for a failover: what is no first claim of a term leaves them alone. */
  readonly reserve: number;
}

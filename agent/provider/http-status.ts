/**
 * What an HTTP status means where a provider's own words do not say it.
 *
 * Guarantees: gateways answer without a body of the API's own, and are understood all the same.
 */
import type { ProviderErrorCode } from './error.ts';

export function codeOfStatus(status: number, isWrite: boolean): ProviderErrorCode {
  switch (status) {
    case 401:
      return 'unauthorized';
    case 403:
      return 'forbidden';
    case 404:
      return 'not-found';
    case 409:
    case 423:
      return 'busy';
    case 429:
      return 'rate-limited';
    case 400:
    case 405:
    case 410:
    case 422:
      return 'invalid';
    default:
      return isWrite ? 'unknown-outcome' : 'unavailable';
  }
}

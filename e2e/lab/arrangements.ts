/**
 * Where faults are done: each arrangement of the stage, and what a move takes there.
 *
 * Guarantees: the address lies where its provider can route it, and each change takes as long as is said here.
 */
import type { RoutedProviderName } from '../../test/support/stand-ins/all.ts';
import type { LabOptions } from './namespace-stage.ts';
import { FLOATING_IP } from './stage.ts';

/** One provider that routes an address, at a pace that a lab can wait for. */
export interface RoutedArrangement {
  readonly provider: RoutedProviderName;
  readonly address: string;
  /** How many changes move an address: with two, nobody is routed to in between. */
  readonly steps: 1 | 2;
  /** How long each change takes here. */
  readonly moveMs: number;
  /** How long it takes at the provider itself, as far as that is known. */
  readonly realMoveMs: number;
}

export const ROUTED = {
  routed: { provider: 'hcloud-floating-ip', address: FLOATING_IP, steps: 1, moveMs: 500, realMoveMs: 1_500 },
} as const satisfies Readonly<Record<string, RoutedArrangement>>;

export type RoutedName = keyof typeof ROUTED;
export type Arrangement = RoutedName | 'l2' | 'l2-fast';

/** What the stage of each is, with the environment of its agents. */
type Staged = Pick<LabOptions, 'topology' | 'provider' | 'address' | 'withIpv6' | 'env'>;

interface Described {
  /** In a sentence, for people. */
  readonly what: string;
  readonly staged: Staged & { readonly moveMs: number };
}

export const ARRANGEMENTS: { readonly [On in Arrangement]: Described } = {
  routed: { what: 'An address that a provider routes', staged: stagedFor('routed') },
  l2: {
    what: 'An IPv4 and an IPv6 address on a shared segment (PROVIDER=l2)',
    staged: { topology: 'l2', withIpv6: true, moveMs: 0 },
  },
  'l2-fast': {
    what: 'An address on a shared segment, with a lease duration of 0.6 s, a deadline of 0.3 s and renewals each 0.15 s',
    staged: { topology: 'l2', env: { LEASE_DURATION: '600ms', RENEW_DEADLINE: '300ms', RENEW_INTERVAL: '150ms' }, moveMs: 0 },
  },
};

export const EACH_ARRANGEMENT = Object.keys(ARRANGEMENTS) as Arrangement[];

export function isRouted(arrangement: Arrangement): arrangement is RoutedName {
  return arrangement in ROUTED;
}

function stagedFor(name: RoutedName): Described['staged'] {
  const { provider, address, moveMs } = ROUTED[name];
  return { topology: 'routed', provider, address, moveMs };
}

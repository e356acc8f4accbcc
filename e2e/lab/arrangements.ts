/**
 * Where faults are done: each arrangement of the stage, and what a move takes there.
 *
 * Guarantees: the address lies where its provider can route it, and each change takes as long as is said here.
 */
import { STAND_INS } from '../../test/support/stand-ins/all.ts';
import type { RoutedProviderName } from '../../test/support/stand-ins/all.ts';
import type { LabOptions } from './namespace-stage.ts';
import { FLOATING_IP } from './stage.ts';

/** One provider that routes an address, at a pace that a lab can wait for. */
export interface RoutedArrangement {
  readonly provider: string;
  readonly address: string;
  /** How many changes move an address: with two, nobody is routed to in between. */
  readonly steps: 1 | 2;
  /** How long each change takes here. */
  readonly moveMs: number;
  /** How long it takes at the provider itself, as far as that is known. */
  readonly realMoveMs: number;
  /** How often a holder reads the owner back here; null where it is as seldom as ever, so that nobody waits for it. */
  readonly verifyS: number | null;
  /** What it has refused once it is not sent again, because it would lock out who insists. */
  readonly isRefusedForGood?: true;
  /** How long it is left alone after trouble, beyond the seconds that all are. */
  readonly patienceMs?: number;
  /** After so many moves or faults the account begins anew, because the provider grants only so many an hour. */
  readonly accountLasts?: number;
}

/** In the lab's own network, so that it can be one of a private network of a provider, and on no segment of it. */
const PRIVATE_IP = '10.77.1.10';
/** Often, so that what contradicts the provider is found in seconds. */
const OFTEN_S = 5;

const PACES = {
  routed: { provider: 'hcloud-floating-ip', address: FLOATING_IP, steps: 1, moveMs: 500, realMoveMs: 1_500, verifyS: OFTEN_S },
  'hcloud-alias-ip': { provider: 'hcloud-alias-ip', address: PRIVATE_IP, steps: 2, moveMs: 300, realMoveMs: 1_500, verifyS: OFTEN_S },
  netcup: {
    provider: 'netcup',
    address: FLOATING_IP,
    steps: 1,
    moveMs: 500,
    realMoveMs: 800,
    verifyS: OFTEN_S,
    patienceMs: 5_000,
    accountLasts: 4,
  },
  // A hundred reads an hour are all that Robot grants.
  'hetzner-robot': {
    provider: 'hetzner-robot',
    address: FLOATING_IP,
    steps: 1,
    moveMs: 1_000,
    realMoveMs: 50_000,
    verifyS: null,
    isRefusedForGood: true,
    patienceMs: 10_000,
    accountLasts: 6,
  },
  exec: { provider: 'exec', address: FLOATING_IP, steps: 1, moveMs: 500, realMoveMs: 1_500, verifyS: OFTEN_S },
} satisfies Readonly<Record<string, RoutedArrangement>>;

export type RoutedName = keyof typeof PACES;

/** Those whose provider has a stand-in. */
export const ROUTED = Object.fromEntries(Object.entries(PACES).filter(([, { provider }]) => provider in STAND_INS)) as {
  readonly [On in RoutedName]?: RoutedArrangement;
};

export type Arrangement = RoutedName | 'l2' | 'l2-fast';

/** What the stage of each is, with the environment of its agents. */
type Staged = Pick<LabOptions, 'topology' | 'provider' | 'address' | 'withIpv6' | 'env'>;

interface Described {
  /** In a sentence, for people. */
  readonly what: string;
  readonly staged: Staged & { readonly moveMs: number };
  /** Its deadlines are as short as the pauses that a neighbour may cause: it has the machine to itself. */
  readonly isAlone?: true;
  /** After so many faults the stage is built anew. */
  readonly stageLasts?: number;
}

export const ARRANGEMENTS: { readonly [On in Arrangement]: Described } = {
  routed: behind('routed', 'A floating IP that Hetzner Cloud routes (PROVIDER=hcloud-floating-ip)'),
  'hcloud-alias-ip': behind('hcloud-alias-ip', 'An alias IP in a private network of Hetzner Cloud (PROVIDER=hcloud-alias-ip)'),
  netcup: behind('netcup', 'A failover IP of netcup (PROVIDER=netcup)'),
  'hetzner-robot': behind('hetzner-robot', 'A failover IP of a dedicated server at Hetzner (PROVIDER=hetzner-robot)'),
  exec: behind('exec', 'An address that a command of the user moves (PROVIDER=exec)'),
  l2: {
    what: 'An IPv4 and an IPv6 address on a shared segment (PROVIDER=l2)',
    staged: { topology: 'l2', withIpv6: true, moveMs: 0 },
  },
  'l2-fast': {
    what: 'An address on a shared segment, with a lease duration of 0.6 s, a deadline of 0.3 s and renewals each 0.15 s',
    staged: { topology: 'l2', env: { LEASE_DURATION: '600ms', RENEW_DEADLINE: '300ms', RENEW_INTERVAL: '150ms' }, moveMs: 0 },
    isAlone: true,
  },
};

export const EACH_ARRANGEMENT = (Object.keys(ARRANGEMENTS) as Arrangement[]).filter((each) => !(each in PACES) || each in ROUTED);

export function isRouted(arrangement: Arrangement): boolean {
  return arrangement in PACES;
}

function behind(name: RoutedName, what: string): Described {
  const arrangement: RoutedArrangement = PACES[name];
  return { what, staged: stagedFor(arrangement), stageLasts: arrangement.accountLasts ?? Number.POSITIVE_INFINITY };
}

/** The stage of one provider. */
export function stagedFor({ provider, address, moveMs, verifyS }: RoutedArrangement): Described['staged'] {
  const env = verifyS === null ? {} : { VERIFY_INTERVAL: `${verifyS}s` };
  // An arrangement without a stand-in is never staged.
  return { topology: 'routed', provider: provider as RoutedProviderName, address, moveMs, env };
}

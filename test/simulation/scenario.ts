/**
 * What one run is about: how many nodes, which provider, which settings. All of it follows from the seed.
 *
 * Guarantees: settings are read by the product's own reader, so that a combination it refuses is never simulated.
 */
import { checkUnfenced, loadSettings, SettingsError } from '../../agent/config/settings.ts';
import type { Settings } from '../../agent/config/settings.ts';
import { simProvider } from './providers/all.ts';
import type { SimProviderName } from './providers/all.ts';
import type { OpenQuestions } from './providers/provider.ts';
import type { Random } from './random.ts';

export interface Timings {
  readonly durationMs: number;
  readonly renewDeadlineMs: number;
  readonly renewIntervalMs: number;
}

export type WorldKind = 'routed' | 'l2';

export interface Scenario {
  readonly kind: WorldKind;
  /** The timings of each node's agent: all the same, unless they are just being changed. */
  readonly timings: readonly Timings[];
  /** L2: the nodes whose kernels can keep a packet filter. */
  readonly isFenced: readonly boolean[];
  readonly addresses: readonly string[];
  readonly providerTimeoutMs: number;
  readonly verifyIntervalMs: number;
  readonly whenAllUnhealthy: 'keep' | 'release';
  readonly onApiLoss: 'hold' | 'release';
  readonly leaseAtStart: 'from the manifests' | 'absent';
  /** Of a routed world. */
  readonly provider: SimProviderName;
  readonly open: OpenQuestions;
  /** How long a change takes at the provider. */
  readonly moveMs: number;
  /** How long faults strike. */
  readonly faultsMs: number;
}

const IPV4 = '203.0.113.10';
const SECOND = ['203.0.113.11', '2001:db8::10'] as const;
const NOT_RELEASED = ['ip_not_available', 'ip_not_available', 'invalid_input', 'conflict', 'service_error'] as const;
/**
 * Without a packet filter an address that is not renewed within the second or so that its lifetime may last goes and comes
 * with each renewal: safe, but never settled.
 */
const UNFENCED_INTERVAL_MAX_MS = 800;
const DEFAULT_TIMINGS: Timings = { durationMs: 3_000, renewDeadlineMs: 2_000, renewIntervalMs: 500 };
const FAST_TIMINGS: Timings = { durationMs: 600, renewDeadlineMs: 300, renewIntervalMs: 150 };

/** Draws a scenario, of one kind of world if told so. */
export function drawScenario(random: Random, only: WorldKind | null): Scenario {
  const drawn = random.chance(0.5) ? 'routed' : 'l2';
  const kind = only ?? drawn;
  const nodes = random.pick([2, 3, 3, 3, 4, 5]);
  const isFenced = kind === 'l2' ? drawFences(random, nodes) : [];
  const isFastAllowed = kind === 'l2' && isFenced.every((each) => each);
  const timings = drawTimings(random, kind, isFastAllowed);
  const mixed = random.chance(0.2);
  return {
    kind,
    timings: Array.from({ length: nodes }, () => (mixed ? drawTimings(random, kind, isFastAllowed) : timings)),
    isFenced,
    addresses: random.chance(0.3) ? [IPV4, random.pick(SECOND)] : [IPV4],
    providerTimeoutMs: random.pick([5_000, 10_000, 30_000, 30_000]),
    verifyIntervalMs: random.pick([5_000, 30_000]),
    whenAllUnhealthy: random.pick(['keep', 'keep', 'release']),
    onApiLoss: kind === 'l2' ? 'release' : random.pick(['hold', 'hold', 'release']),
    leaseAtStart: random.pick(['from the manifests', 'from the manifests', 'absent']),
    provider: 'hcloud-floating-ip',
    open: {
      ownerChangesAt: random.pick(['start', 'end', 'end']),
      sameOwner: random.pick(['success', 'floating_ip_assigned']),
      otherOwner: random.pick(['success', 'success', 'floating_ip_assigned']),
      notReleased: 'ip_not_available',
    },
    moveMs: random.pick([100, 500, 500, 2_000]),
    // Now and then long enough for an outage that outlasts every bound.
    faultsMs: random.chance(0.15) ? random.between(150_000, 250_000) : random.between(50_000, 100_000),
  };
}

/** The same with another provider, and with what fits it. What else is drawn for it comes from a source of its own. */
export function providedBy(scenario: Scenario, name: SimProviderName, random: Random): Scenario {
  const { onlyIpv4, slow } = simProvider(name);
  return {
    ...scenario,
    ...(slow === undefined
      ? {}
      : {
          moveMs: random.pick(slow.moveMs),
          providerTimeoutMs: random.pick(slow.claimTimeoutMs),
          verifyIntervalMs: random.pick(slow.verifyIntervalMs),
        }),
    provider: name,
    addresses: scenario.addresses.map((address) => (onlyIpv4 === true && address.includes(':') ? SECOND[0] : address)),
    open: { ...scenario.open, notReleased: random.pick(NOT_RELEASED) },
  };
}

/** The settings of one node's agent, with files that they name. */
export function settingsOf(scenario: Scenario, node: number, readFile: (path: string) => string = () => ''): Settings {
  const timings = scenario.timings[node] ?? DEFAULT_TIMINGS;
  return loadSettings({
    env: {
      NODE_NAME: `node-${node}`,
      KUBECONFIG: '/kubeconfig',
      ADDRESSES: scenario.addresses.join(','),
      LEASE_DURATION: `${timings.durationMs}ms`,
      RENEW_DEADLINE: `${timings.renewDeadlineMs}ms`,
      RENEW_INTERVAL: `${timings.renewIntervalMs}ms`,
      PROVIDER_TIMEOUT: `${scenario.providerTimeoutMs}ms`,
      VERIFY_INTERVAL: `${scenario.verifyIntervalMs}ms`,
      WHEN_ALL_UNHEALTHY: scenario.whenAllUnhealthy,
      ON_API_LOSS: scenario.onApiLoss,
      PROBES: 'tcp://127.0.0.1:8080',
      ...(scenario.kind === 'l2'
        ? { PROVIDER: 'l2' }
        : { PROVIDER: scenario.provider, ...simProvider(scenario.provider).env(serverOf(node)) }),
    },
    hostname: `node-${node}`,
    readFile,
    serviceAccountFolder: '/',
  });
}

/** The provider's number of a node's server. */
export function serverOf(node: number): number {
  return 9_100_200 + node;
}

/** Mostly all or none; now and then a cluster of different kernels. */
function drawFences(random: Random, nodes: number): boolean[] {
  const share = random.pick([0, 1, 1, 1, 1, 1, 0.5, 0]);
  return Array.from({ length: nodes }, () => random.chance(share));
}

function drawTimings(random: Random, kind: WorldKind, isFenced: boolean): Timings {
  if (random.chance(isFenced ? 0.4 : 0.5)) return DEFAULT_TIMINGS;
  if (isFenced && random.chance(0.3)) return FAST_TIMINGS;
  for (;;) {
    const fromMs = random.pick(isFenced ? [500, 700, 1_000, 2_000, 3_000, 4_000] : [1_000, 2_000, 3_000, 4_000, 6_000]);
    const durationMs = fromMs + random.integer(0, Math.min(999, fromMs - 1));
    // Often the longest deadline that the rules allow, and sometimes one that they do not.
    const longestMs = random.chance(0.2) ? durationMs - 1 : Math.ceil(durationMs * 0.98 - 250) - 1;
    const renewDeadlineMs = random.chance(0.5) ? longestMs : Math.round(durationMs * random.between(0.4, 0.7));
    const longestIntervalMs = kind === 'l2' && !isFenced ? UNFENCED_INTERVAL_MAX_MS : Number.POSITIVE_INFINITY;
    const renewIntervalMs = Math.min(longestIntervalMs, Math.round(renewDeadlineMs * random.between(0.15, 0.5)));
    const timings = { durationMs, renewDeadlineMs, renewIntervalMs };
    if (isAccepted(timings, kind, isFenced)) return timings;
  }
}

function isAccepted(timings: Timings, kind: WorldKind, isFenced: boolean): boolean {
  const rest = {
    addresses: [IPV4],
    providerTimeoutMs: 30_000,
    verifyIntervalMs: 30_000,
    whenAllUnhealthy: 'keep',
    onApiLoss: 'release',
    provider: 'hcloud-floating-ip',
  } as const;
  try {
    const settings = settingsOf({ ...(rest as unknown as Scenario), kind, timings: [timings] }, 0);
    if (kind === 'l2' && !isFenced) checkUnfenced(settings);
    return true;
  } catch (error) {
    if (error instanceof SettingsError) return false;
    throw error;
  }
}

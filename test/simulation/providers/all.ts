/**
 * The providers that the simulation knows, by the names that the agents' settings have for them.
 */
import type { Clock } from '../../../agent/clock.ts';
import { HETZNER_ROBOT } from '../../../agent/provider/hetzner-robot.ts';
import type { Random } from '../random.ts';
import { hcloudEnv, SimAliasIps, SimFloatingIps } from './hcloud.ts';
import { netcupEnv, SimNetcup } from './netcup.ts';
import type { SimProvider, SimProviderOptions } from './provider.ts';
import { robotEnv, SimRobot } from './robot.ts';

interface SimProviderDefinition {
  /** How often it is drawn, compared with the others. */
  readonly weight: number;
  /** The settings that make the agent of a server use it, besides its name. */
  readonly env: (server: number) => Readonly<Record<string, string>>;
  readonly open: (options: SimProviderOptions, clock: Clock) => SimProvider;
  /** Whether it knows no IPv6. */
  readonly onlyIpv4?: true;
  /** How long it takes, where that is more than others do. */
  readonly slow?: SlowProvider;
  /** Within this time after the last fault everything agrees, where it grants so little that this takes longer. */
  readonly settlesWithinMs?: number;
}

/** Milliseconds, each drawn with equal chance. */
interface SlowProvider {
  readonly moveMs: readonly number[];
  readonly claimTimeoutMs: readonly number[];
  readonly verifyIntervalMs: readonly number[];
}

/** What is granted in an hour comes back within it. */
const HOUR_AND_MORE_MS = 4_500_000;

export const SIM_PROVIDERS = {
  'hcloud-floating-ip': { weight: 10, env: hcloudEnv, open: (options, clock) => new SimFloatingIps(options, clock) },
  'hcloud-alias-ip': { weight: 5, env: hcloudEnv, open: (options, clock) => new SimAliasIps(options, clock), onlyIpv4: true },
  netcup: {
    weight: 3,
    env: netcupEnv,
    open: (options, clock) => new SimNetcup(options, clock),
    settlesWithinMs: HOUR_AND_MORE_MS,
  },
  'hetzner-robot': {
    weight: 2,
    env: robotEnv,
    open: (options, clock) => new SimRobot(options, clock),
    slow: {
      moveMs: [10_000, 40_000, 45_000, 60_000],
      claimTimeoutMs: [HETZNER_ROBOT.claimTimeoutMs],
      verifyIntervalMs: [60_000, HETZNER_ROBOT.verifyIntervalMs],
    },
    settlesWithinMs: HOUR_AND_MORE_MS,
  },
} as const satisfies Record<string, SimProviderDefinition>;

export type SimProviderName = keyof typeof SIM_PROVIDERS;

export const SIM_PROVIDER_NAMES = Object.keys(SIM_PROVIDERS) as SimProviderName[];

export function simProvider(name: SimProviderName): SimProviderDefinition {
  return SIM_PROVIDERS[name];
}

/** Draws one, by weight. */
export function drawProvider(random: Random): SimProviderName {
  return random.pick(SIM_PROVIDER_NAMES.flatMap((name) => Array.from({ length: SIM_PROVIDERS[name].weight }, () => name)));
}

/**
 * The providers that the simulation knows, by the names that the agents' settings have for them.
 */
import type { Clock } from '../../../agent/clock.ts';
import type { Random } from '../random.ts';
import { hcloudEnv, SimAliasIps, SimFloatingIps } from './hcloud.ts';
import type { SimProvider, SimProviderOptions } from './provider.ts';

interface SimProviderDefinition {
  /** How often it is drawn, compared with the others. */
  readonly weight: number;
  /** The settings that make the agent of a server use it, besides its name. */
  readonly env: (server: number) => Readonly<Record<string, string>>;
  readonly open: (options: SimProviderOptions, clock: Clock) => SimProvider;
  /** Whether it knows no IPv6. */
  readonly onlyIpv4?: true;
}

export const SIM_PROVIDERS = {
  'hcloud-floating-ip': { weight: 6, env: hcloudEnv, open: (options, clock) => new SimFloatingIps(options, clock) },
  'hcloud-alias-ip': { weight: 4, env: hcloudEnv, open: (options, clock) => new SimAliasIps(options, clock), onlyIpv4: true },
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

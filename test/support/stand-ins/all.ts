/**
 * The stand-in for each provider that routes addresses.
 */
import type { ProviderName } from '../../../agent/provider/profiles.ts';
import { openHcloudAliasIps } from './hcloud-alias-ip.ts';
import { openExec } from './exec.ts';
import { openHcloudFloatingIps } from './hcloud-floating-ip.ts';
import { openHetznerRobot } from './hetzner-robot.ts';
import { openNetcup } from './netcup.ts';
import type { ProviderStandIn, StandInOptions } from './stand-in.ts';

export type RoutedProviderName = Exclude<ProviderName, 'l2'>;

/** How to start each. */
export const STAND_INS: { readonly [Name in RoutedProviderName]: (options: StandInOptions) => Promise<ProviderStandIn> } = {
  'hcloud-floating-ip': openHcloudFloatingIps,
  'hcloud-alias-ip': openHcloudAliasIps,
  netcup: openNetcup,
  'hetzner-robot': openHetznerRobot,
  exec: openExec,
};

export const ROUTED_PROVIDERS = Object.keys(STAND_INS) as RoutedProviderName[];

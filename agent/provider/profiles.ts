/**
 * Every provider by the name that the setting PROVIDER has for it.
 *
 * Guarantees: who names a provider here has said of it what the rest of the house needs to know.
 */
import type { AddressKind } from '../contender/settings.ts';
import { HCLOUD_ALIAS_IP } from './hcloud-alias-ip.ts';
import { EXEC } from './exec.ts';
import { HCLOUD_FLOATING_IP } from './hcloud-floating-ip.ts';
import { HETZNER_ROBOT } from './hetzner-robot.ts';
import { L2_PROFILE } from './l2.ts';
import { NETCUP } from './netcup.ts';
import type { ProviderProfile } from './profile.ts';

const PROFILES = {
  'hcloud-floating-ip': HCLOUD_FLOATING_IP,
  'hcloud-alias-ip': HCLOUD_ALIAS_IP,
  netcup: NETCUP,
  'hetzner-robot': HETZNER_ROBOT,
  exec: EXEC,
  l2: L2_PROFILE,
} as const satisfies Readonly<Record<string, ProviderProfile>>;

export type ProviderName = keyof typeof PROFILES;

export const PROVIDER_NAMES = Object.keys(PROFILES) as ProviderName[];

/** What is known of a provider before it is asked. */
export function profileOf(name: ProviderName): ProviderProfile {
  return PROFILES[name];
}

/** What decides where traffic goes under a provider. */
export function kindOf(name: ProviderName): AddressKind {
  return profileOf(name).kind;
}

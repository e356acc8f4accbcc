/**
 * Makes the provider that the settings name.
 *
 * Guarantees: it is given what it needs and nothing else. Nothing is asked of anybody yet.
 */
import type { Clock } from './clock.ts';
import type { Settings } from './config/settings.ts';
import type { HcloudSettings } from './config/provider-settings.ts';
import type { Host } from './host.ts';
import { readProviderId } from './kube/node.ts';
import type { KubeHttp } from './kube/transport.ts';
import type { Provider } from './ports.ts';
import { Budget } from './provider/budget.ts';
import { Budgeted } from './provider/budgeted.ts';
import { HcloudApi } from './provider/hcloud-api.ts';
import { HcloudFloatingIp } from './provider/hcloud-floating-ip.ts';
import { HcloudServerId } from './provider/hcloud-server-id.ts';
import type { ProviderHttp } from './provider/http.ts';
import { L2 } from './provider/l2.ts';
import { profileOf } from './provider/profiles.ts';

/** What a provider may use of the world. */
export interface ProviderWorld {
  readonly clock: Clock;
  readonly host: Host;
  readonly http: ProviderHttp;
  readonly kube: KubeHttp;
}

/** The provider that the settings name, behind a ledger of what is asked of it. `onNotice` is told what is held back. */
export function createBudgetedProvider(
  settings: Settings,
  world: ProviderWorld,
  onNotice: (message: string) => void,
): { readonly provider: Provider; readonly budget: Budget } {
  const { provider, addresses, movesPerHour } = settings;
  const allowed = { addresses: addresses.map(({ text }) => text), movesPerHour };
  const budget = new Budget(profileOf(provider.name), allowed, world.clock, onNotice);
  const budgeted = new Budgeted(budget, world.clock);
  return { provider: budgeted.provider(createProvider(settings, { ...world, http: budgeted.http(world.http) })), budget };
}

export function createProvider({ provider, addresses, nodeName }: Settings, world: ProviderWorld): Provider {
  const texts = addresses.map(({ text }) => text);
  switch (provider.name) {
    case 'l2':
      return L2;
    case 'hcloud-floating-ip':
      return new HcloudFloatingIp(hcloudApi(provider, world), hcloudServerId(provider, nodeName, world), texts, world.clock);
  }
}

function hcloudApi({ endpoint, token }: HcloudSettings, { http, clock }: ProviderWorld): HcloudApi {
  return new HcloudApi(http, endpoint, token, clock);
}

function hcloudServerId({ serverId, metadataEndpoint }: HcloudSettings, nodeName: string, { http, kube }: ProviderWorld): HcloudServerId {
  return new HcloudServerId(http, {
    configured: serverId,
    metadataEndpoint,
    providerId: (signal) => readProviderId(kube, nodeName, signal),
  });
}

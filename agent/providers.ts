/**
 * Makes the provider that the settings name.
 *
 * Guarantees: it is given what it needs and nothing else. Nothing is asked of anybody yet.
 */
import type { Clock } from './clock.ts';
import type { Settings } from './config/settings.ts';
import type { HcloudSettings, NetcupSettings, RobotSettings } from './config/provider-settings.ts';
import type { Finding } from './finding.ts';
import type { Host } from './host.ts';
import { readAnnotations, readProviderId } from './kube/node.ts';
import type { KubeHttp } from './kube/transport.ts';
import type { Provider } from './ports.ts';
import { Budget } from './provider/budget.ts';
import { Budgeted } from './provider/budgeted.ts';
import { HcloudAliasIp } from './provider/hcloud-alias-ip.ts';
import { Exec } from './provider/exec.ts';
import { ExecCommand } from './provider/exec-command.ts';
import { HcloudApi } from './provider/hcloud-api.ts';
import { HcloudFloatingIp } from './provider/hcloud-floating-ip.ts';
import { HcloudServerId } from './provider/hcloud-server-id.ts';
import { HetznerRobot } from './provider/hetzner-robot.ts';
import type { ProviderHttp } from './provider/http.ts';
import { L2 } from './provider/l2.ts';
import { RobotApi } from './provider/robot-api.ts';
import { RobotServerFinder } from './provider/robot-server.ts';
import { NetcupApi } from './provider/netcup-api.ts';
import { NetcupOpenId } from './provider/netcup-openid.ts';
import { OwnNetcupServer } from './provider/netcup-server.ts';
import { NetcupTokens } from './provider/netcup-tokens.ts';
import { Netcup } from './provider/netcup.ts';
import { profileOf } from './provider/profiles.ts';

/** What a provider may use of the world. */
export interface ProviderWorld {
  readonly clock: Clock;
  readonly host: Host;
  readonly http: ProviderHttp;
  readonly kube: KubeHttp;
  /** Told what somebody has to know and no answer would tell, in the place of what was said before under the same name. */
  readonly tell: (finding: Finding) => void;
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
  const host = { ...world.host, run: budgeted.run(world.host.run) };
  return { provider: budgeted.provider(createProvider(settings, { ...world, host, http: budgeted.http(world.http) })), budget };
}

export function createProvider({ provider, addresses, nodeName }: Settings, world: ProviderWorld): Provider {
  const texts = addresses.map(({ text }) => text);
  switch (provider.name) {
    case 'l2':
      return L2;
    case 'hcloud-floating-ip':
      return new HcloudFloatingIp(hcloudApi(provider, world), hcloudServerId(provider, nodeName, world), texts, world.clock);
    case 'hcloud-alias-ip':
      return new HcloudAliasIp(hcloudApi(provider, world), hcloudServerId(provider, nodeName, world), provider.network, texts, world.clock);
    case 'netcup':
      return netcup(provider, nodeName, texts, world);
    case 'hetzner-robot':
      return hetznerRobot(provider, texts, nodeName, world);
    case 'exec': {
      const server = provider.server ?? nodeName;
      const command = new ExecCommand(world.host.run, world.clock, { ...provider.command, secret: provider.secret, server, nodeName });
      return new Exec(command, server, texts, world.clock);
    }
  }
}

function hetznerRobot(
  { endpoint, login, serverIp, serverIpv6Net }: RobotSettings,
  addresses: readonly string[],
  nodeName: string,
  { http, kube, host, clock }: ProviderWorld,
): HetznerRobot {
  const api = new RobotApi(http, endpoint, login);
  const sources = {
    ip: serverIp,
    ipv6Net: serverIpv6Net,
    providerId: (signal: AbortSignal) => readProviderId(kube, nodeName, signal),
    localAddresses: () => host.interfaces().flatMap(({ addresses: here }) => here),
  };
  return new HetznerRobot(api, new RobotServerFinder(api, sources, clock), addresses, clock);
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

function netcup(settings: NetcupSettings, nodeName: string, addresses: readonly string[], world: ProviderWorld): Netcup {
  const { clock, host, http, kube } = world;
  const { interfaces } = host;
  const openId = new NetcupOpenId(http, settings.authEndpoint);
  const tokens = new NetcupTokens(openId, { secret: settings.refreshToken, path: settings.refreshTokenPath }, world);
  const api = new NetcupApi(http, settings.endpoint, tokens, clock);
  const server = new OwnNetcupServer(api, {
    id: settings.serverId,
    name: settings.serverName,
    annotations: (signal) => readAnnotations(kube, nodeName, signal),
    interfaces,
    failoverIps: addresses,
  });
  return new Netcup({ api, tokens, server, addresses, interfaces, clock });
}

/**
 * The settings of each provider.
 *
 * Guarantees: whoever names a provider is told of everything that it needs and does not have, and of nothing that only others
 * need.
 */
import type { ProviderName } from '../provider/profiles.ts';
import { Secret } from '../secret.ts';
import type { CommandLine } from './formats.ts';
import type { SettingsReader } from './reader.ts';

export interface HcloudSettings {
  readonly token: Secret;
  readonly endpoint: string;
  readonly metadataEndpoint: string;
  /** This server's number; null where it is to be found. */
  readonly serverId: number | null;
}

export interface HcloudAliasSettings extends HcloudSettings {
  /** The id or name of the private network; null where it is to be found. */
  readonly network: string | null;
}

export interface RobotSettings {
  readonly user: Secret;
  readonly password: Secret;
  /** Both as HTTP Basic sends them: `user:password` in base64. */
  readonly login: Secret;
  readonly endpoint: string;
  /** This server's main IPv4 address; null where it is to be found. */
  readonly serverIp: string | null;
  /** Its main IPv6 net; null where it is to be found. */
  readonly serverIpv6Net: string | null;
}

export interface ExecSettings {
  readonly command: CommandLine;
  /** What it proves itself with; null where it needs nothing for that. */
  readonly secret: Secret | null;
  /** What this node is called at the provider; null where that is the node's own name. */
  readonly server: string | null;
}

export interface NetcupSettings {
  readonly refreshToken: Secret;
  /** The file that it lives in; null where it is in a variable. */
  readonly refreshTokenPath: string | null;
  readonly endpoint: string;
  readonly authEndpoint: string;
  /** This server's number and name; null where it is to be found. */
  readonly serverId: number | null;
  readonly serverName: string | null;
}

interface SettingsOf {
  readonly 'hcloud-floating-ip': HcloudSettings;
  readonly 'hcloud-alias-ip': HcloudAliasSettings;
  readonly netcup: NetcupSettings;
  readonly 'hetzner-robot': RobotSettings;
  readonly exec: ExecSettings;
  readonly l2: object;
}

export type ProviderSettings = { readonly [Name in ProviderName]: { readonly name: Name } & SettingsOf[Name] }[ProviderName];

/** How each provider's settings are read; null where a problem has been noted. */
const READ: { readonly [Name in ProviderName]: (reader: SettingsReader, name: ProviderName) => SettingsOf[Name] | null } = {
  'hcloud-floating-ip': readHcloud,
  'hcloud-alias-ip': readHcloudAlias,
  netcup: readNetcup,
  'hetzner-robot': readRobot,
  exec: readExec,
  l2: () => ({}),
};

/** The settings of the provider that PROVIDER names, or null where a problem has been noted. */
export function assembleProvider(reader: SettingsReader): ProviderSettings | null {
  const name = reader.require('PROVIDER', 'something has to decide where traffic goes');
  if (name === null) return null;
  const settings = READ[name](reader, name);
  // That the name and the settings belong together is what the table says.
  return settings === null ? null : ({ name, ...settings } as ProviderSettings);
}

/** Every credential among a provider's settings. */
export function secretsIn(settings: ProviderSettings): Secret[] {
  return Object.values(settings as Readonly<Record<string, unknown>>).filter((value) => value instanceof Secret);
}

function readHcloud(reader: SettingsReader, name: ProviderName): HcloudSettings | null {
  const token = reader.secret('HCLOUD_TOKEN', `${name} asks the Hetzner Cloud API`);
  const endpoint = reader.get('HCLOUD_ENDPOINT');
  const metadataEndpoint = reader.get('HCLOUD_METADATA_ENDPOINT');
  const serverId = reader.get('HCLOUD_SERVER_ID');
  return token === null || endpoint === null || metadataEndpoint === null ? null : { token, endpoint, metadataEndpoint, serverId };
}

function readHcloudAlias(reader: SettingsReader, name: ProviderName): HcloudAliasSettings | null {
  const network = reader.get('HCLOUD_NETWORK');
  const settings = readHcloud(reader, name);
  return settings === null ? null : { ...settings, network };
}

function readRobot(reader: SettingsReader, name: ProviderName): RobotSettings | null {
  const why = `${name} asks the webservice of Hetzner Robot`;
  const [user, password] = [reader.secret('ROBOT_USER', why), reader.secret('ROBOT_PASSWORD', why)];
  const endpoint = reader.get('ROBOT_ENDPOINT');
  if (user === null || password === null || endpoint === null) return null;
  // A secret of its own, because others may say it back in yet another form.
  const login = new Secret(() => {
    user.reload();
    password.reload();
    return Buffer.from(`${user.reveal()}:${password.reveal()}`).toString('base64');
  });
  return { user, password, login, endpoint, serverIp: reader.get('ROBOT_SERVER_IP'), serverIpv6Net: reader.get('ROBOT_SERVER_IPV6_NET') };
}

function readExec(reader: SettingsReader, name: ProviderName): ExecSettings | null {
  const command = reader.require('EXEC_COMMAND', `${name} runs a command of yours`);
  const secret = reader.secret('EXEC_SECRET', null);
  const server = reader.get('EXEC_SERVER');
  return command === null ? null : { command, secret, server };
}

function readNetcup(reader: SettingsReader): NetcupSettings | null {
  const refreshToken = reader.secret(
    'NETCUP_REFRESH_TOKEN',
    'netcup asks the API of the Server Control Panel; "leasehold netcup-login" gets one',
  );
  const endpoint = reader.get('NETCUP_ENDPOINT');
  const authEndpoint = reader.get('NETCUP_AUTH_ENDPOINT');
  if (refreshToken === null || endpoint === null || authEndpoint === null) return null;
  return {
    refreshToken,
    refreshTokenPath: reader.secretPath('NETCUP_REFRESH_TOKEN'),
    endpoint,
    authEndpoint,
    serverId: reader.get('NETCUP_SERVER_ID'),
    serverName: reader.get('NETCUP_SERVER_NAME'),
  };
}

/**
 * Private networks of Hetzner Cloud as the API shows them: which servers are in one, and which alias IPs each has there.
 *
 * Guarantees: only the entries of the one network count, because several may have the same range. What cannot be read is
 * an error and never an empty list: whoever replaces a list has to know all of it.
 * Facts: https://docs.hetzner.cloud (servers, networks, change alias IPs).
 */
import { contains, parseAddress } from '../address.ts';
import { at, integerAt, listAt, messageAt, stringAt } from '../json.ts';
import { ProviderError } from './error.ts';

export interface HcloudNetwork {
  readonly id: number;
  readonly name: string;
  /** Such as `10.20.0.0/16`. */
  readonly range: string;
  readonly subnets: readonly { readonly range: string; readonly gateway: string | null }[];
}

export interface HcloudServer {
  readonly id: number;
  readonly name: string;
  readonly attachments: readonly HcloudAttachment[];
}

/** A server's place in one network. */
export interface HcloudAttachment {
  readonly network: number;
  /** The server's own address there. */
  readonly ip: string;
  readonly aliases: readonly string[];
  /** The hardware address of its interface there, in lower case; null where the API does not tell. */
  readonly mac: string | null;
}

/** This server's place in the network that the addresses are in. */
export interface HcloudPlace {
  readonly network: HcloudNetwork;
  readonly server: HcloudServer;
  readonly attachment: HcloudAttachment;
}

/** How many alias IPs a server may have in one network. */
const ALIASES_MAX = 5;
/** Reserved for the way to the metadata service. */
const NEVER_USABLE = '172.31.1.1';
/** How many names are listed for people. */
const NAMES_MAX = 20;

/** Reads a server. Throws ProviderError for what is none. */
export function readServer(json: unknown): HcloudServer {
  const id = integerAt(json, 'id');
  const attachments = listAt(json, 'private_net');
  if (id === undefined || attachments === undefined) throw unreadable('a server');
  return { id, name: messageAt(json, 'name') ?? '', attachments: attachments.map(readAttachment) };
}

function readAttachment(json: unknown): HcloudAttachment {
  const network = integerAt(json, 'network');
  const ip = stringAt(json, 'ip');
  const said = at(json, 'alias_ips') ?? [];
  if (network === undefined || ip === undefined || !Array.isArray(said)) throw unreadable("a server's network");
  const aliases = said.filter((each) => typeof each === 'string' && parseAddress(each) !== null) as string[];
  if (aliases.length !== said.length) throw unreadable("a server's alias IPs");
  return { network, ip, aliases, mac: stringAt(json, 'mac_address')?.toLowerCase() ?? null };
}

/** Reads a network. Throws ProviderError for what is none. */
export function readNetwork(json: unknown): HcloudNetwork {
  const id = integerAt(json, 'id');
  const range = stringAt(json, 'ip_range');
  const subnets = listAt(json, 'subnets');
  if (id === undefined || range === undefined || subnets === undefined) throw unreadable('a network');
  return {
    id,
    name: messageAt(json, 'name') ?? '',
    range,
    // A subnet without a range of its own covers nothing.
    subnets: subnets.flatMap((subnet) => {
      const own = stringAt(subnet, 'ip_range');
      return own === undefined ? [] : [{ range: own, gateway: stringAt(subnet, 'gateway') ?? null }];
    }),
  };
}

function unreadable(what: string): ProviderError {
  return new ProviderError('unavailable', `the Hetzner Cloud API shows ${what} in a form that cannot be read`);
}

/** A server's place in a network; null where it is not in it. */
export function attachmentOf({ attachments }: HcloudServer, network: HcloudNetwork): HcloudAttachment | null {
  return attachments.find((each) => each.network === network.id) ?? null;
}

/** The servers that have an address as an alias IP in a network. */
export function holdersOf(address: string, network: HcloudNetwork, servers: readonly HcloudServer[]): HcloudServer[] {
  return servers.filter((server) => attachmentOf(server, network)?.aliases.includes(address) === true);
}

/**
 * Finds this server's place: in the network of that id or name, or without one in the only network that it is in. Throws
 * ProviderError, which names the networks there are.
 */
export function findPlace(
  own: number,
  wanted: string | null,
  { networks, servers }: { readonly networks: readonly HcloudNetwork[]; readonly servers: readonly HcloudServer[] },
): HcloudPlace {
  const server = servers.find(({ id }) => id === own);
  if (server === undefined)
    throw new ProviderError(
      'not-found',
      `this server (${own}) is none of the project that HCLOUD_TOKEN belongs to: is it the right token?`,
    );
  const network = wanted === null ? theOnlyNetwork(server, networks) : theWantedNetwork(wanted, networks);
  const attachment = attachmentOf(server, network);
  if (attachment === null) {
    const advice = 'attach it there, or name another network in HCLOUD_NETWORK';
    throw new ProviderError('invalid', `this ${serverText(server)} is not in the network ${networkText(network)}: ${advice}`);
  }
  return { network, server, attachment };
}

function theOnlyNetwork(server: HcloudServer, networks: readonly HcloudNetwork[]): HcloudNetwork {
  const found = networks.filter((network) => attachmentOf(server, network) !== null);
  const [only, ...others] = found;
  if (only === undefined)
    throw new ProviderError(
      'invalid',
      `this ${serverText(server)} is in no private network: attach it to the one that the addresses are in`,
    );
  if (others.length === 0) return only;
  throw new ProviderError(
    'invalid',
    `this ${serverText(server)} is in several networks: set HCLOUD_NETWORK to the one that the addresses are in, of ${listed(found.map(networkText))}`,
  );
}

/** A number may be a name, too; the id goes first. */
function theWantedNetwork(wanted: string, networks: readonly HcloudNetwork[]): HcloudNetwork {
  const found = networks.find(({ id }) => String(id) === wanted) ?? networks.find(({ name }) => name === wanted);
  if (found !== undefined) return found;
  const known = networks.length === 0 ? 'it has none' : `it has ${listed(networks.map(networkText))}`;
  throw new ProviderError('not-found', `HCLOUD_NETWORK="${wanted}" is no network of the project that HCLOUD_TOKEN belongs to: ${known}`);
}

/** Why an address can never be an alias IP in a network, whatever server it is for; null where it can. */
export function addressProblem(address: string, network: HcloudNetwork, servers: readonly HcloudServer[]): string | null {
  const parsed = parseAddress(address);
  if (parsed?.family !== 4) return `${address} is no IPv4 address, and private networks of Hetzner Cloud know no others`;
  const where = `the network ${networkText(network)}`;
  const ranges = network.subnets.map(({ range }) => range);
  if (!ranges.some((range) => covers(range, address))) {
    const known = ranges.length === 0 ? 'it has none' : `its subnets are ${listed(ranges)}`;
    return `${address} is in no subnet of ${where}: ${known}`;
  }
  const gateways = [firstIn(network.range), ...network.subnets.map(({ gateway }) => gateway)];
  if (gateways.includes(address)) return `${address} is a gateway of ${where}: choose another address of a subnet`;
  if (address === NEVER_USABLE) return `${address} is reserved by Hetzner: choose another address of a subnet`;
  const owner = servers.find((server) => attachmentOf(server, network)?.ip === address);
  return owner === undefined
    ? null
    : `${address} is the own address of the ${serverText(owner)} in ${where}, and is left alone: choose one that no server has as its own`;
}

/** Why a server cannot have so many alias IPs; null where it can. */
export function capacityProblem(aliases: readonly string[], wanted: readonly string[], place: HcloudPlace): string | null {
  const all = new Set([...aliases, ...wanted]);
  if (all.size <= ALIASES_MAX) return null;
  const others = aliases.filter((each) => !wanted.includes(each));
  return (
    `the ${serverText(place.server)} cannot have ${wanted.join(', ')} in the network ${networkText(place.network)} besides ${others.join(', ')}: ` +
    `${ALIASES_MAX} alias IPs are the most that a server may have there`
  );
}

/** Why this server cannot be given an address now; null where it can. */
export function receptionProblem(address: string, place: HcloudPlace, servers: readonly HcloudServer[]): string | null {
  const server = servers.find(({ id }) => id === place.server.id);
  const attachment = server === undefined ? null : attachmentOf(server, place.network);
  return attachment === null ? notThereAnyMore(place) : capacityProblem(attachment.aliases, [address], place);
}

/** What is said of a server that has been taken out of its network. */
export function notThereAnyMore({ server, network }: HcloudPlace): string {
  return `this ${serverText(server)} is not in the network ${networkText(network)} any more: attach it there again`;
}

function covers(range: string, address: string): boolean {
  const [network, host] = [parseAddress(range), parseAddress(address)];
  return network !== null && host !== null && contains(network.bytes, network.prefixLength, host.bytes);
}

/** The first address of an IPv4 range, which Hetzner keeps for its gateway; null where that cannot be said. */
function firstIn(range: string): string | null {
  const parsed = parseAddress(range);
  if (parsed?.family !== 4) return null;
  const [a = 0, b = 0, c = 0, d = 0] = parsed.bytes;
  return [a, b, c, d + 1].join('.');
}

/** A server for people. */
export function serverText({ id, name }: Pick<HcloudServer, 'id' | 'name'>): string {
  return name === '' ? `server ${id}` : `server ${name} (${id})`;
}

/** A network for people. */
export function networkText({ id, name }: HcloudNetwork): string {
  return name === '' ? String(id) : `${name} (${id})`;
}

function listed(names: readonly string[]): string {
  return names.length > NAMES_MAX ? `${names.slice(0, NAMES_MAX).join(', ')} and ${names.length - NAMES_MAX} more` : names.join(', ');
}

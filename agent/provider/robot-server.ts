/**
 * Which dedicated server of Hetzner this is.
 *
 * Guarantees: it is told by ROBOT_SERVER_IP, by the Node, or by a main address of exactly one of the account's servers on this
 * machine, in that order; where two of them contradict each other, or none knows, it is nobody. A failover IP is never taken for a
 * main address. Facts: https://robot.hetzner.com/doc/webservice/en.html (server); the cloud controller manager writes
 * `hrobot://<number>`, and before that `hcloud://bm-<number>`.
 */
import { contains, parseAddress } from '../address.ts';
import type { Clock } from '../clock.ts';
import { at, integerAt, messageAt, stringAt } from '../json.ts';
import { ProviderError } from './error.ts';
import { Remembered } from './remembered.ts';
import type { RobotApi } from './robot-api.ts';
import { isSameAddress } from './robot-failover.ts';

/** Servers come and go seldom, so as long as this one is not found they are asked for no more often than this. */
const SERVERS_FOR_MS = 300_000;
const NONE = ['SERVER_NOT_FOUND', 'NOT_FOUND'];
const MAIN_NET_LENGTH = 64;
const NAMED_MAX = 10;

export interface RobotServerSources {
  /** ROBOT_SERVER_IP and ROBOT_SERVER_IPV6_NET, each null where it is not set. */
  readonly ip: string | null;
  readonly ipv6Net: string | null;
  /** Reads this Node's `spec.providerID`, or says why it cannot be known. */
  readonly providerId: (signal: AbortSignal) => Promise<{ is: 'known'; value: string } | { is: 'unknown'; reason: string }>;
  /** The addresses of this machine, as they are now. */
  readonly localAddresses: () => readonly string[];
}

/** What failovers are routed to: a server's main addresses. */
export interface RobotServer {
  readonly number: number | null;
  readonly name: string;
  readonly ip: string | null;
  readonly ipv6Net: string | null;
}

export interface OwnServer extends RobotServer {
  /** Who has told, for people. */
  readonly source: string;
}

export class RobotServerFinder {
  readonly #sources: RobotServerSources;
  readonly #servers: Remembered<readonly RobotServer[]>;
  #own: OwnServer | null = null;

  constructor(api: RobotApi, sources: RobotServerSources, clock: Clock) {
    this.#sources = sources;
    this.#servers = new Remembered(clock, async (signal) =>
      (await api.list('/server', NONE, signal)).flatMap((json) => parseServer(json) ?? []),
    );
  }

  /** This server as it was found last, or found now. `isFailover` tells addresses that move. Throws ProviderError. */
  async known(isFailover: (address: string) => boolean, signal: AbortSignal): Promise<OwnServer> {
    return this.#own ?? (await this.find(isFailover, signal));
  }

  /** This server, confirmed by Robot where that has not been possible before. Throws ProviderError. */
  async find(isFailover: (address: string) => boolean, signal: AbortSignal): Promise<OwnServer> {
    if (this.#own !== null && this.#own.number !== null) return this.#own;
    const { ip } = this.#sources;
    // What turns out to be wrong is believed no more.
    this.#own = null;
    this.#own = ip === null ? await this.#search(isFailover, signal) : await this.#confirm(ip, isFailover, signal);
    return this.#own;
  }

  /** What a main address belongs to, for people. Nobody is asked for it. */
  nameOf(mainIp: string): string {
    const server = this.#servers.last?.find((each) => isSameAddress(each.ip, mainIp) || isSameAddress(each.ipv6Net, mainIp));
    return server === undefined ? `the server with ${mainIp}` : serverName(server);
  }

  /** The server that ROBOT_SERVER_IP names, unless it is none or this machine is another one. */
  async #confirm(ip: string, isFailover: (address: string) => boolean, signal: AbortSignal): Promise<OwnServer> {
    const { ipv6Net } = this.#sources;
    const servers = await this.#servers.get(SERVERS_FOR_MS, signal).catch((error: unknown) => {
      // Somebody who may move addresses need not be allowed to see the servers.
      if (error instanceof ProviderError && error.code !== 'unauthorized') return null;
      throw error;
    });
    if (servers === null)
      return { number: null, name: '', ip, ipv6Net, source: 'from ROBOT_SERVER_IP, which Robot was not able to confirm' };
    const named = servers.find((each) => isSameAddress(each.ip, ip));
    if (named === undefined) {
      throw new ProviderError(
        'invalid',
        `ROBOT_SERVER_IP=${ip} is the main address of none of the servers of this account: ${listOf(servers)}`,
      );
    }
    const here = this.#serversHere(servers, isFailover);
    if (here.length > 0 && !here.includes(named)) {
      throw new ProviderError(
        'invalid',
        `ROBOT_SERVER_IP=${ip} is the main address of ${serverName(named)}, yet this machine has that of ${here.map(serverName).join(' and ')}: ` +
          'it is different on each node, so leave it unset where nodes share their settings',
      );
    }
    return { ...named, ipv6Net: ipv6Net ?? named.ipv6Net, source: 'from ROBOT_SERVER_IP' };
  }

  async #search(isFailover: (address: string) => boolean, signal: AbortSignal): Promise<OwnServer> {
    const servers = await this.#servers.get(SERVERS_FOR_MS, signal);
    const here = this.#serversHere(servers, isFailover);
    const node = await this.#fromNode(servers, signal);
    const found = typeof node !== 'string' ? node : here.length === 1 ? here[0] : undefined;
    if (found === undefined) {
      const addresses =
        here.length === 0
          ? "no address of this machine is the main address of one of the account's servers"
          : `this machine has the main addresses of ${here.map(serverName).join(' and ')}`;
      throw new ProviderError('unavailable', `cannot tell which server this is: set ROBOT_SERVER_IP (${node as string}; ${addresses})`);
    }
    if (here.length > 0 && !here.includes(found)) {
      const message = `the Node says that this is ${serverName(found)}, yet this machine has the main address of ${here.map(serverName).join(' and ')}`;
      throw new ProviderError('invalid', `cannot tell which server this is: ${message}: set ROBOT_SERVER_IP`);
    }
    const source = typeof node !== 'string' ? "from the Node's spec.providerID" : 'from a main address on this machine';
    return { ...found, ipv6Net: this.#sources.ipv6Net ?? found.ipv6Net, source };
  }

  async #fromNode(servers: readonly RobotServer[], signal: AbortSignal): Promise<RobotServer | string> {
    const providerId = await this.#sources.providerId(signal);
    if (providerId.is === 'unknown') return providerId.reason;
    const [, number = ''] = /^(?:hrobot:\/\/|hcloud:\/\/bm-)(\d{1,15})$/.exec(providerId.value) ?? [];
    if (number === '') return `the Node's spec.providerID is "${providerId.value}" and not hrobot://<number>`;
    return servers.find((each) => each.number === Number(number)) ?? `the Node's server ${number} is none of this account`;
  }

  /** The servers of which this machine has a main address, or for IPv6 an address in the main net. */
  #serversHere(servers: readonly RobotServer[], isFailover: (address: string) => boolean): RobotServer[] {
    const local = this.#sources.localAddresses().filter((address) => !isFailover(address));
    return servers.filter(({ ip, ipv6Net }) => local.some((address) => isSameAddress(ip, address) || isIn(ipv6Net, address)));
  }
}

function isIn(net: string | null, address: string): boolean {
  const [parsedNet, parsed] = [net === null ? null : parseAddress(net), parseAddress(address)];
  return parsedNet !== null && parsed !== null && contains(parsedNet.bytes, MAIN_NET_LENGTH, parsed.bytes);
}

/** Servers without a main IPv4 have null there. */
function parseServer(json: unknown): RobotServer | null {
  const number = integerAt(json, 'server', 'server_number');
  if (number === undefined || at(json, 'server') === undefined) return null;
  const addressAt = (field: string): string | null => {
    const text = stringAt(json, 'server', field) ?? '';
    return parseAddress(text) === null ? null : text.replace(/\/.*$/, '');
  };
  return {
    number,
    name: messageAt(json, 'server', 'server_name') ?? '',
    ip: addressAt('server_ip'),
    ipv6Net: addressAt('server_ipv6_net'),
  };
}

/** A server as people know it. */
export function serverName({ number, name, ip, ipv6Net }: RobotServer): string {
  const what = [number === null ? 'the server' : `server ${number}`, name === '' ? '' : ` "${name}"`].join('');
  return `${what} (${ip ?? ipv6Net ?? 'no main address'})`;
}

function listOf(servers: readonly RobotServer[]): string {
  if (servers.length === 0) return 'it has none';
  const more = servers.length > NAMED_MAX ? `, and ${servers.length - NAMED_MAX} more` : '';
  return servers.slice(0, NAMED_MAX).map(serverName).join(', ') + more;
}

/**
 * Which of an account's netcup servers this is.
 *
 * Guarantees: asks in a fixed order and stops at the first that knows; what a person has named and is not there is an error, and no
 * reason to look elsewhere. Never guesses between two. Where nobody knows, the error says what each of them answered.
 */
import ipaddr from 'ipaddr.js';
import { covers, parseAddress } from '../address.ts';
import type { HostInterface } from '../host.ts';
import { at, integerAt, listAt, messageAt } from '../json.ts';
import { ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import type { NetcupApi } from './netcup-api.ts';

/** The annotations that name a Node's server, or the hardware address of its first interface. */
const NAME_ANNOTATIONS = ['netcup.noshoes.xyz/server-name', 'netcup.digilol.net/server-name'] as const;
const MAC_ANNOTATION = 'netcup.noshoes.xyz/primary-mac';
/** An address of one of these cannot be a server's main one. */
const NOT_ROUTED = ['unspecified', 'loopback', 'linkLocal', 'private', 'uniqueLocal', 'carrierGradeNat', 'multicast', 'broadcast'];
/** On a node with very many addresses the main one is among the first. */
const ADDRESSES_MAX = 8;

export interface Site {
  readonly id: number | null;
  readonly city: string;
}

export interface NetcupServer {
  readonly id: number;
  readonly name: string;
  /** Where it stands; null where that is not said. */
  readonly site: Site | null;
  /** Its own addresses and networks, without failover IPs: `192.0.2.11/32`, `2001:db8:5::/64`. */
  readonly networks: readonly string[];
}

export interface NetcupServerSources {
  /** NETCUP_SERVER_ID and NETCUP_SERVER_NAME, or null. */
  readonly id: number | null;
  readonly name: string | null;
  /** Reads this Node's annotations, or says why they cannot be known. */
  readonly annotations: (
    signal: AbortSignal,
  ) => Promise<{ is: 'known'; value: Readonly<Record<string, string>> } | { is: 'unknown'; reason: string }>;
  readonly interfaces: () => readonly HostInterface[];
  /** The failover IPs, which are bound here and there, and tell nothing. */
  readonly failoverIps: readonly string[];
}

interface Found {
  readonly server: NetcupServer;
  /** Who has told, for people. */
  readonly source: string;
}

/** Says who this is, or why not. */
type Source = (signal: AbortSignal) => Promise<Found | string>;

/** What may be so of one server and no other. */
const OF_ONE_SERVER: readonly ProviderErrorCode[] = ['forbidden', 'not-found', 'unavailable'];

export class OwnNetcupServer {
  readonly #api: NetcupApi;
  readonly #sources: NetcupServerSources;
  #found: Found | null = null;

  constructor(api: NetcupApi, sources: NetcupServerSources) {
    this.#api = api;
    this.#sources = sources;
  }

  /** Who has told which server this is, for people. */
  get source(): string {
    return this.#found?.source ?? 'not found yet';
  }

  /** This server, found once. Throws ProviderError. */
  async find(signal: AbortSignal): Promise<NetcupServer> {
    this.#found ??= await this.#search(signal);
    return this.#found.server;
  }

  /** Has it found anew the next time: it may have been moved, or be another one. */
  forget(): void {
    this.#found = null;
  }

  async #search(signal: AbortSignal): Promise<Found> {
    const { id, name } = this.#sources;
    if (id !== null) return { server: await this.#read(id, signal, 'NETCUP_SERVER_ID'), source: 'from NETCUP_SERVER_ID' };
    if (name !== null) return { server: await this.#named(name, signal, 'NETCUP_SERVER_NAME'), source: 'from NETCUP_SERVER_NAME' };
    const asked: string[] = [];
    for (const source of [this.#byAnnotations, this.#byMac, this.#byAddress] satisfies Source[]) {
      const answer = await source(signal);
      if (typeof answer !== 'string') return answer;
      asked.push(answer);
    }
    throw new ProviderError('unavailable', `cannot tell which server this is: set NETCUP_SERVER_NAME (${asked.join('; ')})`);
  }

  readonly #byAnnotations: Source = async (signal) => {
    const annotations = await this.#sources.annotations(signal);
    if (annotations.is === 'unknown') return annotations.reason;
    const names = new Set(NAME_ANNOTATIONS.flatMap((key) => annotations.value[key] ?? []));
    const mac = annotations.value[MAC_ANNOTATION]?.toLowerCase();
    const [name, ...others] = names;
    if (others.length > 0) throw contradiction(`the Node's annotations name ${[...names].join(' and ')}`);
    if (name === undefined && mac === undefined)
      return `the Node has none of the annotations ${[...NAME_ANNOTATIONS, MAC_ANNOTATION].join(', ')}`;
    const source = "from the Node's annotations";
    if (name === undefined) return { server: await this.#withMac([mac ?? ''], signal, `the annotation ${MAC_ANNOTATION}`), source };
    const server = await this.#named(name, signal, `the Node's annotation`);
    if (mac !== undefined && !(await this.#macsOf(server.id, signal)).includes(mac))
      throw contradiction(`the Node's annotations name ${name} and ${mac}, which is none of its interfaces`);
    return { server, source };
  };

  readonly #byMac: Source = async (signal) => {
    const macs = this.#sources
      .interfaces()
      .map(({ mac }) => mac)
      .filter((mac) => !/^(00:){5}00$|^$/.test(mac));
    if (macs.length === 0) return 'this node has no interface with a hardware address';
    const matching = await this.#matchingMacs(macs, signal);
    const [id, ...others] = matching;
    if (others.length > 0) throw contradiction(`the hardware addresses of this node are those of the servers ${matching.join(' and ')}`);
    if (id === undefined) return `no server of the account has one of the hardware addresses ${shown(macs)}`;
    return { server: await this.#read(id, signal, 'a hardware address'), source: 'by its hardware address' };
  };

  readonly #byAddress: Source = async (signal) => {
    const addresses = this.#sources
      .interfaces()
      .flatMap(({ addresses: all }) => all)
      .flatMap((text) => parseAddress(text)?.text ?? [])
      .filter((text) => isRouted(text) && !this.#sources.failoverIps.includes(text))
      .slice(0, ADDRESSES_MAX);
    if (addresses.length === 0) return 'this node has no address that could be its main one';
    const found = new Map<number, NetcupServer>();
    for (const address of addresses) {
      const ids = await this.#api.pages(`/servers?ip=${encodeURIComponent(address)}`, (json) => integerAt(json, 'id') ?? null, signal);
      for (const id of ids) {
        const server = await this.#read(id, signal, address);
        // How exactly the filter looks is not said.
        if (server.networks.some((network) => covers(network, address))) found.set(id, server);
      }
    }
    const [server, ...others] = found.values();
    if (others.length > 0) throw contradiction(`the addresses of this node are those of the servers ${[...found.keys()].join(' and ')}`);
    if (server === undefined) return `no server of the account has one of the addresses ${shown(addresses)}`;
    return { server, source: 'by its main address' };
  };

  async #named(name: string, signal: AbortSignal, by: string): Promise<NetcupServer> {
    const path = `/servers?name=${encodeURIComponent(name)}`;
    const read = (json: unknown): number | null => (messageAt(json, 'name') === name ? (integerAt(json, 'id') ?? null) : null);
    const ids = new Set(await this.#api.pages(path, read, signal));
    const [id, ...others] = ids;
    if (others.length > 0) throw contradiction(`${by} names ${name}, and ${ids.size} servers are called so`);
    if (id === undefined) throw new ProviderError('not-found', `${by} names ${name}, and no server of the account is called so`);
    return await this.#read(id, signal, by);
  }

  async #withMac(macs: readonly string[], signal: AbortSignal, by: string): Promise<NetcupServer> {
    const [id, ...others] = await this.#matchingMacs(macs, signal);
    if (id === undefined || others.length > 0)
      throw new ProviderError(
        'not-found',
        `${by} names ${shown(macs)}, which is on ${others.length === 0 ? 'no server' : 'several servers'} of the account`,
      );
    return await this.#read(id, signal, by);
  }

  /**
   * The servers that have an interface with one of these hardware addresses. One that is in maintenance or disabled keeps no other
   * from being found; where none is found for that, it is not known, and no weaker source is believed.
   */
  async #matchingMacs(macs: readonly string[], signal: AbortSignal): Promise<number[]> {
    const ids = new Set(await this.#api.pages('/servers', (json) => integerAt(json, 'id') ?? null, signal));
    const matching: number[] = [];
    let unknown: ProviderError | null = null;
    // One after the other, because an account may have very many, and this is asked once.
    for (const id of ids) {
      try {
        if ((await this.#macsOf(id, signal)).some((mac) => macs.includes(mac))) matching.push(id);
      } catch (error) {
        if (!(error instanceof ProviderError) || !OF_ONE_SERVER.includes(error.code)) throw error;
        if (!error.isDefinitive) unknown = error;
      }
    }
    if (matching.length === 0 && unknown !== null) throw unknown;
    return matching;
  }

  async #macsOf(id: number, signal: AbortSignal): Promise<string[]> {
    const read = (json: unknown): string | null => messageAt(json, 'mac')?.toLowerCase() ?? null;
    return await this.#api.list(`/servers/${id}/interfaces?loadRdns=false`, read, signal);
  }

  async #read(id: number, signal: AbortSignal, by: string): Promise<NetcupServer> {
    try {
      const server = parseServer(await this.#api.get(`/servers/${id}?loadServerLiveInfo=false`, signal));
      if (server?.id === id) return server;
    } catch (error) {
      if (!(error instanceof ProviderError) || error.code !== 'not-found') throw error;
      throw new ProviderError('not-found', `server ${id} (${by}) is none of the account: ${error.message}`);
    }
    throw new ProviderError('unavailable', `GET /servers/${id}: the answer is not that server`);
  }
}

export function parseSite(json: unknown): Site | null {
  const [id, city] = [integerAt(json, 'id'), messageAt(json, 'city')];
  return id === undefined && city === undefined ? null : { id: id ?? null, city: city ?? `number ${id ?? ''}` };
}

function parseServer(json: unknown): NetcupServer | null {
  const id = integerAt(json, 'id');
  if (id === undefined) return null;
  const four = (listAt(json, 'ipv4Addresses') ?? []).flatMap((each) => messageAt(each, 'ip') ?? []);
  const six = (listAt(json, 'ipv6Addresses') ?? []).flatMap((each) => {
    const [prefix, length] = [messageAt(each, 'networkPrefix'), integerAt(each, 'networkPrefixLength')];
    return prefix === undefined || length === undefined ? [] : `${prefix.replace(/\/.*/, '')}/${length}`;
  });
  return { id, name: messageAt(json, 'name') ?? `server ${id}`, site: parseSite(at(json, 'site')), networks: [...four, ...six] };
}

function isRouted(address: string): boolean {
  return !NOT_ROUTED.includes(ipaddr.parse(address).range());
}

function contradiction(what: string): ProviderError {
  return new ProviderError('invalid', `cannot tell which server this is: ${what}; set NETCUP_SERVER_NAME`);
}

function shown(items: readonly string[]): string {
  return items.length > ADDRESSES_MAX
    ? `${items.slice(0, ADDRESSES_MAX).join(', ')} and ${items.length - ADDRESSES_MAX} more`
    : items.join(', ');
}

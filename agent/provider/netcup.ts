/**
 * Failover IPs of netcup: addresses, or for IPv6 networks, that are routed to exactly one server of an account.
 *
 * Guarantees: looks before it writes, because each write takes one of few moves; writes only while it may, waits for the task's
 * end and believes nothing but the owner read back. It never takes an address away. A server that cannot be told apart claims
 * nothing, and nothing is claimed for a server at another site, where netcup does not route it.
 */
import { covers, parseAddress, addressText } from '../address.ts';
import { asError, DeadlineExceeded, withDeadline } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { ClaimOutcome, Owner } from '../contender/input.ts';
import { fail, ok, warn } from '../finding.ts';
import type { Finding } from '../finding.ts';
import type { HostInterface } from '../host.ts';
import { at, integerAt, messageAt } from '../json.ts';
import type { ClaimTerms, Provider, ProviderReadiness } from '../ports.ts';
import { claimWithRetries } from './claim.ts';
import { ProviderError } from './error.ts';
import type { NetcupApi } from './netcup-api.ts';
import { nextHopFinding } from './netcup-next-hop.ts';
import { LOGIN_ADVICE, TOKEN_OPERATION } from './netcup-openid.ts';
import { parseSite } from './netcup-server.ts';
import type { NetcupServer, OwnNetcupServer, Site } from './netcup-server.ts';
import type { NetcupTokens } from './netcup-tokens.ts';
import { notReadyBecause } from './preparation.ts';
import type { ProviderProfile } from './profile.ts';
import { Turns } from './turns.ts';

const MOVES = ['PATCH /api/v1/users/{userId}/failoverips/v4/{id}', 'PATCH /api/v1/users/{userId}/failoverips/v6/{id}'] as const;

export const NETCUP: ProviderProfile = {
  kind: 'routed',
  // A move takes less than a second.
  claimTimeoutMs: 30_000,
  verifyIntervalMs: 30_000,
  operations: {
    [TOKEN_OPERATION]: { success: '200' },
    'GET /api/v1/servers': { success: '200' },
    'GET /api/v1/servers/{serverId}': { success: '200' },
    'GET /api/v1/servers/{serverId}/interfaces': { success: '200' },
    'GET /api/v1/users/{userId}/failoverips/v4': { success: '200' },
    'GET /api/v1/users/{userId}/failoverips/v6': { success: '200' },
    [MOVES[0]]: { success: '202', isMove: true },
    [MOVES[1]]: { success: '202', isMove: true },
    'GET /api/v1/tasks': { success: '200' },
    'GET /api/v1/tasks/{uuid}': { success: '200' },
  },
  // As its OpenAPI document has it. Whether that is per account or per failover IP is not said: the stricter is taken.
  limits: [
    { name: 'routing requests in 5 minutes', operations: MOVES, max: 10, withinMs: 5 * 60_000, reserve: 5 },
    { name: 'routing requests in 60 minutes', operations: MOVES, max: 20, withinMs: 60 * 60_000, reserve: 10 },
  ],
};

/** While it stands by, a token is renewed so long before its end that it is good for a claim until it is prepared again. */
const PREPARED_SPARE_MS = 100_000;
/** After a task that has ended well the owner may be shown late, and the next task would take another move. */
const SHOWN_LATE_MS = 2_000;
const UNKNOWN_TO_THE_ACCOUNT = 'no failover IP of the account that NETCUP_REFRESH_TOKEN belongs to';

/** One failover IP as the API lists it. `ip` is an address, or for IPv6 the network that the address lies in. */
interface FailoverIp {
  readonly id: number;
  readonly ip: string;
  readonly family: Family;
  readonly server: { readonly id: number; readonly name: string } | null;
  readonly isEditable: boolean;
  readonly site: Site | null;
}

type Family = 'v4' | 'v6';

export interface NetcupParts {
  readonly api: NetcupApi;
  readonly tokens: NetcupTokens;
  readonly server: OwnNetcupServer;
  readonly addresses: readonly string[];
  readonly interfaces: () => readonly HostInterface[];
  readonly clock: Clock;
}

/** A task of netcup's takes a second. What has not ended by then is stuck, or about something else. */
const OTHERS_TASKS_MS = 10_000;

export class Netcup implements Provider {
  readonly kind = 'routed';
  readonly #parts: NetcupParts;
  /** One claim at a time for each failover IP: two addresses of one /64 are one failover IP. */
  readonly #turns = new Turns<string>();

  constructor(parts: NetcupParts) {
    this.#parts = parts;
  }

  async prepare(signal: AbortSignal): Promise<ProviderReadiness> {
    const { api, tokens, server, addresses } = this.#parts;
    try {
      await api.userId(signal, PREPARED_SPARE_MS);
      const [own, all] = await Promise.all([server.find(signal), this.#listAll(signal)]);
      const missing = addresses.filter((address) => find(all, address) === undefined);
      if (missing.length > 0)
        return { is: 'not-ready', isPassing: false, reason: `${missing.join(', ')}: ${UNKNOWN_TO_THE_ACCOUNT}; ${listed(all)}` };
      for (const address of addresses) refuse(find(all, address), own);
      const concern = tokens.concern === null ? '' : `; ${tokens.concern.message}: ${tokens.concern.advice ?? ''}`;
      return { is: 'ready', reason: `this is server ${describe(own)}${concern}` };
    } catch (thrown) {
      return notReadyBecause(thrown, signal);
    }
  }

  async check(signal: AbortSignal): Promise<readonly Finding[]> {
    const { tokens, addresses, interfaces } = this.#parts;
    const token = await this.#checkToken(signal);
    const concern = tokens.concern === null ? [] : [tokens.concern];
    const unknown = 'see what is said of the token';
    if (token.all === null) return [token.finding, ...concern, warn('server', 'which one this is could not be found out', unknown)];
    const own = await this.#checkServer(signal);
    const { all } = token;
    const hops =
      own.server !== null && addresses.some((address) => familyOf(address) === 'v6') ? nextHopFinding(own.server, interfaces()) : [];
    return [token.finding, ...concern, own.finding, ...addresses.map((address) => checkAddress(address, all, own.server)), ...hops];
  }

  async #checkToken(signal: AbortSignal): Promise<{ readonly all: readonly FailoverIp[] | null; readonly finding: Finding }> {
    try {
      const [user, all] = await Promise.all([this.#parts.api.userId(signal), this.#listAll(signal)]);
      const many = all.length === 1 ? 'one failover IP' : `${all.length} failover IPs`;
      const families = [...new Set(this.#parts.addresses.map(familyOf))].map((family) => (family === 'v4' ? 'IPv4' : 'IPv6')).join(' and ');
      return { all, finding: ok('token', `NETCUP_REFRESH_TOKEN opens the account of user ${user}, which has ${many} of ${families}`) };
    } catch (error) {
      const isRefused = error instanceof ProviderError && error.code === 'unauthorized';
      const advice = isRefused ? LOGIN_ADVICE : 'see that NETCUP_ENDPOINT and NETCUP_AUTH_ENDPOINT can be reached from this node';
      return { all: null, finding: fail('token', asError(error).message, advice) };
    }
  }

  async #checkServer(signal: AbortSignal): Promise<{ readonly server: NetcupServer | null; readonly finding: Finding }> {
    const { server } = this.#parts;
    try {
      const own = await server.find(signal);
      return { server: own, finding: ok('server', `this is server ${describe(own)}, ${server.source}`) };
    } catch (error) {
      const advice = 'set NETCUP_SERVER_NAME, or annotate the Node with netcup.noshoes.xyz/server-name: the name that the SCP shows, v22…';
      return { server: null, finding: fail('server', asError(error).message, advice) };
    }
  }

  async owner(address: string, signal: AbortSignal): Promise<Owner> {
    try {
      const [own, { server }] = await Promise.all([this.#parts.server.find(signal), this.#read(address, signal)]);
      if (server === null) return { is: 'nobody' };
      return server.id === own.id ? { is: 'self' } : { is: 'other', name: nameOf(server) };
    } catch (thrown) {
      return { is: 'unknown', message: asError(thrown).message };
    }
  }

  async claim(address: string, terms: ClaimTerms): Promise<ClaimOutcome> {
    const turn = failoverIpOf(address);
    return await claimWithRetries(this.#parts.clock, terms, () =>
      this.#turns.take(turn, terms.signal, () => this.#claimOnce(address, terms)),
    );
  }

  async #claimOnce(address: string, terms: ClaimTerms): Promise<void> {
    const { signal } = terms;
    const { api, server } = this.#parts;
    const [own, tasks, before] = await Promise.all([server.find(signal), api.failoverTasks(signal), this.#read(address, signal)]);
    // What was begun earlier, by us or by a holder that is gone, may still move the address. It may be about another one.
    await this.#waitForOthers(tasks, signal);
    // Before a first "already mine" is believed, it is read once more now that nothing runs (rule 8).
    const isSettled = tasks.length === 0 && (before.server?.id !== own.id || !terms.isFirst);
    const seen = isSettled ? before : await this.#read(address, signal);
    if (seen.server?.id === own.id) return;
    refuse(seen, own);
    await this.#route(seen, own, terms);
    const after = await this.#read(address, signal);
    if (after.server?.id === own.id) return;
    const message = `${after.ip} was routed to this server, ${describe(own)}, yet netcup still shows ${nameOf(after.server)}`;
    throw new ProviderError('busy', message, { retryAfterMs: SHOWN_LATE_MS });
  }

  /** For a while only: a task that never ends, perhaps about another address, must not keep this one from being moved for ever. */
  async #waitForOthers(tasks: Awaited<ReturnType<NetcupApi['failoverTasks']>>, signal: AbortSignal): Promise<void> {
    const { api, clock } = this.#parts;
    try {
      await withDeadline(clock, OTHERS_TASKS_MS, signal, async (bounded) => {
        for (const task of tasks) await api.waitFor(task, bounded);
      });
    } catch (error) {
      if (signal.aborted || !(error instanceof DeadlineExceeded)) throw error;
    }
  }

  async #route({ id, family, ip, site }: FailoverIp, own: NetcupServer, terms: ClaimTerms): Promise<void> {
    const { api, server } = this.#parts;
    try {
      const user = await api.userId(terms.signal);
      await api.change(`/users/${user}/failoverips/${family}/${id}`, { serverId: own.id }, terms);
    } catch (error) {
      // The server may have been moved, or be gone: it is asked for anew.
      if (error instanceof ProviderError && error.isDefinitive) server.forget();
      if (!(error instanceof ProviderError) || error.code !== 'invalid') throw error;
      // The one documented reason for a 400.
      const now = await server.find(terms.signal);
      throw new ProviderError(
        'invalid',
        `${error.message}; ${ip} belongs to ${siteName(site)} and this server, ${now.name}, to ${siteName(now.site)}`,
      );
    }
  }

  /** The failover IP that covers an address. Throws ProviderError, also where there is none. */
  async #read(address: string, signal: AbortSignal): Promise<FailoverIp> {
    const family = familyOf(address);
    const found =
      find(await this.#list(family, signal, address), address) ??
      // Whether a network is found by an address in it is not said.
      (family === 'v6' ? find(await this.#list(family, signal), address) : undefined);
    if (found === undefined) throw new ProviderError('not-found', `${address} is ${UNKNOWN_TO_THE_ACCOUNT}`);
    return found;
  }

  /** Every failover IP of the families that are kept here. */
  async #listAll(signal: AbortSignal): Promise<FailoverIp[]> {
    const families = new Set(this.#parts.addresses.map(familyOf));
    return (await Promise.all([...families].map((family) => this.#list(family, signal)))).flat();
  }

  async #list(family: Family, signal: AbortSignal, address?: string): Promise<FailoverIp[]> {
    const { api } = this.#parts;
    const path = `/users/${await api.userId(signal)}/failoverips/${family}`;
    const query = address === undefined ? '' : `?ip=${encodeURIComponent(address)}`;
    return await api.list(`${path}${query}`, (json) => parseFailoverIp(json, family), signal);
  }
}

function find(all: readonly FailoverIp[], address: string): FailoverIp | undefined {
  return all.find(({ ip }) => covers(ip, address));
}

/** Throws where netcup is known to refuse, before it is asked. */
function refuse(failoverIp: FailoverIp | undefined, own: NetcupServer): void {
  const problem = failoverIp === undefined ? null : refusal(failoverIp, own);
  if (problem !== null) throw new ProviderError(problem.code, problem.message);
}

function refusal(
  { ip, isEditable, site }: FailoverIp,
  own: NetcupServer,
): { code: 'forbidden' | 'invalid'; message: string; advice: string } | null {
  if (!isEditable)
    return {
      code: 'forbidden',
      message: `netcup lets this account see ${ip} and not route it (editable is false)`,
      advice: 'log in as the user whom the failover IP belongs to, or have that user let this one route it',
    };
  if (site === null || own.site === null || isSame(site, own.site)) return null;
  return {
    code: 'invalid',
    message: `${ip} belongs to ${siteName(site)} and this server, ${own.name}, to ${siteName(own.site)}: netcup routes a failover IP only within its site`,
    advice: 'let only servers of that site contend, or order a failover IP for this one',
  };
}

function isSame(one: Site, other: Site): boolean {
  return one.id !== null && other.id !== null ? one.id === other.id : one.city === other.city;
}

/** What netcup says of one address. `own` is null where it cannot be told which server this is. */
function checkAddress(address: string, all: readonly FailoverIp[], own: NetcupServer | null): Finding {
  const name = `address ${address}`;
  const found = find(all, address);
  if (found === undefined)
    return fail(name, `it is ${UNKNOWN_TO_THE_ACCOUNT}`, `order it there, or correct ADDRESSES or NETCUP_REFRESH_TOKEN: ${listed(all)}`);
  const whose = found.server !== null && found.server.id === own?.id ? `${nameOf(found.server)}, which is this one` : nameOf(found.server);
  const what = `failover IP ${found.id} (${found.ip}) at ${siteName(found.site)}, routed to ${whose}`;
  const problem = own === null ? null : refusal(found, own);
  return problem === null ? ok(name, what) : fail(name, `${what}; ${problem.message}`, problem.advice);
}

function parseFailoverIp(json: unknown, family: Family): FailoverIp | null {
  const id = integerAt(json, 'id');
  const ip = family === 'v4' ? messageAt(json, 'ip') : networkAt(json);
  const server = at(json, 'server') ?? null;
  const serverId = integerAt(server, 'id');
  // An owner that cannot be read is not the same as none.
  if (id === undefined || ip === undefined || (server !== null && serverId === undefined)) return null;
  return {
    id,
    ip,
    family,
    server: serverId === undefined ? null : { id: serverId, name: messageAt(server, 'name') ?? '' },
    isEditable: at(json, 'editable') !== false,
    site: parseSite(at(json, 'site')),
  };
}

function networkAt(json: unknown): string | undefined {
  const [prefix, length] = [messageAt(json, 'networkPrefix'), integerAt(json, 'networkPrefixLength')];
  return prefix === undefined || length === undefined ? undefined : `${prefix.replace(/\/.*/, '')}/${length}`;
}

function familyOf(address: string): Family {
  return address.includes(':') ? 'v6' : 'v4';
}

/** What is routed as one: an address, or the /64 that it lies in. */
function failoverIpOf(address: string): string {
  const { bytes = [], family } = parseAddress(address) ?? {};
  return family === 6 ? addressText([...bytes.slice(0, 8), ...Array<number>(8).fill(0)]) : address;
}

function listed(all: readonly FailoverIp[]): string {
  return all.length === 0 ? 'it has none' : `its failover IPs are ${all.map(({ ip }) => ip).join(', ')}`;
}

function describe({ id, name, site }: NetcupServer): string {
  return `${name} (${id})${site === null ? '' : ` at ${siteName(site)}`}`;
}

function nameOf(server: FailoverIp['server']): string {
  return server === null ? 'no server' : `server ${server.name === '' ? server.id : `${server.name} (${server.id})`}`;
}

function siteName(site: Site | null): string {
  return site === null ? 'a site that is not said' : `the site ${site.city}`;
}

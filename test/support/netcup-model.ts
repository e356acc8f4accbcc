/**
 * The part of netcup's REST API and of its OpenID Connect endpoints that Leasehold uses, as a model.
 *
 * Guarantees: no socket, and no time but that of the clock it is given, so that a stand-in serves it over HTTP and a simulation in
 * virtual time.
 * Awkward parts included: access tokens that end, refresh tokens that are replaced; the owner changes when the task ends; pages that
 * are shorter than what was asked for; moves are granted in sliding windows; a task does not say which failover IP it is about.
 * Where the facts are open (a move while another one of the same failover IP runs, how IPv6 networks are looked up) the awkward
 * answer is the default.
 */
import { covers, parseAddress } from '../../agent/address.ts';
import type { Clock, Timer } from '../../agent/clock.ts';
import type { Answer } from './http-stand-in.ts';
import { DEVICE_PATH, NetcupIdentity } from './netcup-identity.ts';
import type { IdentityOptions } from './netcup-identity.ts';

/** One request, however it came. Names of headers are in lower case. */
export interface NetcupRequest {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
  /** The address that the request came from. */
  readonly from: string;
}

export interface SiteSpec {
  readonly id: number;
  readonly city: string;
}

export interface ServerSpec {
  readonly id: number;
  readonly name: string;
  readonly ip: string;
  readonly mac: string;
  /** Its own /64, such as `2001:db8:5::`. */
  readonly network?: string;
  readonly site?: SiteSpec;
}

/** A failover IP as a test describes it. */
export interface FailoverIpSpec {
  readonly id: number;
  /** An address, or for IPv6 a network such as `2001:db8:f00:1::/64`. */
  readonly ip: string;
  readonly server?: number | null;
  readonly site?: SiteSpec;
  readonly editable?: boolean;
}

export interface NetcupOptions extends IdentityOptions {
  readonly failoverIps: readonly FailoverIpSpec[];
  readonly servers: readonly ServerSpec[];
  /** How long a task runs. */
  readonly moveMs?: number;
  /** So many moves are granted in any span of a length. */
  readonly grants?: readonly { readonly max: number; readonly withinMs: number }[];
  /** The longest page that is given, whatever is asked for. */
  readonly pageMax?: number;
  /** How `ip` finds an IPv6 network: by how it is written, or by an address in it. */
  readonly networksBy?: 'text' | 'address';
  readonly contentType?: 'application/json' | 'application/hal+json';
  /** Called when traffic moves. `begunAtMs`: when the task that moves it began; null where a person moves it. */
  readonly onOwner?: (ip: string, server: number | null, begunAtMs: number | null) => void;
  /** Called when a move is accepted. */
  readonly onAccepted?: (move: AcceptedMove) => void;
}

interface FailoverIp {
  readonly id: number;
  readonly ip: string;
  readonly site: SiteSpec;
  readonly editable: boolean;
  server: number | null;
}

type TaskState = 'PENDING' | 'RUNNING' | 'FINISHED' | 'ERROR' | 'WAITING_FOR_CANCEL' | 'CANCELED' | 'ROLLBACK';

interface Task {
  readonly uuid: string;
  readonly failoverIp: FailoverIp;
  readonly server: number | null;
  readonly lastsMs: number;
  readonly startedAt: string;
  state: TaskState;
  finishedAt: string | null;
}

/** A move that was accepted. */
export interface AcceptedMove {
  readonly atMs: number;
  /** The address that the request came from. */
  readonly from: string;
  readonly failoverIp: number;
  readonly server: number | null;
}

const NUREMBERG: SiteSpec = { id: 3, city: 'Nuremberg' };
const API = '/scp-core/api/v1/';
const UNDER_WAY: readonly TaskState[] = ['PENDING', 'RUNNING', 'WAITING_FOR_CANCEL'];
/** As the document has them. */
const GRANTS = [
  { max: 10, withinMs: 5 * 60_000 },
  { max: 20, withinMs: 60 * 60_000 },
];
/** The part of a task's time that it waits for its turn. */
const PENDING_SHARE = 0.3;

export class NetcupModel {
  readonly identity: NetcupIdentity;
  readonly accepted: AcceptedMove[] = [];
  moveMs: number;
  /** How the next tasks end. */
  tasksEnd: TaskState | 'never' = 'FINISHED';
  /** Whether every further move is one too many. */
  isLimited = false;
  /** The addresses that the user lets the API be used from; null for all. */
  allowedFrom: readonly string[] | null = null;
  readonly #options: NetcupOptions;
  readonly #clock: Clock;
  readonly #failoverIps: FailoverIp[];
  readonly #tasks: Task[] = [];
  readonly #timers = new Set<Timer>();
  #movesAtMs: number[] = [];

  constructor(options: NetcupOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
    this.identity = new NetcupIdentity(options, clock);
    this.moveMs = options.moveMs ?? 0;
    this.#failoverIps = options.failoverIps.map(({ id, ip, server, site, editable }) => ({
      id,
      ip,
      server: server ?? null,
      site: site ?? NUREMBERG,
      editable: editable ?? true,
    }));
  }

  /** The server that an address is routed to. */
  ownerOf(address: string): number | null {
    return this.#failoverIpOf(address).server;
  }

  /** Moves a failover IP as a person in the panel would, and at once. */
  move(address: string, server: number | null): void {
    this.#setOwner(this.#failoverIpOf(address), server, null);
  }

  /** Begins a task that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginRoute(address: string, server: number, lastsMs = this.moveMs): void {
    this.#begin(this.#failoverIpOf(address), server, lastsMs);
  }

  /** Calls off every task that still runs. */
  stopTasks(): void {
    for (const timer of this.#timers) timer.cancel();
  }

  /** Answers one request to the API or to the OpenID Connect endpoints. */
  handle(request: NetcupRequest): Answer {
    if (request.path.startsWith(DEVICE_PATH)) return this.identity.handle(request);
    if (request.path === '/scp-core/api/ping') return { status: 200, body: 'OK' };
    const answer = this.#answer(request);
    return { ...answer, headers: { 'content-type': this.#options.contentType ?? 'application/json', ...answer.headers } };
  }

  #answer(request: NetcupRequest): Answer {
    const { headers, method, path, from } = request;
    const authorization = headers['authorization'];
    if (authorization === undefined) return { status: 401, body: { message: 'Authorization header missing.' } };
    const user = this.identity.userOf(/^Bearer (.+)$/.exec(String(authorization))?.[1] ?? '');
    if (user === null) return { status: 401, body: { message: 'The token is not valid.' } };
    if (this.allowedFrom?.includes(from) === false) return { status: 403, body: null };
    const url = new URL(path, 'http://stand-in');
    const [kind = '', id = '', ...rest] = url.pathname.slice(API.length).split('/');
    if (!url.pathname.startsWith(API)) return missing('Resource');
    if (kind === 'servers' && method === 'GET') return this.#servers(id, rest[0], url.searchParams);
    if (kind === 'tasks' && method === 'GET') return this.#tasksAnswer(id, url.searchParams);
    if (kind !== 'users' || rest[0] !== 'failoverips') return missing('Resource');
    if (Number(id) !== user) return { status: 403, body: null };
    const family = rest[1] === 'v6' ? 'v6' : 'v4';
    if (method === 'GET' && rest.length === 2) return this.#listFailoverIps(family, url.searchParams);
    return method === 'PATCH' && rest.length === 3 ? this.#route(Number(rest[2]), family, request) : missing('Resource');
  }

  #servers(id: string, what: string | undefined, query: URLSearchParams): Answer {
    const { servers } = this.#options;
    if (id === '') {
      const name = query.get('name');
      const ip = query.get('ip');
      // A part of the name, or of the address, is enough.
      const isRouted = ({ id: each }: ServerSpec): boolean =>
        this.#failoverIps.some((routed) => routed.ip === ip && routed.server === each);
      const found = servers.filter(
        (each) => each.name.includes(name ?? '') && (ip === null || each.ip.includes(ip) || isIn(each, ip) || isRouted(each)),
      );
      return this.#paged(found.map(serverListed), query);
    }
    const server = servers.find((each) => String(each.id) === id);
    if (server === undefined) return missing(`Server with id ${id}`);
    if (what === 'interfaces') return { status: 200, body: [this.#interfaceJson(server)] };
    return { status: 200, body: this.#serverJson(server) };
  }

  /** Failover IPs that are routed there are among its addresses. */
  #serverJson(server: ServerSpec): object {
    const { id, ip, network, site } = server;
    const routed = this.#failoverIps.filter((each) => each.server === id && !each.ip.includes(':'));
    return {
      ...serverListed(server),
      ipv4Addresses: [ip, ...routed.map((each) => each.ip)].map((each, index) => ({
        id: id * 10 + index,
        ip: each,
        netmask: '255.255.252.0',
        gateway: null,
        broadcast: null,
      })),
      ipv6Addresses: network === undefined ? [] : [{ id: id * 10, networkPrefix: network, networkPrefixLength: 64, gateway: 'fe80::1' }],
      site: siteJson(site ?? NUREMBERG),
    };
  }

  #interfaceJson({ id, mac, ip, network }: ServerSpec): object {
    const routed = this.#failoverIps.filter((each) => each.server === id && !each.ip.includes(':'));
    return {
      mac: mac.toUpperCase(),
      driver: 'virtio',
      speedInMBits: 1_000,
      ipv4Addresses: [{ type: 'IP', ip }, ...routed.map((each) => ({ type: 'ROUTED_IP', ip: each.ip }))].map((each, index) => ({
        id: index + 1,
        interfaceMac: mac,
        cidr: `${each.ip}/32`,
        gateway: null,
        rdns: null,
        destinationIp: null,
        editable: false,
        ...each,
      })),
      ipv6Addresses:
        network === undefined
          ? []
          : [{ id: 1, interfaceMac: mac, type: 'IP', networkPrefix: network, cidr: `${network}/64`, linkLocal: false, editable: false }],
    };
  }

  #listFailoverIps(family: 'v4' | 'v6', query: URLSearchParams): Answer {
    const [ip, server] = [query.get('ip'), query.get('serverId')];
    const found = this.#failoverIps
      .filter((each) => each.ip.includes(':') === (family === 'v6'))
      .filter((each) => ip === null || this.#isFoundBy(each, ip))
      .filter((each) => server === null || each.server === Number(server));
    return { status: 200, body: found.map((each) => this.#failoverIpJson(each)) };
  }

  #isFoundBy({ ip }: FailoverIp, wanted: string): boolean {
    return this.#options.networksBy === 'address' ? covers(ip, wanted) : ip.replace(/\/.*/, '') === wanted;
  }

  #failoverIpJson({ id, ip, site, editable, server }: FailoverIp): object {
    const [prefix = '', length] = ip.split('/');
    const own = this.#options.servers.find((each) => each.id === server);
    return {
      id,
      ...(length === undefined ? { ip, cidrSuffix: 32 } : { networkPrefix: prefix, networkPrefixLength: Number(length) }),
      user: this.identity.userJson,
      editable,
      site: siteJson(site),
      // Left out where there is none.
      ...(server === null ? {} : { server: { id: server, name: own?.name ?? `v${server}` } }),
    };
  }

  #route(id: number, family: 'v4' | 'v6', { body, from }: NetcupRequest): Answer {
    const failoverIp = this.#failoverIps.find((each) => each.id === id && each.ip.includes(':') === (family === 'v6'));
    if (failoverIp === undefined) return missing(`Failover IP with id ${id}`);
    const { serverId = null } = (parse(body) ?? {}) as { readonly serverId?: unknown };
    if (serverId !== null && !Number.isInteger(serverId))
      return {
        status: 422,
        body: { code: 'validation.failed', message: 'Validation failed.', errors: [{ field: 'serverId', message: 'must be a number' }] },
      };
    const server = this.#options.servers.find((each) => each.id === serverId);
    if (serverId !== null && server === undefined) return missing(`Server with id ${Number(serverId)}`);
    if (!failoverIp.editable) return { status: 403, body: { code: 'failoverip.not.editable', message: 'Not editable.' } };
    if (server !== undefined && (server.site ?? NUREMBERG).id !== failoverIp.site.id)
      return {
        status: 400,
        body: { code: 'failoverip.site', message: 'Routing is limited to servers within the same site as the failover IP.' },
      };
    if (!this.#isGranted()) return { status: 429, body: { code: 'too.many.requests', message: 'Too many failover IP routing requests.' } };
    const move = { atMs: this.#clock.nowMs(), from, failoverIp: id, server: serverId as number | null };
    this.accepted.push(move);
    this.#options.onAccepted?.(move);
    return { status: 202, body: this.#taskJson(this.#begin(failoverIp, move.server, this.moveMs)) };
  }

  #isGranted(): boolean {
    const nowMs = this.#clock.nowMs();
    const grants = this.#options.grants ?? GRANTS;
    const longestMs = Math.max(0, ...grants.map(({ withinMs }) => withinMs));
    this.#movesAtMs = this.#movesAtMs.filter((atMs) => atMs > nowMs - longestMs);
    const isOne =
      !this.isLimited && grants.every(({ max, withinMs }) => this.#movesAtMs.filter((atMs) => atMs > nowMs - withinMs).length < max);
    if (isOne) this.#movesAtMs.push(nowMs);
    return isOne;
  }

  #begin(failoverIp: FailoverIp, server: number | null, lastsMs: number): Task {
    const number = String(this.#tasks.length + 1).padStart(12, '0');
    const task: Task = {
      uuid: `5b0e8b3e-0000-4000-8000-${number}`,
      failoverIp,
      server,
      lastsMs,
      startedAt: this.#now(),
      state: 'PENDING',
      finishedAt: null,
    };
    const isFree = !this.#tasks.some((each) => each.failoverIp === failoverIp && UNDER_WAY.includes(each.state));
    this.#tasks.push(task);
    if (isFree) this.#run(task);
    return task;
  }

  /** One task of a failover IP runs at a time; the others wait. */
  #run(task: Task): void {
    const end = this.tasksEnd;
    const begunAtMs = this.#clock.nowMs();
    this.#after(task.lastsMs * PENDING_SHARE, () => (task.state = 'RUNNING'));
    if (end === 'never') return;
    this.#after(task.lastsMs, () => {
      task.state = end;
      task.finishedAt = this.#now();
      if (end === 'FINISHED') this.#setOwner(task.failoverIp, task.server, begunAtMs);
      const next = this.#tasks.find((each) => each.failoverIp === task.failoverIp && each.state === 'PENDING');
      if (next !== undefined) this.#run(next);
    });
  }

  #after(delayMs: number, callback: () => void): void {
    const timer = this.#clock.setTimer(delayMs, () => {
      this.#timers.delete(timer);
      callback();
    });
    this.#timers.add(timer);
  }

  #tasksAnswer(uuid: string, query: URLSearchParams): Answer {
    if (uuid !== '') {
      const task = this.#tasks.find((each) => each.uuid === uuid);
      return task === undefined ? missing(`Task with uuid ${uuid}`) : { status: 200, body: this.#taskJson(task) };
    }
    const [state, search, server] = [query.get('state'), query.get('q')?.toLowerCase() ?? '', query.get('serverId')];
    if (state === 'ROLLBACK') return { status: 400, body: { code: 'state', message: 'ROLLBACK is not supported.' } };
    const found = this.#tasks
      .filter((task) => (state === null || task.state === state) && (server === null || task.server === Number(server)))
      .map((task) => this.#taskJson(task) as { name: string; uuid: string })
      .filter(({ name, uuid: each }) => `${name} ${each}`.toLowerCase().includes(search));
    return this.#paged(found, query);
  }

  #taskJson({ uuid, server, state, startedAt, finishedAt }: Task): object {
    const isOver = !UNDER_WAY.includes(state);
    return {
      uuid,
      name: server === null ? 'ClearFailoverIpTask' : 'RouteFailoverIpTask',
      state,
      startedAt,
      ...(finishedAt === null ? {} : { finishedAt }),
      executingUser: this.identity.userJson,
      taskProgress: { expectedFinishedAt: this.#now(), progressInPercent: isOver ? 100 : 0 },
      message: null,
      onRollback: state === 'ROLLBACK',
      steps: [],
      result: {},
      ...(state === 'ERROR' ? { responseError: { code: 'task.failed', message: 'The node could not be reached.' } } : {}),
    };
  }

  #paged(items: readonly object[], query: URLSearchParams): Answer {
    const offset = Number(query.get('offset') ?? 0);
    const limit = Math.min(Number(query.get('limit') ?? items.length), this.#options.pageMax ?? Number.POSITIVE_INFINITY);
    return { status: 200, body: items.slice(offset, offset + limit) };
  }

  #failoverIpOf(address: string): FailoverIp {
    const found = this.#failoverIps.find(({ ip }) => covers(ip, address));
    if (found === undefined) throw new Error(`there is no failover IP ${address}`);
    return found;
  }

  #setOwner(failoverIp: FailoverIp, server: number | null, begunAtMs: number | null): void {
    if (failoverIp.server === server) return;
    failoverIp.server = server;
    this.#options.onOwner?.(failoverIp.ip, server, begunAtMs);
  }

  #now(): string {
    return new Date(this.#clock.wallMs()).toISOString();
  }
}

function serverListed({ id, name }: ServerSpec): object {
  return { id, name, hostname: `host-${id}`, nickname: null, disabled: false, template: { id: 21, name: 'VPS 1000 G11' } };
}

/** The document wants a name and describes none. */
function siteJson({ id, city }: SiteSpec): object {
  return { id, city, name: city };
}

function isIn({ network }: ServerSpec, ip: string): boolean {
  return network !== undefined && parseAddress(ip) !== null && covers(`${network}/64`, ip);
}

function missing(what: string): Answer {
  return { status: 404, body: { code: 'not.found', message: `${what} not found.` } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

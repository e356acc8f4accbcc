/**
 * The part of the Hetzner Cloud API and of its metadata service that Leasehold uses, as a model.
 *
 * Guarantees: no socket, and no time but that of the clock it is given, so that a stand-in serves it over HTTP and a
 * simulation in virtual time.
 * Awkward parts included: the owner changes when the action ends, not when it is accepted; one action at a time on a
 * floating IP; pages; rate limit headers; the removed way to ask for an action answers 410.
 * Where the facts are open (assigning to the present owner, or to another while it is assigned) both answers can be chosen.
 */
import type { Clock, Timer } from '../../agent/clock.ts';
import type { Answer } from './http-stand-in.ts';

/** One request, however it came. Names of headers are in lower case. */
export interface HcloudRequest {
  readonly method: string;
  /** Path with query. */
  readonly path: string;
  readonly headers: { readonly [name: string]: string | readonly string[] | undefined };
  readonly body: string;
  /** The address that the request came from. */
  readonly from: string;
}

/** A floating IP as a test describes it. */
export interface FloatingIpSpec {
  readonly id: number;
  /** An address, or for IPv6 a network such as `2001:db8:7:9::/64`. */
  readonly ip: string;
  readonly server?: number | null;
  readonly blocked?: boolean;
}

export interface HcloudOptions {
  readonly floatingIps: readonly FloatingIpSpec[];
  readonly servers: readonly number[];
  /** How long an assignment runs. */
  readonly actionMs?: number;
  /** When the owner changes. */
  readonly ownerChangesAt?: 'start' | 'end';
  /** How assigning to the present owner is answered. */
  readonly sameOwner?: 'success' | 'floating_ip_assigned';
  /** How assigning is answered while the floating IP is assigned to another server. */
  readonly otherOwner?: 'success' | 'floating_ip_assigned';
  /** Called when traffic moves. `begunAtMs`: when the action that moves it began; null where a person moves it. */
  readonly onOwner?: (ip: string, server: number | null, begunAtMs: number | null) => void;
  /** Called when a write is accepted. */
  readonly onAccepted?: (write: AcceptedWrite) => void;
}

interface FloatingIp {
  readonly id: number;
  readonly ip: string;
  server: number | null;
  readonly blocked: boolean;
}

interface Action {
  readonly id: number;
  readonly command: string;
  readonly floatingIp: number;
  readonly server: number | null;
  status: 'running' | 'success' | 'error';
  readonly startedAt: string;
  finishedAt: string | null;
}

/** A write that was accepted. */
export interface AcceptedWrite {
  readonly atMs: number;
  /** The address that the request came from. */
  readonly from: string;
  readonly floatingIp: number;
  readonly server: number | null;
}

/** How many requests a project has in an hour. */
export const RATE_LIMIT = 3_600;
const PAGE_LENGTH_MAX = 50;
const FIRST_ACTION = 880_000_000;

export class HcloudModel {
  readonly tokens = new Map<string, 'read-write' | 'read-only'>([['hcloud-token', 'read-write']]);
  /** Server numbers by the address that the metadata service is asked from. */
  readonly serverBySource = new Map<string, number>();
  readonly accepted: AcceptedWrite[] = [];
  actionMs: number;
  /** How the next actions end. */
  actionsEnd: 'success' | 'error' | 'never' = 'success';
  /** How many requests are left; each takes one. Giving back one a second is left to whoever runs it for that long. */
  remaining = RATE_LIMIT;
  readonly #options: HcloudOptions;
  readonly #floatingIps: FloatingIp[];
  readonly #actions: Action[] = [];
  readonly #timers = new Set<Timer>();
  readonly #clock: Clock;

  constructor(options: HcloudOptions, clock: Clock) {
    this.#clock = clock;
    this.#options = options;
    this.actionMs = options.actionMs ?? 0;
    this.#floatingIps = options.floatingIps.map(({ id, ip, server, blocked }) => ({
      id,
      ip,
      server: server ?? null,
      blocked: blocked ?? false,
    }));
  }

  ownerOf(ip: string): number | null {
    return this.#floatingIps.find((each) => each.ip === ip)?.server ?? null;
  }

  /** Moves a floating IP as a person in the console would. */
  move(ip: string, server: number | null): void {
    const floatingIp = this.#floatingIps.find((each) => each.ip === ip);
    if (floatingIp === undefined) throw new Error(`there is no floating IP ${ip}`);
    this.#setOwner(floatingIp, server, null);
  }

  /** Begins an action that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginAssign(id: number, server: number): void {
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp !== undefined) this.#begin('assign_floating_ip', floatingIp, server);
  }

  /** Calls off every action that still runs. */
  stopActions(): void {
    for (const timer of this.#timers) timer.cancel();
  }

  /** Answers one request to the API. */
  handle(request: HcloudRequest): Answer {
    this.remaining = Math.max(0, this.remaining - 1);
    const answer = this.#answer(request);
    return { ...answer, headers: { ...answer.headers, ...this.#rateLimitHeaders(), 'x-correlation-id': 'stand-in' } };
  }

  #answer(request: HcloudRequest): Answer {
    const [, token = ''] = /^Bearer (.+)$/.exec(String(request.headers['authorization'] ?? '')) ?? [];
    const rights = this.tokens.get(token);
    if (rights === undefined) return failure(401, 'unauthorized', 'unable to authenticate');
    if (this.remaining === 0) return failure(429, 'rate_limit_exceeded', 'limit of 3600 requests per hour reached');
    if (request.method !== 'GET' && rights === 'read-only')
      return failure(401, 'token_readonly', 'token is only allowed to perform GET requests');
    const url = new URL(request.path, 'http://stand-in');
    const parts = url.pathname.replace(/^\/v1\//, '').split('/');
    const id = Number(parts[1]);
    if (parts[0] === 'actions' && parts.length === 2) return this.#getAction(id);
    if (parts[0] !== 'floating_ips') return failure(404, 'not_found', 'not found');
    if (parts.length === 1) return paged('floating_ips', this.#floatingIps.map(toJson), url.searchParams);
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp === undefined) return failure(404, 'not_found', `floating IP with ID '${parts[1] ?? ''}' not found`);
    if (parts.length === 2 && request.method === 'GET') return { status: 200, body: { floating_ip: toJson(floatingIp) } };
    if (parts[2] !== 'actions') return failure(404, 'not_found', 'not found');
    if (parts.length === 3 && request.method === 'GET') return this.#listActions(floatingIp, url.searchParams);
    if (request.method === 'GET')
      return failure(410, 'deprecated_api_endpoint', 'use /actions/{id}', { announcement: 'https://docs.hetzner.cloud/changelog' });
    return this.#write(parts[3] ?? '', floatingIp, request);
  }

  #write(command: string, floatingIp: FloatingIp, request: HcloudRequest): Answer {
    if (request.method !== 'POST') return failure(405, 'method_not_allowed', 'this method is not allowed here');
    if (this.#isLocked(floatingIp)) return failure(423, 'locked', 'the floating IP is locked by another action');
    if (command === 'unassign') return this.#accept('unassign_floating_ip', floatingIp, null, request);
    if (command !== 'assign') return failure(404, 'not_found', 'not found');
    const body = parse(request.body);
    if (body === undefined) return failure(400, 'json_error', 'the body is not JSON');
    const { server } = (body ?? {}) as { readonly server?: unknown };
    if (!Number.isInteger(server) || !this.#options.servers.includes(server as number)) {
      return failure(422, 'invalid_input', 'invalid input in field server', {
        fields: [{ name: 'server', messages: ['server not found'] }],
      });
    }
    if (floatingIp.server === server && this.#options.sameOwner === 'floating_ip_assigned') {
      return failure(422, 'floating_ip_assigned', 'the floating IP is already assigned');
    }
    if (floatingIp.server !== null && floatingIp.server !== server && this.#options.otherOwner === 'floating_ip_assigned') {
      return failure(422, 'floating_ip_assigned', 'the floating IP is assigned to another server');
    }
    return this.#accept('assign_floating_ip', floatingIp, server as number, request);
  }

  #accept(command: string, floatingIp: FloatingIp, server: number | null, { from }: HcloudRequest): Answer {
    const write = { atMs: this.#clock.nowMs(), from, floatingIp: floatingIp.id, server };
    this.accepted.push(write);
    this.#options.onAccepted?.(write);
    return { status: 201, body: { action: actionJson(this.#begin(command, floatingIp, server)) } };
  }

  #begin(command: string, floatingIp: FloatingIp, server: number | null): Action {
    const action: Action = {
      id: FIRST_ACTION + this.#actions.length,
      command,
      floatingIp: floatingIp.id,
      server,
      status: 'running',
      startedAt: this.#now(),
      finishedAt: null,
    };
    this.#actions.push(action);
    const begunAtMs = this.#clock.nowMs();
    if (this.#options.ownerChangesAt === 'start' && this.actionsEnd === 'success') this.#setOwner(floatingIp, server, begunAtMs);
    if (this.actionsEnd === 'never') return action;
    const end = this.actionsEnd;
    const timer = this.#clock.setTimer(this.actionMs, () => {
      this.#timers.delete(timer);
      action.status = end;
      action.finishedAt = this.#now();
      if (end === 'success') this.#setOwner(floatingIp, server, begunAtMs);
    });
    this.#timers.add(timer);
    return action;
  }

  #now(): string {
    return new Date(this.#clock.wallMs()).toISOString();
  }

  #isLocked(floatingIp: FloatingIp): boolean {
    return this.#actions.some((action) => action.floatingIp === floatingIp.id && action.status === 'running');
  }

  #getAction(id: number): Answer {
    const action = this.#actions.find((each) => each.id === id);
    return action === undefined
      ? failure(404, 'not_found', `action with ID '${id}' not found`)
      : { status: 200, body: { action: actionJson(action) } };
  }

  #listActions(floatingIp: FloatingIp, query: URLSearchParams): Answer {
    const wanted = query.getAll('status');
    const actions = this.#actions.filter(
      (action) => action.floatingIp === floatingIp.id && (wanted.length === 0 || wanted.includes(action.status)),
    );
    return paged('actions', actions.map(actionJson), query);
  }

  #setOwner(floatingIp: FloatingIp, server: number | null, begunAtMs: number | null): void {
    if (floatingIp.server === server) return;
    floatingIp.server = server;
    this.#options.onOwner?.(floatingIp.ip, server, begunAtMs);
  }

  #rateLimitHeaders(): Record<string, string> {
    const reset = Math.ceil(this.#clock.wallMs() / 1_000) + (RATE_LIMIT - this.remaining);
    return { 'ratelimit-limit': String(RATE_LIMIT), 'ratelimit-remaining': String(this.remaining), 'ratelimit-reset': String(reset) };
  }

  /** Answers one request to the metadata service. */
  handleMetadata({ path, from }: Pick<HcloudRequest, 'path' | 'from'>): Answer {
    const server = this.serverBySource.get(from);
    if (server === undefined) return { status: 404, body: 'not found' };
    if (path === '/hetzner/v1/metadata/instance-id') return { status: 200, body: String(server) };
    if (path === '/hetzner/v1/metadata/hostname') return { status: 200, body: `server-${server}` };
    return { status: 404, body: 'not found' };
  }
}

function toJson({ id, ip, server, blocked }: FloatingIp): object {
  return {
    id,
    name: `floating-ip-${id}`,
    description: null,
    ip,
    type: ip.includes(':') ? 'ipv6' : 'ipv4',
    server,
    dns_ptr: ip.includes(':') ? [] : [{ ip, dns_ptr: `static.${ip}.clients.example.org` }],
    home_location: {
      id: 2,
      name: 'nbg1',
      description: 'Nuremberg DC Park 1',
      country: 'DE',
      city: 'Nuremberg',
      latitude: 49.45,
      longitude: 11.08,
      network_zone: 'eu-central',
    },
    blocked,
    protection: { delete: false },
    labels: {},
    created: '2026-03-01T09:00:00Z',
  };
}

function actionJson({ id, command, status, floatingIp, server, startedAt, finishedAt }: Action): object {
  return {
    id,
    command,
    status,
    progress: status === 'running' ? 0 : 100,
    started: startedAt,
    finished: finishedAt,
    resources: [...(server === null ? [] : [{ id: server, type: 'server' }]), { id: floatingIp, type: 'floating_ip' }],
    error: status === 'error' ? { code: 'action_failed', message: 'Action failed' } : null,
  };
}

function paged(field: string, items: readonly object[], query: URLSearchParams): Answer {
  const page = Number(query.get('page') ?? '1');
  const perPage = Math.min(PAGE_LENGTH_MAX, Number(query.get('per_page') ?? '25'));
  const lastPage = Math.max(1, Math.ceil(items.length / perPage));
  const pagination = {
    page,
    per_page: perPage,
    previous_page: page > 1 ? page - 1 : null,
    next_page: page < lastPage ? page + 1 : null,
    last_page: lastPage,
    total_entries: items.length,
  };
  return { status: 200, body: { [field]: items.slice((page - 1) * perPage, page * perPage), meta: { pagination } } };
}

function failure(status: number, code: string, message: string, details: object | null = null): Answer {
  return { status, body: { error: { code, message, ...(details === null ? {} : { details }) } } };
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * A stand-in for the part of the Hetzner Cloud API and of its metadata service that Leasehold uses.
 *
 * Awkward parts included: the owner changes when the action ends, not when it is accepted; one action at a time on a
 * floating IP; pages; rate limit headers; the removed way to ask for an action answers 410.
 * Where the facts are open (assigning to the present owner) both answers can be chosen.
 */
import { HttpStandIn } from './http-stand-in.ts';
import type { Answer, Exchange } from './http-stand-in.ts';

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
  /** Called when traffic moves. */
  readonly onOwner?: (ip: string, server: number | null) => void;
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

const RATE_LIMIT = 3_600;
const PAGE_LENGTH_MAX = 50;
const FIRST_ACTION = 880_000_000;

export class HcloudStandIn {
  readonly http: HttpStandIn;
  readonly metadata: HttpStandIn;
  readonly tokens = new Map<string, 'read-write' | 'read-only'>([['hcloud-token', 'read-write']]);
  /** Server numbers by the address that the metadata service is asked from. */
  readonly serverBySource = new Map<string, number>();
  readonly accepted: AcceptedWrite[] = [];
  actionMs: number;
  /** How the next actions end. */
  actionsEnd: 'success' | 'error' | 'never' = 'success';
  /** How many requests are left; each request takes one, and they come back one a second. */
  remaining = RATE_LIMIT;
  readonly #options: HcloudOptions;
  readonly #floatingIps: FloatingIp[];
  readonly #actions: Action[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(options: HcloudOptions) {
    this.#options = options;
    this.actionMs = options.actionMs ?? 0;
    this.#floatingIps = options.floatingIps.map(({ id, ip, server, blocked }) => ({
      id,
      ip,
      server: server ?? null,
      blocked: blocked ?? false,
    }));
    this.http = new HttpStandIn((exchange) => this.#handle(exchange), null);
    this.metadata = new HttpStandIn((exchange) => this.#handleMetadata(exchange), null);
  }

  /** Starts both ports. */
  static async start(options: HcloudOptions, host = '127.0.0.1'): Promise<HcloudStandIn> {
    const hcloud = new HcloudStandIn(options);
    await hcloud.http.listen(host);
    await hcloud.metadata.listen(host);
    return hcloud;
  }

  get endpoint(): string {
    return `${this.http.url}/v1`;
  }

  get metadataEndpoint(): string {
    return `${this.metadata.url}/hetzner/v1/metadata`;
  }

  ownerOf(ip: string): number | null {
    return this.#floatingIps.find((each) => each.ip === ip)?.server ?? null;
  }

  /** Moves a floating IP as a person in the console would. */
  move(ip: string, server: number | null): void {
    const floatingIp = this.#floatingIps.find((each) => each.ip === ip);
    if (floatingIp === undefined) throw new Error(`there is no floating IP ${ip}`);
    this.#setOwner(floatingIp, server);
  }

  /** Begins an action that nobody of ours asked for, such as a late one of a holder that is gone. */
  beginAssign(id: number, server: number): void {
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp !== undefined) this.#begin('assign_floating_ip', floatingIp, server);
  }

  /** Requests that change something, as they arrived. */
  writes(): Exchange[] {
    return this.http.exchanges.filter(({ method }) => method !== 'GET');
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    await Promise.all([this.http.close(), this.metadata.close()]);
  }

  #handle(exchange: Exchange): Answer {
    this.remaining = Math.max(0, this.remaining - 1);
    const answer = this.#answer(exchange);
    return { ...answer, headers: { ...answer.headers, ...this.#rateLimitHeaders(), 'x-correlation-id': 'stand-in' } };
  }

  #answer(exchange: Exchange): Answer {
    const [, token = ''] = /^Bearer (.+)$/.exec(exchange.headers.authorization ?? '') ?? [];
    const rights = this.tokens.get(token);
    if (rights === undefined) return failure(401, 'unauthorized', 'unable to authenticate');
    if (this.remaining === 0) return failure(429, 'rate_limit_exceeded', 'limit of 3600 requests per hour reached');
    if (exchange.method !== 'GET' && rights === 'read-only')
      return failure(401, 'token_readonly', 'token is only allowed to perform GET requests');
    const url = new URL(exchange.path, 'http://stand-in');
    const parts = url.pathname.replace(/^\/v1\//, '').split('/');
    const id = Number(parts[1]);
    if (parts[0] === 'actions' && parts.length === 2) return this.#getAction(id);
    if (parts[0] !== 'floating_ips') return failure(404, 'not_found', 'not found');
    if (parts.length === 1) return paged('floating_ips', this.#floatingIps.map(toJson), url.searchParams);
    const floatingIp = this.#floatingIps.find((each) => each.id === id);
    if (floatingIp === undefined) return failure(404, 'not_found', `floating IP with ID '${parts[1] ?? ''}' not found`);
    if (parts.length === 2 && exchange.method === 'GET') return { status: 200, body: { floating_ip: toJson(floatingIp) } };
    if (parts[2] !== 'actions') return failure(404, 'not_found', 'not found');
    if (parts.length === 3 && exchange.method === 'GET') return this.#listActions(floatingIp, url.searchParams);
    if (exchange.method === 'GET')
      return failure(410, 'deprecated_api_endpoint', 'use /actions/{id}', { announcement: 'https://docs.hetzner.cloud/changelog' });
    return this.#write(parts[3] ?? '', floatingIp, exchange);
  }

  #write(command: string, floatingIp: FloatingIp, exchange: Exchange): Answer {
    if (this.#isLocked(floatingIp)) return failure(423, 'locked', 'the floating IP is locked by another action');
    if (command === 'unassign') return this.#accept('unassign_floating_ip', floatingIp, null, exchange);
    if (command !== 'assign') return failure(404, 'not_found', 'not found');
    const server: unknown = (parse(exchange.body) as { server?: unknown } | null)?.server;
    if (!Number.isInteger(server) || !this.#options.servers.includes(server as number)) {
      return failure(422, 'invalid_input', 'invalid input in field server', {
        fields: [{ name: 'server', messages: ['server not found'] }],
      });
    }
    if (floatingIp.server === server && this.#options.sameOwner === 'floating_ip_assigned') {
      return failure(422, 'floating_ip_assigned', 'the floating IP is already assigned');
    }
    return this.#accept('assign_floating_ip', floatingIp, server as number, exchange);
  }

  #accept(command: string, floatingIp: FloatingIp, server: number | null, { from }: Exchange): Answer {
    const write = { atMs: performance.now(), from, floatingIp: floatingIp.id, server };
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
      startedAt: new Date().toISOString(),
      finishedAt: null,
    };
    this.#actions.push(action);
    if (this.#options.ownerChangesAt === 'start' && this.actionsEnd === 'success') this.#setOwner(floatingIp, server);
    if (this.actionsEnd === 'never') return action;
    const end = this.actionsEnd;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      action.status = end;
      action.finishedAt = new Date().toISOString();
      if (end === 'success') this.#setOwner(floatingIp, server);
    }, this.actionMs);
    this.#timers.add(timer);
    return action;
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

  #setOwner(floatingIp: FloatingIp, server: number | null): void {
    if (floatingIp.server === server) return;
    floatingIp.server = server;
    this.#options.onOwner?.(floatingIp.ip, server);
  }

  #rateLimitHeaders(): Record<string, string> {
    const reset = Math.ceil(Date.now() / 1_000) + (RATE_LIMIT - this.remaining);
    return { 'ratelimit-limit': String(RATE_LIMIT), 'ratelimit-remaining': String(this.remaining), 'ratelimit-reset': String(reset) };
  }

  #handleMetadata({ path, from }: Exchange): Answer {
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
    return null;
  }
}

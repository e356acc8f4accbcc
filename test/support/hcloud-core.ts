/**
 * What every part of the Hetzner Cloud API has in common, as a model: tokens, the rate limit, actions, pages, errors, and the
 * metadata service.
 *
 * Guarantees: no socket, and no time but that of the clock it is given, so that a stand-in serves it over HTTP and a
 * simulation in virtual time. One action at a time on a resource; rate limit headers on every answer; the removed way to ask
 * for an action answers 410.
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

/** What an action is about. */
export interface Resource {
  readonly id: number;
  readonly type: string;
}

export interface Action {
  readonly id: number;
  readonly command: string;
  readonly resources: readonly Resource[];
  status: 'running' | 'success' | 'error';
  readonly startedAt: string;
  finishedAt: string | null;
}

/** What an action does when it begins and when it has ended well. `begunAtMs`: when it began. */
interface Work {
  readonly atStart?: (begunAtMs: number) => void;
  readonly atEnd: (begunAtMs: number) => void;
}

/** A request with its path taken apart: what follows `/v1/`. */
export interface Route {
  readonly request: HcloudRequest;
  readonly parts: readonly string[];
  readonly id: number;
  readonly query: URLSearchParams;
}

/** How many requests a project has in an hour. */
export const RATE_LIMIT = 3_600;
const PAGE_LENGTH_MAX = 50;
const FIRST_ACTION = 880_000_000;

export abstract class HcloudCore {
  readonly tokens = new Map<string, 'read-write' | 'read-only'>([['hcloud-token', 'read-write']]);
  /** Server numbers by the address that the metadata service is asked from. */
  readonly serverBySource = new Map<string, number>();
  /** How long an action runs. */
  actionMs: number;
  /** How the next actions end. */
  actionsEnd: 'success' | 'error' | 'never' = 'success';
  /** How many requests are left; each takes one. Giving back one a second is left to whoever runs it for that long. */
  remaining = RATE_LIMIT;
  protected readonly clock: Clock;
  readonly #actions: Action[] = [];
  readonly #timers = new Set<Timer>();

  constructor(actionMs: number, clock: Clock) {
    this.actionMs = actionMs;
    this.clock = clock;
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

  /** Answers one request to the metadata service. */
  handleMetadata({ path, from }: Pick<HcloudRequest, 'path' | 'from'>): Answer {
    const server = this.serverBySource.get(from);
    if (server === undefined) return { status: 404, body: 'not found' };
    if (path === '/hetzner/v1/metadata/instance-id') return { status: 200, body: String(server) };
    if (path === '/hetzner/v1/metadata/hostname') return { status: 200, body: `server-${server}` };
    return { status: 404, body: 'not found' };
  }

  /** Answers what is about none of the things that all parts have in common. */
  protected abstract route(route: Route): Answer;

  /** Begins an action, which counts its work once it has ended well. */
  protected begin(command: string, resources: readonly Resource[], { atStart, atEnd }: Work): Action {
    const action: Action = {
      id: FIRST_ACTION + this.#actions.length,
      command,
      resources,
      status: 'running',
      startedAt: this.#now(),
      finishedAt: null,
    };
    this.#actions.push(action);
    const begunAtMs = this.clock.nowMs();
    if (this.actionsEnd === 'success') atStart?.(begunAtMs);
    if (this.actionsEnd === 'never') return action;
    const end = this.actionsEnd;
    const timer = this.clock.setTimer(this.actionMs, () => {
      this.#timers.delete(timer);
      action.status = end;
      action.finishedAt = this.#now();
      if (end === 'success') atEnd(begunAtMs);
    });
    this.#timers.add(timer);
    return action;
  }

  /** The actions that still run on a resource. */
  protected runningOn(resource: Resource): Action[] {
    return this.#actionsOn(resource).filter(({ status }) => status === 'running');
  }

  /** Answers `GET …/{id}/actions` and what is below it. */
  protected answerActions(resource: Resource, { parts, query }: Route): Answer {
    if (parts.length > 3)
      return failure(410, 'deprecated_api_endpoint', 'use /actions/{id}', { announcement: 'https://docs.hetzner.cloud/changelog' });
    const wanted = query.getAll('status');
    const actions = this.#actionsOn(resource).filter(({ status }) => wanted.length === 0 || wanted.includes(status));
    return paged('actions', actions.map(actionJson), query);
  }

  #actionsOn({ id, type }: Resource): Action[] {
    return this.#actions.filter(({ resources }) => resources.some((each) => each.id === id && each.type === type));
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
    return this.route({ request, parts, id, query: url.searchParams });
  }

  #getAction(id: number): Answer {
    const action = this.#actions.find((each) => each.id === id);
    return action === undefined
      ? failure(404, 'not_found', `action with ID '${id}' not found`)
      : { status: 200, body: { action: actionJson(action) } };
  }

  #now(): string {
    return new Date(this.clock.wallMs()).toISOString();
  }

  #rateLimitHeaders(): Record<string, string> {
    const reset = Math.ceil(this.clock.wallMs() / 1_000) + (RATE_LIMIT - this.remaining);
    return { 'ratelimit-limit': String(RATE_LIMIT), 'ratelimit-remaining': String(this.remaining), 'ratelimit-reset': String(reset) };
  }
}

export function actionJson({ id, command, status, resources, startedAt, finishedAt }: Action): object {
  return {
    id,
    command,
    status,
    progress: status === 'running' ? 0 : 100,
    started: startedAt,
    finished: finishedAt,
    resources,
    error: status === 'error' ? { code: 'action_failed', message: 'Action failed' } : null,
  };
}

/** One page of a list. */
export function paged(field: string, items: readonly object[], query: URLSearchParams): Answer {
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

export function failure(status: number, code: string, message: string, details: object | null = null): Answer {
  return { status, body: { error: { code, message, ...(details === null ? {} : { details }) } } };
}

/** What is wrong with one field of a request. */
export function invalidInput(field: string, message: string): Answer {
  return failure(422, 'invalid_input', `invalid input in field ${field}`, { fields: [{ name: field, messages: [message] }] });
}

export function notFound(what: string, id: string | undefined): Answer {
  return failure(404, 'not_found', `${what} with ID '${id ?? ''}' not found`);
}

/** The JSON of a request, or undefined where it is none. */
export function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/**
 * netcup's REST API of the Server Control Panel (SCP): requests, its errors in our words, its tasks.
 *
 * Guarantees: an access token that was refused is replaced once before it counts as refused; a request that changes something is
 * sent only while it may be, each time. Facts: https://www.servercontrolpanel.de/scp-core/api/v1/openapi.
 */
import type { Clock } from '../clock.ts';
import { listAt, messageAt, parseJson, stringAt } from '../json.ts';
import type { ClaimTerms } from '../ports.ts';
import { ClaimWithdrawn, ProviderError } from './error.ts';
import type { ProviderErrorCode } from './error.ts';
import type { ProviderAnswer, ProviderHttp } from './http.ts';
import { codeOfStatus } from './http-status.ts';
import { LOGIN_ADVICE } from './netcup-openid.ts';
import type { NetcupAccess, NetcupTokens } from './netcup-tokens.ts';
import { waitForEnd } from './polling.ts';

const READ_TIMEOUT_MS = 3_000;
const WRITE_TIMEOUT_MS = 10_000;
const PAGE_LENGTH = 100;
const PAGES_MAX = 50;
const FIELDS_MAX = 5;
/** So long a limit that was met is left alone: nothing says when it is over, and the shorter span is five minutes. */
const LIMITED_MS = 30_000;
/** A task that failed has taken one of few moves, so the next one is not tried at once. */
const FAILED_MS = 5_000;
/** In the order in which a task goes through them, so that one that goes on between two questions is met by the second. */
const STATES_UNDER_WAY = ['PENDING', 'RUNNING', 'WAITING_FOR_CANCEL'] as const;
const STATES_AT_THE_END = ['FINISHED', 'ERROR', 'CANCELED', 'ROLLBACK'];
/** Tasks that route a failover IP or take it away: RouteFailoverIpTask, ClearFailoverIpTask. Which one they are about is not said. */
const FAILOVER_TASK = 'FailoverIp';

/** A task as the API reports it; `error` says why it failed. */
export interface NetcupTask {
  readonly uuid: string;
  readonly name: string;
  readonly state: string;
  readonly error: string | null;
}

/** What makes a request one that changes something. */
interface Write {
  readonly json: Readonly<Record<string, unknown>>;
  /** Asked right before each time it is sent. */
  readonly mayWrite: () => boolean;
}

export class NetcupApi {
  readonly #http: ProviderHttp;
  readonly #endpoint: string;
  readonly #tokens: NetcupTokens;
  readonly #clock: Clock;

  /** `endpoint` is such as `https://www.servercontrolpanel.de/scp-core`. */
  constructor(http: ProviderHttp, endpoint: string, tokens: NetcupTokens, clock: Clock) {
    this.#http = http;
    this.#endpoint = `${endpoint.replace(/\/+$/, '')}/api/v1`;
    this.#tokens = tokens;
    this.#clock = clock;
  }

  /** The number of the user whose token it is. Throws ProviderError. `spareMs`: how long the token is to live from now on. */
  async userId(signal: AbortSignal, spareMs?: number): Promise<number> {
    return (await this.#tokens.access(signal, spareMs)).userId;
  }

  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return await this.#call('GET', path, signal);
  }

  /** Every item of a list that can be read. Throws ProviderError. */
  async list<Item>(path: string, read: (json: unknown) => Item | null, signal: AbortSignal): Promise<Item[]> {
    return readAll(listIn(path, await this.#call('GET', path, signal)), read);
  }

  /** Every item of a list that comes in pages. Throws ProviderError, also when the pages have no end. */
  async pages<Item>(path: string, read: (json: unknown) => Item | null, signal: AbortSignal): Promise<Item[]> {
    const items: Item[] = [];
    let offset = 0;
    for (let page = 0; page < PAGES_MAX; page += 1) {
      const separator = path.includes('?') ? '&' : '?';
      const answer = listIn(path, await this.#call('GET', `${path}${separator}limit=${PAGE_LENGTH}&offset=${offset}`, signal));
      // A page may be shorter than what was asked for, and more come after it.
      if (answer.length === 0) return items;
      items.push(...readAll(answer, read));
      offset += answer.length;
    }
    throw new ProviderError('unavailable', `GET ${path}: the list has more than ${PAGES_MAX} pages`);
  }

  /**
   * Changes something and waits for the end of the task that does it. Throws ClaimWithdrawn, with nothing sent, once it may not
   * write; ProviderError for what the API says, also when the task itself fails.
   */
  async change(path: string, json: Write['json'], { signal, mayWrite }: Omit<ClaimTerms, 'isFirst'>): Promise<void> {
    const task = parseTask(await this.#call('PATCH', path, signal, { json, mayWrite }));
    // Something was accepted that cannot be followed: only the owner read back can tell.
    if (task === null) throw new ProviderError('unknown-outcome', `PATCH ${path}: the answer is no task`);
    const { state, name, uuid, error } = await this.waitFor(task, signal);
    if (state === 'FINISHED') return;
    throw new ProviderError('unavailable', `netcup's task ${name} (${uuid}) ended as ${state}: ${error ?? 'no explanation'}`, {
      retryAfterMs: FAILED_MS,
    });
  }

  /** Every task under way that may be about a failover IP, of whoever began it. Which failover IP it is about cannot be known. */
  async failoverTasks(signal: AbortSignal): Promise<NetcupTask[]> {
    const found = new Map<string, NetcupTask>();
    for (const state of STATES_UNDER_WAY) {
      const tasks = await this.pages(`/tasks?q=${FAILOVER_TASK}&state=${state}`, parseTask, signal);
      for (const task of tasks) if (task.name.includes(FAILOVER_TASK) && !hasEnded(task)) found.set(task.uuid, task);
    }
    return [...found.values()];
  }

  /** Waits until a task has ended, and says how. Throws ProviderError when that cannot be learnt. */
  async waitFor(task: NetcupTask, signal: AbortSignal): Promise<NetcupTask> {
    return await waitForEnd(this.#clock, task, {
      hasEnded,
      ask: async () => {
        const read = parseTask(await this.#askAboutTask(task.uuid, signal));
        return read?.uuid === task.uuid ? read : null;
      },
      signal,
    });
  }

  async #askAboutTask(uuid: string, signal: AbortSignal): Promise<unknown> {
    try {
      return await this.#call('GET', `/tasks/${encodeURIComponent(uuid)}`, signal);
    } catch (error) {
      // It was there a moment ago: what it has done shows in the owner only.
      if (error instanceof ProviderError && error.code === 'not-found') throw new ProviderError('unknown-outcome', error.message);
      throw error;
    }
  }

  async #call(method: 'GET' | 'PATCH', path: string, signal: AbortSignal, write?: Write): Promise<unknown> {
    const exchange = async ({ token }: NetcupAccess): Promise<ProviderAnswer> => {
      if (write !== undefined && !write.mayWrite()) throw new ClaimWithdrawn(`${method} ${path}: it may not be sent any more`);
      return await this.#http({
        method,
        url: this.#endpoint + path,
        operation: operationOf(method, path),
        headers: { authorization: `Bearer ${token}`, accept: 'application/json, application/hal+json' },
        timeoutMs: write === undefined ? READ_TIMEOUT_MS : WRITE_TIMEOUT_MS,
        signal,
        ...(write === undefined ? {} : { json: write.json }),
      });
    };
    const access = await this.#tokens.access(signal);
    let answer = await exchange(access);
    if (answer.status === 401) answer = await exchange(await this.#tokens.replacing(access, signal));
    const body = parseJson(answer.body);
    if (answer.status >= 200 && answer.status < 300 && (body !== undefined || write !== undefined)) return body;
    throw toError(method, path, answer, body);
  }
}

/** A request in the words of the API's documentation, such as `GET /api/v1/servers/{serverId}`. */
export function operationOf(method: string, path: string): string {
  const template = path
    .replace(/\?.*$/s, '')
    .replace(/^\/users\/\d+/, '/users/{userId}')
    .replace(/^\/servers\/\d+/, '/servers/{serverId}')
    .replace(/^\/tasks\/.+/, '/tasks/{uuid}')
    .replace(/\/(v[46])\/\d+$/, '/$1/{id}');
  return `${method} /api/v1${template}`;
}

function hasEnded({ state }: NetcupTask): boolean {
  return STATES_AT_THE_END.includes(state);
}

/** Reads a task, or gives null for anything that is none. */
function parseTask(json: unknown): NetcupTask | null {
  const [uuid, state] = [messageAt(json, 'uuid'), messageAt(json, 'state')];
  if (uuid === undefined || state === undefined) return null;
  const said = [messageAt(json, 'responseError', 'code'), messageAt(json, 'responseError', 'message'), messageAt(json, 'message')];
  const error = said.filter((part) => part !== undefined && part !== '').join(': ');
  return { uuid, state, name: messageAt(json, 'name') ?? 'unnamed', error: error === '' ? null : error };
}

/** Lists come without anything around them. */
function listIn(path: string, answer: unknown): readonly unknown[] {
  if (!Array.isArray(answer)) throw new ProviderError('unavailable', `GET ${path}: the answer is no list`);
  return answer;
}

function readAll<Item>(list: readonly unknown[], read: (json: unknown) => Item | null): Item[] {
  return list.map((json) => read(json)).filter((item) => item !== null);
}

const ADVICE: { readonly [Code in ProviderErrorCode]?: string } = {
  unauthorized: `netcup does not accept what NETCUP_REFRESH_TOKEN gives access with: ${LOGIN_ADVICE}`,
  forbidden: 'see in the SCP whether its API may be used from the address of this node (the allow-list of the user), and by this user',
};

function toError(method: string, path: string, { status, headers }: ProviderAnswer, body: unknown): ProviderError {
  const isWrite = method !== 'GET';
  // Of a 503 it is documented that nothing was done.
  const code = status === 503 ? 'unavailable' : codeOfStatus(status, isWrite);
  const named = stringAt(body, 'code');
  const fields = (listAt(body, 'errors') ?? [])
    .slice(0, FIELDS_MAX)
    .map((field) => [messageAt(field, 'field'), messageAt(field, 'message')].filter((part) => part !== undefined).join(': '));
  const parts = [
    `${method} ${path}: ${status} ${messageAt(body, 'code') ?? ''}`.trim(),
    messageAt(body, 'message'),
    fields.length > 0 ? `wrong fields: ${fields.join(', ')}` : undefined,
    code === 'rate-limited' && isWrite ? 'netcup grants 10 moves in 5 minutes and 20 in an hour, to all servers of the account' : undefined,
    ADVICE[code],
  ];
  const message = parts.filter((part) => part !== undefined && part !== '').join('; ');
  const retryAfterMs = code === 'rate-limited' ? Math.max(isWrite ? LIMITED_MS : 0, askedPauseMs(headers['retry-after'])) : null;
  return new ProviderError(code, message, { retryAfterMs, providerCode: named ?? null });
}

/** Retry-After in whole seconds, which is not documented and taken where it comes. */
function askedPauseMs(header: string | readonly string[] | undefined): number {
  return typeof header === 'string' && /^\d{1,4}$/.test(header) ? Number(header) * 1_000 : 0;
}
